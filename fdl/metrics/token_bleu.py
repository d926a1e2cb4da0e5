"""BLEU of tokens, as sums that add up over the batches of a split."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import NotNegative, checked
from fdl.metrics.shapes import check_same_shape

_LONGEST = 4  # tokens of an n-gram


class TokenBleu(NamedTuple):
    """The counts of corpus BLEU; adding the parts of all batches gives the whole split's.

    Attributes:
      matches: n-grams that were said and are in the reference, no oftener than there: `[4]`.
      ngrams: n-grams that were said, `[4]`.
      said: tokens that were said.
      true: tokens of the references.
    """

    matches: jax.Array
    ngrams: jax.Array
    said: jax.Array
    true: jax.Array

    @property
    def value(self) -> jax.Array:
        """0 to 100; 0 where no n-gram of some length matches, which sacrebleu would smooth."""
        counted = jnp.all(self.matches > 0)
        precisions = jnp.where(counted, self.matches / jnp.maximum(self.ngrams, 1e-9), 1)
        brevity = jnp.minimum(0, 1 - self.true / jnp.where(counted, self.said, 1))
        return jnp.where(counted, 100 * jnp.exp(brevity + jnp.mean(jnp.log(precisions))), 0)


@checked
def token_bleu(
    said: jax.Array, true: jax.Array, weight: jax.Array, *, pad: NotNegative[int] = 0
) -> TokenBleu:
    """The `TokenBleu` of sentences, of one reference each.

    Papineni et al. 2002, BLEU: a Method for Automatic Evaluation of Machine Translation, sec. 2: as `bleu` of
    the tokens with blanks between, but on the device.

    Args:
      said: tokens `[B, T]`, padded at the end.
      true: tokens `[B, T]`, likewise.
      weight: of the rows, `[B]`; 0 leaves a row out.
      pad: the token that is none.

    Raises:
      ValueError: other shapes.

    Example:
      >>> said, true = jnp.array([[2, 3, 4, 5, 6, 0]]), jnp.array([[2, 3, 4, 5, 7, 6]])
      >>> round(float(fdl.metrics.token_bleu(said, true, jnp.ones(1)).value), 1)
      57.9
    """
    check_same_shape(said=said, true=true)
    check_same_shape(rows=said[:, 0], weight=weight)
    own, other = _alike(said, said, pad), _alike(said, true, pad)
    before = jnp.tri(said.shape[1], dtype=bool)
    matches, ngrams = [], []
    for n in range(1, _LONGEST + 1):
        there = jnp.diagonal(own[n - 1], axis1=1, axis2=2)
        rank = jnp.sum(own[n - 1] & before, axis=2)  # the how-manieth of its kind
        matches.append(jnp.sum(weight[:, None] * (there & (rank <= jnp.sum(other[n - 1], axis=2)))))
        ngrams.append(jnp.sum(weight[:, None] * there))
    tokens = (jnp.sum(weight[:, None] * (one != pad)) for one in (said, true))
    return TokenBleu(jnp.stack(matches), jnp.stack(ngrams), *tokens)


def _alike(one: jax.Array, other: jax.Array, pad: int) -> list[jax.Array]:
    """For n of 1 to 4: whether the n tokens of `one` at place i are those of `other` at j, `[B, T, T]`."""
    same = (one[:, :, None] == other[:, None]) & (one != pad)[:, :, None]
    found = [same]
    for n in range(1, _LONGEST):
        following = jnp.pad(same, ((0, 0), (0, n), (0, n)))[:, n:, n:]
        found.append(found[-1] & following)
    return found
