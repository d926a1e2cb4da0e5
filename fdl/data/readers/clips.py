"""Recorded sound as arrays: clips of one length, other rates, 16 bits."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from fdl.arguments import Count, checked

_STEPS = 50_000  # of a rate in units of the common divisor: the filter has 20 places for each


@checked
def clips(waves: Sequence[np.ndarray], *, length: Count) -> dict[str, np.ndarray]:
    """Waves of different lengths as one array: the first `length` samples of each, then zeros.

    Args:
      waves: N arrays `[l]`, all int16 or all float32.
      length: L, samples of a clip.

    Returns:
      `x`, `[N, L]` of the waves' dtype, and `length`, int32 `[N]`: how many samples of a row are the
      wave's own, at most L.

    Raises:
      ValueError: no waves, one that is empty or of another form, or a length below 1.

    Example:
      >>> part = fdl.data.clips([np.array([1, 2, 3], np.int16), np.array([4], np.int16)], length=2)
      >>> part["x"].tolist(), part["length"].tolist()
      ([[1, 2], [4, 0]], [2, 1])
    """
    if not len(waves):
        raise ValueError("there are 0 waves; expected at least 1")
    dtype = waves[0].dtype
    x = np.zeros((len(waves), length), dtype)
    for number, wave in enumerate(waves):
        if wave.ndim != 1 or not wave.size or wave.dtype != dtype or dtype not in (np.int16, np.float32):
            raise ValueError(
                f"wave {number} is {wave.dtype} {list(wave.shape)}; expected [l], not empty, all waves int16 "
                "or all float32; take one channel of several"
            )
        x[number, : len(wave)] = wave[:length]
    return {"x": x, "length": np.array([min(len(wave), length) for wave in waves], np.int32)}


def scale_clips(batch: dict) -> dict:
    """The batch with its int16 `x` as float32 in [-1, 1): the `prepare` of data sets of clips."""
    return {**batch, "x": batch["x"].astype(jnp.float32) / 32768}


@checked
def resample(wave: np.ndarray, *, rate: Count, to: Count) -> np.ndarray:
    """A wave at another rate, by SciPy's polyphase filter (`scipy.signal.resample_poly`, Kaiser window).

    Args:
      wave: float `[L]`.
      rate: its samples a second.
      to: those of the result.

    Returns:
      float32 `[ceil(L * to / rate)]`; frequencies above half the lower rate are filtered out.

    Raises:
      ValueError: a rate below 1, or rates whose ratio needs a filter of more than a million places.

    Example:
      >>> wave = np.sin(np.arange(8000) / 8)
      >>> fdl.data.resample(wave, rate=8000, to=4000).shape
      (4000,)
    """
    from scipy.signal import resample_poly

    common = math.gcd(rate, to)
    if max(rate, to) // common > _STEPS:
        raise ValueError(f"{rate} and {to} samples a second have no common divisor that is large enough")
    return resample_poly(wave.astype(np.float64), to // common, rate // common).astype(np.float32)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples in [-1, 1] as int16, rounded; exact for what was int16, louder ones are clipped."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
