"""How a token is chosen from logits: the likeliest, or drawn from what filters leave."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from fdl.arguments import Count, NotNegative, Share, checked

Choose = Callable[[jax.Array, jax.Array], jax.Array]
"""`choose(logits, key)`, `[B, V]` to tokens, int32 `[B]`."""
Filter = Callable[[jax.Array], jax.Array]
"""`filter(logits)`, `[B, V]` to logits `[B, V]` of another distribution; minus infinity for never."""


@checked
def greedy(logits: jax.Array, key: jax.Array) -> jax.Array:
    """The likeliest tokens `[B]` of logits `[B, V]`, -1 as in `sampling`; the key is not used."""
    del key
    return _drawn(jnp.argmax(logits, axis=-1), logits)


@checked
def sampling(*filters: Filter) -> Choose:
    """Draws from the distribution that is left after the filters, the first one first.

    As in `sampling(temperature(0.8), top_k(40))`; without any, from the model's own. Of logits that are
    not numbers, or all minus infinity, there is nothing to draw: the token is -1.
    """

    def choose(logits: jax.Array, key: jax.Array) -> jax.Array:
        for each in filters:
            logits = each(logits)
        return _drawn(jax.random.categorical(key, logits), logits)

    return choose


def _drawn(tokens: jax.Array, logits: jax.Array) -> jax.Array:
    """The tokens `[B]`, -1 where the logits `[B, V]` are no distribution: an index would be an invention."""
    best = jnp.max(logits, axis=-1)  # NaN if one of them is
    return jnp.where(jnp.isnan(best) | (best == -jnp.inf), -1, tokens)


@checked
def temperature(value: NotNegative[float | jax.Array]) -> Filter:
    """Logits divided by a number: below 1, likely tokens become likelier; 0 leaves the likeliest one.

    Args:
      value: from 0; it may be traced, and then a negative one, or one that is no number, is an error that
        shows: all logits are NaN, of which `sampling` draws token -1.

    Raises:
      ValueError: a number that is negative, infinite or none.
    """

    def divide(logits: jax.Array) -> jax.Array:
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        likeliest = jnp.arange(logits.shape[-1]) == jnp.argmax(logits, axis=-1, keepdims=True)
        # From the largest logit on, which is 0 then, so that no quotient overflows.
        lower = logits - jnp.max(logits, axis=-1, keepdims=True)
        divided = jnp.where(lower < 0, lower / jnp.where(value > 0, value, 1), 0)
        divided = jnp.where(value > 0, divided, jnp.where(likeliest, 0, -jnp.inf))
        divided = jnp.where(logits == -jnp.inf, -jnp.inf, divided)
        return jnp.where((value >= 0) & ~jnp.isnan(logits), divided, jnp.nan)

    return divide


@checked
def top_k(count: Count) -> Filter:
    """Only the `count` likeliest tokens (Fan et al. 2018, Hierarchical Neural Story Generation, sec. 5.2).

    Of equal ones at the border, those of lower number; a count beyond the vocabulary keeps all.

    Raises:
      ValueError: a count below 1.
    """

    def keep(logits: jax.Array) -> jax.Array:
        _, best = lax.top_k(logits, min(count, logits.shape[-1]))
        kept = jax.nn.one_hot(best, logits.shape[-1], dtype=bool).any(axis=-2)
        return jnp.where(kept | jnp.isnan(logits), logits, -jnp.inf)

    return keep


@checked
def top_p(share: Share[float | jax.Array]) -> Filter:
    """Only the fewest likeliest tokens that have at least `share` of the probability together.

    Holtzman et al. 2020, The Curious Case of Neural Text Degeneration, sec. 3.1. The likeliest one stays
    at any share; of equal ones at the border, those of lower number.

    Args:
      share: above 0, up to 1, which keeps all; it may be traced, and then one that is no number makes all
        logits NaN.

    Raises:
      ValueError: a number out of range.
    """
    if not isinstance(share, jax.Array) and not 0 < share <= 1:
        raise ValueError(f"share is {share}; expected above 0, up to 1: a share of the probability")

    def keep(logits: jax.Array) -> jax.Array:
        order = jnp.argsort(-logits, axis=-1, stable=True)
        sorted_logits = jnp.take_along_axis(logits, order, axis=-1)
        probabilities = jax.nn.softmax(sorted_logits.astype(jnp.float32), axis=-1)
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        kept = ((before < share) | (share >= 1)).at[..., 0].set(True)
        places = jnp.argsort(order, axis=-1)
        kept = jnp.where(jnp.take_along_axis(kept, places, axis=-1), logits, -jnp.inf)
        return jnp.where(jnp.isnan(share) | jnp.isnan(logits), jnp.nan, kept)

    return keep
