"""The edit distance between sequences of labels, and the error rate that it gives a split."""

import jax
import jax.numpy as jnp

from fdl.metrics import Mean


def edit_distance(hypotheses: jax.Array, references: jax.Array) -> jax.Array:
    """The least number of insertions, deletions and substitutions from one sequence to the other.

    Levenshtein 1966, Binary Codes Capable of Correcting Deletions, Insertions, and Reversals; by the
    usual table, one line at a time, where insertions along a line are one running minimum.

    Args:
      hypotheses: integers `[B, N]`, zeros after each sequence's end and nowhere else.
      references: integers `[B, M]`, likewise.

    Returns:
      int32 `[B]`.
    """
    return jax.vmap(_distance)(hypotheses, references)


def error_rate(edits: jax.Array, references: jax.Array, weight: jax.Array) -> Mean:
    """Edits for each label of the references: with words for labels, the word error rate.

    Args:
      edits: `[B]`, as `edit_distance` gives them.
      references: integers `[B, M]`, likewise.
      weight: of the rows, `[B]`.

    Returns:
      The sum of distances over the sum of lengths, which adds up exactly over batches.
    """
    lengths = jnp.sum(references != 0, axis=-1)
    return Mean(jnp.sum(edits * weight), jnp.sum(lengths * weight))


def _distance(hypothesis: jax.Array, reference: jax.Array) -> jax.Array:
    places = jnp.arange(len(reference) + 1)

    def line(before: jax.Array, label: jax.Array) -> tuple[jax.Array, None]:
        changed = before[:-1] + (reference != label)
        costs = jnp.concatenate([before[:1] + 1, jnp.minimum(before[1:] + 1, changed)])
        after = places + jax.lax.cummin(costs - places)
        return jnp.where(label == 0, before, after), None

    return jax.lax.scan(line, places, hypothesis)[0][jnp.sum(reference != 0)]
