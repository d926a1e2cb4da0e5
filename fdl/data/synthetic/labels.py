"""Labels with a known distribution: Zipf's law, long-tailed subsets, noise at a known rate."""

import functools
import hashlib
from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fdl.arguments import Count, Limit, NotNegative, Positive, Share, Whole, checked

Row = dict[str, jax.Array]
Labelled = Annotated[Mapping[str, np.ndarray], Limit(lambda part: "y" in part, "one with 'y'")]


@checked
def zipf_label(key: jax.Array, *, classes: Count, exponent: ArrayLike = 1.0) -> jax.Array:
    """A label k in 0..classes - 1 with probability proportional to `(k + 1) ** -exponent`.

    With u = `jax.random.uniform(key)`, the label is the number of classes but the last whose cumulated
    probability (float32) is at most u. As u is a multiple of 2**-23, probabilities below that are
    not resolved.

    Args:
      key: names the label.
      classes: how many labels.
      exponent: of Zipf's law; 0 is uniform, words of natural text are near 1.

    Returns:
      int32 `[]`.

    Raises:
      ValueError: no classes.

    Example:
      >>> label = jax.eval_shape(lambda key: fdl.data.synthetic.zipf_label(key, classes=3), jax.random.key(0))
      >>> label.shape, label.dtype
      ((), dtype('int32'))
    """
    log_share = -jnp.log(jnp.arange(1, classes + 1, dtype=jnp.float32)) * exponent
    cumulated = jnp.cumsum(jax.nn.softmax(log_share))[:-1]
    return jnp.searchsorted(cumulated, jax.random.uniform(key), side="right").astype(jnp.int32)


@checked
def zipf(key: jax.Array, *, classes: Count, features: Count, exponent: ArrayLike = 1.0) -> Row:
    """Heavy-tailed classes and nothing else to learn: inputs are noise, independent of the label.

    A fixed set (`sampled`) is to be memorised, rare classes included; on a stream of new rows the
    best loss is the entropy of the labels.

    The key is split in two: y is the `zipf_label` of the first, x standard normal numbers from the
    second.

    Args:
      key: names the row.
      classes: how many labels.
      features: F, numbers in x.
      exponent: of Zipf's law.

    Returns:
      `x`, float32 `[F]`, and `y`, int32 `[]`.

    Raises:
      ValueError: no classes.

    Example:
      >>> sample = lambda key: fdl.data.synthetic.zipf(key, classes=10, features=4)
      >>> row = jax.eval_shape(sample, jax.random.key(0))
      >>> row["x"].shape, row["y"].shape
      ((4,), ())
    """
    label, inputs = jax.random.split(key)
    y = zipf_label(label, classes=classes, exponent=exponent)
    return {"x": jax.random.normal(inputs, (features,)), "y": y}


@checked
def flip_label(
    key: jax.Array, label: NotNegative[Whole[ArrayLike]], *, classes: Count, rate: Share[ArrayLike]
) -> jax.Array:
    """The label, or with probability `rate` one of the others, each equally likely.

    The key is split in two. The label is kept if `jax.random.uniform` of the first is at least
    `rate`; else `randint(1, classes)` of the second is added, modulo `classes`.

    Args:
      key: names the draw.
      label: in 0..classes - 1, `[]`.
      classes: how many labels, at least 2.
      rate: probability of a wrong label; at `(classes - 1) / classes` nothing is left of the truth.

    Returns:
      int32 `[]`.

    Raises:
      ValueError: fewer than 2 classes.

    Example:
      >>> fdl.data.synthetic.flip_label(jax.random.key(0), 1, classes=2, rate=1.0).tolist()
      0
    """
    if classes < 2:
        raise ValueError(f"classes is {classes}; expected at least 2, so that a label can be wrong")
    whether, shift = jax.random.split(key)
    other = (label + jax.random.randint(shift, (), 1, classes)) % classes
    return jnp.where(jax.random.uniform(whether) < rate, other, label).astype(jnp.int32)


