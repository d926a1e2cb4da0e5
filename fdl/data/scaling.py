"""Scaling by the statistics of the train part."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from fdl.arguments import checked

_ROWS = 1000  # images at once: `bincount` makes them int64, eight times their bytes


@checked
def standardise(images: np.ndarray) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Makes a `prepare` of the train images: each channel gets mean 0 and standard deviation 1 over them.

    Args:
      images: uint8 `[N, H, W, C]`.

    Returns:
      `prepare(batch) -> batch`, pure: `x`, uint8 `[B, H, W, C]`, becomes float32, shifted and scaled;
      the rest stays. A channel that is constant over the images is shifted only.

    Example:
      >>> images = np.full((2, 4, 4, 1), 7, np.uint8)
      >>> float(fdl.data.standardise(images)({"x": images})["x"].mean())
      0.0
    """
    values = np.arange(256.0)
    counts = np.stack([_counts(images[..., channel]) for channel in range(images.shape[-1])])
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    spread = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    shift, scale = np.float32(mean), np.float32(np.where(spread > 0, spread, 1.0))

    def prepare(batch: Mapping[str, Any]) -> dict[str, Any]:
        return {**batch, "x": (jnp.asarray(batch["x"]).astype(jnp.float32) - shift) / scale}

    return prepare


def standardised(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """`values` shifted and scaled to mean 0 and standard deviation 1 over the rows `train`.

    Args:
      values: `[N, ...]`; each column has statistics of its own.
      train: row numbers.

    Returns:
      `[N, ...]` float64; a column that is constant over train is shifted only.
    """
    scale = values[train].std(axis=0)
    return (values - values[train].mean(axis=0)) / np.where(scale > 0, scale, 1.0)


def _counts(channel: np.ndarray) -> np.ndarray:
    """How often each byte occurs `[256]`; by some rows at a time, as `bincount` takes 8 bytes a pixel."""
    counts = np.zeros(256)
    for start in range(0, len(channel), _ROWS):
        counts += np.bincount(channel[start : start + _ROWS].ravel(), minlength=256)
    return counts
