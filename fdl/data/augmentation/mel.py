"""Log-mel spectrograms of sound, and masks over them, on the device."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fdl.arguments import Count, NotNegative, Positive, checked

_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0  # Slaney's scale: linear below, logarithmic above


@checked
def log_mel(
    wave: jax.Array,
    *,
    rate: Positive[float],
    window: Count = 200,
    hop: Count = 80,
    mels: Count = 40,
    low: NotNegative[float] = 0.0,
    high: Positive[float] | None = None,
    floor: Positive[float] = 1e-8,
) -> jax.Array:
    """Log-mel spectrogram: the log of the energy in bands that are evenly spaced for the ear.

    Frame t is samples `t * hop` to `t * hop + window - 1`, times a periodic Hann window, padded with
    zeros to the next power of two F; its energies are `|rfft|**2 @ mel_filters(...)`. There is no
    padding of the wave, so samples after the last whole frame are not used.

    Args:
      wave: `[..., L]` floats.
      rate: samples a second.
      window: samples of a frame, at most L.
      hop: samples from one frame to the next.
      mels: M, bands.
      low: Hz, lower edge of the first band.
      high: Hz, upper edge of the last band; half of `rate` if None.
      floor: the least energy; smaller ones count as this one. The default lies at what rounding to 16
        bits leaves in a frame of 200 samples.

    Returns:
      `[..., T, M]` natural logarithms, `T = 1 + (L - window) // hop`, of the wave's dtype.

    Raises:
      ValueError: a wave shorter than a frame, a hop below 1, or bands out of range.

    Example:
      >>> wave = np.zeros((2, 8000), np.float32)
      >>> jax.eval_shape(lambda wave: fdl.data.log_mel(wave, rate=8000, mels=40), wave).shape
      (2, 98, 40)
    """
    length = wave.shape[-1]
    if not 2 <= window <= length or hop < 1:
        raise ValueError(
            f"the wave has {length} samples, window is {window} and hop {hop}; expected a window from 2 "
            "samples to the whole wave and a hop of at least 1"
        )
    size = 1 << (window - 1).bit_length()
    filters = mel_filters(rate=rate, size=size, mels=mels, low=low, high=high)
    starts = np.arange(1 + (length - window) // hop) * hop
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = wave[..., starts[:, None] + np.arange(window)] * hann.astype(wave.dtype)
    spectrum = jnp.fft.rfft(frames, size)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    energy = jnp.matmul(power, filters.astype(wave.dtype), precision=jax.lax.Precision.HIGHEST)
    return jnp.log(jnp.maximum(energy, floor))


def mel_filters(
    *, rate: float, size: int, mels: int, low: float = 0.0, high: float | None = None
) -> np.ndarray:
    """Triangular filters on Slaney's mel scale, each divided by half its width in Hz.

    The scale of the "Auditory Toolbox" (Slaney 1998): linear below 1,000 Hz, 200 / 3 Hz a mel;
    above, every mel is a factor of 6.4 ** (1 / 27). Filter m rises from edge m to edge m + 1 and falls
    to edge m + 2, of M + 2 edges that are evenly spaced in mel.

    Args:
      rate: samples a second.
      size: F, samples of the Fourier transform.
      mels: M, filters.
      low: Hz, the first edge.
      high: Hz, the last edge; half of `rate` if None.

    Returns:
      float64 `[F // 2 + 1, M]`.

    Raises:
      ValueError: edges out of order or above half of `rate`, or filters so narrow that one is empty.
    """
    high = rate / 2 if high is None else high
    if not 0 <= low < high <= rate / 2 or mels < 1:
        raise ValueError(
            f"{mels} bands from {low} to {high} Hz at {rate} samples a second; expected at least 1 band and "
            "0 <= low < high <= rate / 2"
        )
    edges = _to_hz(np.linspace(_to_mel(low), _to_mel(high), mels + 2))
    bins = np.arange(size // 2 + 1)[:, None] * (rate / size)
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rise, fall)) * 2 / (edges[2:] - edges[:-2])
    empty = np.flatnonzero(filters.max(axis=0) == 0)
    if empty.size:
        raise ValueError(
            f"band {empty[0]} of {mels} lies between the {rate / size:g} Hz steps of the spectrum; "
            "take fewer bands or a longer window"
        )
    return filters


@checked
def spec_augment(
    features: jax.Array,
    key: jax.Array,
    *,
    time_masks: NotNegative[int] = 2,
    time_width: NotNegative[int | jax.Array] = 20,
    band_masks: NotNegative[int] = 2,
    band_width: NotNegative[int | jax.Array] = 8,
    fill: ArrayLike = 0.0,
) -> jax.Array:
    """Masks random stretches of time and of frequency (SpecAugment, Park et al. 2019, sec. 2).

    Each mask's width is uniform over 0, 1, ..., its greatest width (which is at most the whole axis),
    and its place uniform over all where it fits. Masks may overlap. Time is not warped,
    and no share of the frames limits a mask (the paper's p).

    Args:
      features: `[T, M]`.
      key: one PRNG key; the same key masks the same places.
      time_masks: how many masks over all bands.
      time_width: greatest width of those, in frames; may be traced.
      band_masks: how many masks over all frames.
      band_width: greatest width of those, in bands; may be traced.
      fill: what masked places become; 0 is the mean of standardised features.

    Returns:
      `[T, M]`, unchanged outside the masks.

    Example:
      >>> features = np.ones((99, 40), np.float32)
      >>> jax.eval_shape(fdl.data.spec_augment, features, jax.random.key(0)).shape
      (99, 40)
    """
    time_key, band_key = jax.random.split(key)
    frames = _masked(time_key, features.shape[0], time_masks, time_width)
    bands = _masked(band_key, features.shape[1], band_masks, band_width)
    return jnp.where(frames[:, None] | bands, jnp.asarray(fill, features.dtype), features)


def _masked(key: jax.Array, size: int, masks: int, width: ArrayLike) -> jax.Array:
    """Which of `range(size)` any mask covers: bool `[size]`."""
    uniform = jax.random.uniform(key, (2, masks, 1))
    widest = jnp.minimum(width, size)
    widths = jnp.floor(uniform[0] * (widest + 1))
    starts = jnp.floor(uniform[1] * (size - widths + 1))
    places = jnp.arange(size)
    return jnp.any((starts <= places) & (places < starts + widths), axis=0)


def _to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz * 3 / 200
    return _BREAK_MEL + 27 * float(np.log(hz / _BREAK_HZ) / np.log(6.4))


def _to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < _BREAK_MEL, mel * 200 / 3, _BREAK_HZ * 6.4 ** ((mel - _BREAK_MEL) / 27))