@checked
def noisy_labels(
    part: Labelled, *, classes: Count, rate: Share[float], seed: int = 0
) -> dict[str, np.ndarray]:
    """The part with wrong labels at a known rate, the same ones every time.

    Label i becomes `flip_label(fold_in(key(seed), i), label)`; the true labels stay as `"clean"`.

    Args:
      part: arrays `[N, ...]` with `"y"`, integers `[N]`.
      classes: how many labels, at least 2.
      rate: probability of a wrong label, 0 to 1.
      seed: names the noise.

    Raises:
      ValueError: fewer than 2 classes, a label that is none of them, or a rate outside 0 to 1.

    Example:
      >>> part = {"x": np.zeros((100, 2)), "y": np.zeros(100, np.int32)}
      >>> wrong = fdl.data.synthetic.noisy_labels(part, classes=10, rate=0.3)["y"] != 0
      >>> bool(15 < wrong.sum() < 45)
      True
    """
    clean = np.asarray(part["y"], np.int32)
    if not ((clean >= 0) & (clean < classes)).all():
        raise ValueError(f"y holds {clean.min()} to {clean.max()}; expected 0 to {classes - 1}")
    noisy = _flip_all(jax.random.key(seed), clean, classes=classes, rate=rate)
    return {**part, "y": np.asarray(noisy), "clean": clean}


@checked
def imbalanced(part: Labelled, *, ratio: Positive[float], seed: int = 0) -> dict[str, np.ndarray]:
    """A long-tailed subset of a part (Cui et al. 2019, "Class-Balanced Loss", sec. 5.1).

    With K different labels in rising order, and M rows of the rarest of them, label number k keeps
    `floor(M · ratio ** (-k / (K - 1)) + 1/2)` rows, at least 1: M of the first and M / ratio of the
    last. Of each label those rows are kept whose SHA-256 digest of `"{seed}:{row}"` (both in decimal
    ASCII) is lowest, so a larger ratio keeps a subset; the kept rows stay in order.

    Args:
      part: arrays `[N, ...]` with `"y"`, integers `[N]`.
      ratio: rows of the most frequent label over rows of the rarest, at least 1.
      seed: names the choice.

    Raises:
      ValueError: a ratio below 1, or fewer than 2 labels.

    Example:
      >>> part = {"x": np.zeros((20, 2)), "y": np.repeat([0, 1], 10)}
      >>> np.bincount(fdl.data.synthetic.imbalanced(part, ratio=5.0)["y"]).tolist()
      [10, 2]
    """
    if not ratio >= 1:
        raise ValueError(f"ratio is {ratio}; expected at least 1")
    labels, counts = np.unique(part["y"], return_counts=True)
    if len(labels) < 2:
        raise ValueError(f"y has {len(labels)} different labels; expected at least 2")
    keep = np.maximum(
        1, np.floor(counts.min() * ratio ** (-np.arange(len(labels)) / (len(labels) - 1)) + 0.5)
    )
    rows = [
        row
        for label, number in zip(labels, keep, strict=True)
        for row in sorted(np.flatnonzero(part["y"] == label), key=lambda row: _digest(seed, row))[
            : int(number)
        ]
    ]
    return {name: array[np.sort(rows)] for name, array in part.items()}


def _digest(seed: int, row: np.intp) -> bytes:
    return hashlib.sha256(f"{seed}:{row}".encode()).digest()


@functools.partial(jax.jit, static_argnames="classes")
def _flip_all(key: jax.Array, labels: jax.Array, *, classes: int, rate: ArrayLike) -> jax.Array:
    flip = lambda row, label: flip_label(jax.random.fold_in(key, row), label, classes=classes, rate=rate)  # noqa: E731
    return jax.vmap(flip)(jnp.arange(labels.shape[0], dtype=jnp.uint32), labels)
