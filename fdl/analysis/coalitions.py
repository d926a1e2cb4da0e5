"""The game that Shapley values and LIME explain: an output of which some features are known, others not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.analysis.chosen_output import Apply, chosen_output


def segments_of(x: jax.Array, segments: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Which feature each entry of a row belongs to, in the row's shape (or broadcasting to it), and how many
    features there are.

    Args:
      x: rows `[B, *S]`.
      segments: whole numbers 0 to M - 1 in the shape of a row's leading axes; None: each entry is a feature.

    Raises:
      ValueError: segments of another shape, below 0, or with numbers left out.
    """
    row = x.shape[1:]
    if segments is None:
        return np.arange(int(np.prod(row))).reshape(row), int(np.prod(row))
    given = np.asarray(segments)
    if given.shape != row[: given.ndim] or not given.ndim:
        raise ValueError(f"segments have the shape {given.shape}; expected leading axes of a row's, {row}")
    found = np.unique(given)
    if found.tolist() != list(range(len(found))):
        raise ValueError(
            f"segments are numbered {found.tolist()[:9]}; expected 0 to {len(found) - 1}, each one"
        )
    return given.reshape(given.shape + (1,) * (len(row) - given.ndim)), len(found)


def coalition_values(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: jax.Array,
    background: jax.Array,
    known: jax.Array,
    segments: np.ndarray,
) -> jax.Array:
    """`[B, P]`: the chosen output, with the features that are not known taken from background rows; the mean
    over these.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`.
      variables: the model's.
      x: rows `[B, *S]`.
      target: which output of each row, `[B]`.
      background: rows `[N, *S]`.
      known: bool `[P, M]`: which features each of P coalitions knows.
      segments: of `segments_of`.

    Raises:
      ValueError: background rows of another shape.
    """
    if background.shape[1:] != x.shape[1:] or not len(background):
        raise ValueError(
            f"background rows are {background.shape}; expected [N, *{x.shape[1:]}], N at least 1"
        )
    targets = jnp.repeat(target, len(background))

    def value(known: jax.Array) -> jax.Array:
        rows = jnp.where(known[segments], x[:, None], background[None].astype(x.dtype))
        outputs = chosen_output(apply, variables, rows.reshape(-1, *x.shape[1:]), targets)
        return jnp.mean(outputs.reshape(len(x), -1), axis=1)

    return jax.lax.map(value, known).T
