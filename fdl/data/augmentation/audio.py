"""Augmentations of waves; `base` says what all have in common."""

import jax
import jax.numpy as jnp

from fdl.arguments import NotNegative, Rising, checked
from fdl.data.augmentation.base import between, by_row, cast_like, whole
from fdl.data.sources import Augmentation

Range = Rising[tuple[float | jax.Array, float | jax.Array]]
"""The lower and the higher value."""


@checked
def noise_at(*, snr: Range) -> Augmentation:
    """Adds white noise to waves `[T, ...]` at a signal-to-noise ratio drawn for each row.

    The ratio is that of the two mean squares as they are, so it is exact where nothing is rounded or
    clipped (as integers are). A silent row stays silent.

    Args:
      snr: range in decibels, uniform; 0 is noise as strong as the signal.

    Example:
      >>> noisy = fdl.data.noise_at(snr=(0, 20))
      >>> batch = {"x": np.zeros((8, 16000), np.int16)}
      >>> jax.eval_shape(noisy, batch, jax.random.key(0))["x"]
      ShapeDtypeStruct(shape=(8, 16000), dtype=int16)
    """

    def row(wave: jax.Array, key: jax.Array) -> jax.Array:
        drawing, noising = jax.random.split(key)
        ratio = 10 ** (between(jax.random.uniform(drawing), *snr) / 10)
        signal = wave.astype(jnp.float32)
        noise = jax.random.normal(noising, wave.shape)
        power = jnp.mean(jnp.square(signal)) / ratio
        return cast_like(signal + noise * jnp.sqrt(power / jnp.mean(jnp.square(noise))), wave)

    return by_row(row)


@checked
def time_shift(*, most: NotNegative[int | jax.Array]) -> Augmentation:
    """Moves waves `[T, ...]` in time; what leaves is lost, and what comes in is silence.

    Args:
      most: in samples; the distance is uniform over -most, ..., most, later in time where above 0.

    Example:
      >>> moved = fdl.data.time_shift(most=0)({"x": np.arange(1.0, 4.0)[None]}, jax.random.key(0))["x"]
      >>> moved.tolist()
      [[1.0, 2.0, 3.0]]
    """

    def row(wave: jax.Array, key: jax.Array) -> jax.Array:
        distance = whole(jax.random.uniform(key), 2 * most + 1) - most
        source = jnp.arange(len(wave)) - distance
        inside = ((source >= 0) & (source < len(wave))).reshape(-1, *[1] * (wave.ndim - 1))
        return jnp.where(inside, wave[jnp.clip(source, 0, len(wave) - 1)], 0)

    return by_row(row)
