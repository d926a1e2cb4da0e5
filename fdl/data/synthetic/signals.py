"""One-dimensional signals: the sawtooth, and MNIST-1D."""

import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fdl.arguments import Count, NotNegative, checked
from fdl.data.datasets.data_set import DataSet, Origin
from fdl.data.generated import sampled
from fdl.data.splits import Splits, parts

Row = dict[str, jax.Array]

_TEMPLATES = (  # of MNIST-1D (Greydanus 2020, arXiv:2011.14439), as all numbers here
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
_LENGTH = 12
_PADDING = (36, 60)
_PADDED = _LENGTH + _PADDING[1]
_SHIFTS = 48
_SIGMA, _REACH = 2, 8


@checked
def sawtooth(key: jax.Array, *, teeth: Count = 4, noise: NotNegative[ArrayLike] = 0.0) -> Row:
    """A point of the sawtooth wave, whose jumps take every frequency to fit.

    The key is split in two. The first gives m, the upper 24 bits of one `jax.random.bits` word; the
    second e, one standard normal number. x = m / 2**24, so it is in [0, 1), and y = 2 f - 1 +
    noise · e for the fractional part f of `teeth · x`, computed from m in integers, without rounding.

    Args:
      key: names the row.
      teeth: periods in [0, 1), 1 to 2**24.
      noise: standard deviation of the noise on y.

    Returns:
      `x`, float32 `[1]`, and `y`, float32 `[1]`.

    Raises:
      ValueError: teeth out of range.

    Example:
      >>> row = jax.eval_shape(fdl.data.synthetic.sawtooth, jax.random.key(0))
      >>> {name: one.shape for name, one in row.items()}
      {'x': (1,), 'y': (1,)}
    """
    if not 1 <= teeth <= 2**24:
        raise ValueError(f"teeth is {teeth}; expected 1 to 2**24")
    place, offset = jax.random.split(key)
    word = jax.random.bits(place, (1,), jnp.uint32) >> 8 << 8
    clean = 2 * _fraction(word * np.uint32(teeth)) - 1
    return {"x": _fraction(word), "y": clean + noise * jax.random.normal(offset, (1,))}


@checked
def mnist1d(*, train: Count = 4000, validation: Count = 1000, test: Count = 1000, seed: int = 42) -> Splits:
    """MNIST-1D (Greydanus and Kobak 2020, arXiv:2011.14439) with the published parameters.

    The rows are `sampled(mnist1d_row, ...)`, then shifted and scaled to mean 0 and standard deviation
    1 over all numbers of the train part. The published set differs in three ways: its rows come from
    NumPy's generator, it has exactly as many of each digit, and its test part takes part in mean and
    standard deviation.

    Args:
      train: rows in the train part.
      validation: rows in the validation part.
      test: rows in the test part.
      seed: names the set.

    Returns:
      Parts with `x`, float32 `[N, 40]`, and `y`, int32 `[N]` in 0..9; the arrays are read-only.

    Raises:
      ValueError: a part without rows.

    Example:
      >>> splits = fdl.data.synthetic.mnist1d()  # doctest: +SKIP
      >>> splits.train["x"].shape  # doctest: +SKIP
      (4000, 40)
    """
    first, second, third = (dict(part) for part in _mnist1d(train, validation, test, seed))
    return Splits(first, second, third, classes=tuple("0123456789"))


@functools.cache
def _mnist1d(train: int, validation: int, test: int, seed: int) -> list[dict[str, np.ndarray]]:
    made = parts(sampled(mnist1d_row, train=train, validation=validation, test=test, seed=seed))
    arrays = [cast(dict[str, np.ndarray], part) for part in made.values()]
    values = arrays[0]["x"].astype(np.float64)
    mean, scale = values.mean(), values.std()
    scaled = [{**part, "x": ((part["x"] - mean) / scale).astype(np.float32)} for part in arrays]
    for array in (array for part in scaled for array in part.values()):
        array.flags.writeable = False
    return scaled


@checked
def mnist1d_row(
    key: jax.Array,
    *,
    scale_coeff: NotNegative[ArrayLike] = 0.4,
    corr_noise_scale: NotNegative[ArrayLike] = 0.25,
    iid_noise_scale: NotNegative[ArrayLike] = 2e-2,
    shear_scale: NotNegative[ArrayLike] = 0.75,
    final_seq_length: Count = 40,
) -> Row:
    """One signal of MNIST-1D, not standardised; `mnist1d` cites it.

    The key is split in seven, for, in this order: the label, `randint(0, 10)`; the padding p,
    `randint(36, 61)`; the shift k, `randint(0, 48)`; a and b, one `uniform` each; c and d, 72
    standard normal numbers each. Then, "stretched from M to N points" meaning linear interpolation
    at place `j (M - 1) / (N - 1)` for point j:

    1. The label's template, 12 numbers, is shifted to mean 0, scaled to standard deviation 1
       (population), shifted to start at 0 and divided by 6; p zeros follow it.
    2. The 12 + p numbers are stretched to 72 points; a point is of the signal if its place is below
       12, else of the background.
    3. They are multiplied by `1 + scale_coeff (a - 1/2)`.
    4. They are rotated by k points towards the end, and which of them are signal with them.
    5. Background points become c, smoothed and times `corr_noise_scale`. Smoothing weighs the points
       at distance -8..8 by exp(-distance² / 8), normalised to sum 1; beyond its ends c is mirrored,
       its end point repeated.
    6. `iid_noise_scale · d` is added to all.
    7. `shear_scale (b - 1/2) (j / 71 - 1/2)` is taken from point j.
    8. The 72 points are stretched to `final_seq_length`.

    Args:
      key: names the row.
      scale_coeff: width of the range of scales.
      corr_noise_scale: standard deviation of the noise before it is smoothed.
      iid_noise_scale: standard deviation of the noise on every point.
      shear_scale: width of the range of slopes.
      final_seq_length: T, numbers in the signal, at least 2.

    Returns:
      `x`, float32 `[T]`, and `y`, int32 `[]` in 0..9.

    Raises:
      ValueError: a length below 2.

    Example:
      >>> row = jax.eval_shape(fdl.data.synthetic.mnist1d_row, jax.random.key(0))
      >>> row["x"].shape, row["y"].dtype
      ((40,), dtype('int32'))
    """
    if final_seq_length < 2:
        raise ValueError(f"final_seq_length is {final_seq_length}; expected at least 2")
    raw = _draw(key)
    signal, inside = _stretched_template(raw.label, raw.padding)
    signal = signal * (1 + scale_coeff * (raw.scale - 0.5))
    signal, inside = jnp.roll(signal, raw.shift), jnp.roll(inside, raw.shift)
    signal = jnp.where(inside, signal, corr_noise_scale * _smoothed(raw.correlated))
    signal = signal + iid_noise_scale * raw.independent
    slope = np.linspace(-0.5, 0.5, _PADDED, dtype=np.float32)
    signal = signal - shear_scale * (raw.shear - 0.5) * slope
    return {"x": _stretched(signal, _PADDED, final_seq_length), "y": raw.label}


class _Raw(NamedTuple):
    """The random numbers behind one signal, as `mnist1d_row` names them."""

    label: jax.Array
    padding: jax.Array
    shift: jax.Array
    scale: jax.Array
    shear: jax.Array
    correlated: jax.Array
    independent: jax.Array


def _draw(key: jax.Array) -> _Raw:
    label, padding, shift, scale, shear, correlated, independent = jax.random.split(key, 7)
    return _Raw(
        label=jax.random.randint(label, (), 0, len(_TEMPLATES)),
        padding=jax.random.randint(padding, (), _PADDING[0], _PADDING[1] + 1),
        shift=jax.random.randint(shift, (), 0, _SHIFTS),
        scale=jax.random.uniform(scale),
        shear=jax.random.uniform(shear),
        correlated=jax.random.normal(correlated, (_PADDED,)),
        independent=jax.random.normal(independent, (_PADDED,)),
    )


def _stretched_template(label: jax.Array, padding: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The padded template at 72 points, and which of them are of the signal; `[72]` each."""
    templates = np.array(_TEMPLATES)
    templates = (templates - templates.mean(1, keepdims=True)) / templates.std(1, keepdims=True)
    templates = np.pad((templates - templates[:, :1]) / 6, ((0, 0), (0, _PADDING[1])))
    length = _LENGTH + padding
    # Integers say what is signal: whether an interpolated float is exactly 0 may depend on rounding.
    inside = jnp.arange(_PADDED) * (length - 1) < _LENGTH * (_PADDED - 1)
    return _stretched(jnp.asarray(templates, jnp.float32)[label], length, _PADDED), inside


def _stretched(signal: jax.Array, length: ArrayLike, points: int) -> jax.Array:
    """The first `length` numbers of a signal `[M]`, interpolated at `[points]` even places."""
    place, step = np.arange(points) * (jnp.asarray(length) - 1), points - 1
    before = place // step
    after = jnp.minimum(before + 1, signal.shape[0] - 1)
    weight = (place % step).astype(jnp.float32) / step
    return signal[before] * (1 - weight) + signal[after] * weight


def _smoothed(noise: jax.Array) -> jax.Array:
    """A Gaussian filter over `[72]`, its ends mirrored."""
    distance = np.arange(-_REACH, _REACH + 1)
    weights = np.exp(-0.5 * (distance / _SIGMA) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    mirrored = np.pad(np.arange(_PADDED), _REACH, mode="symmetric")
    neighbours = mirrored[np.arange(_PADDED)[:, None] + _REACH + distance]
    return jnp.sum(noise[neighbours] * weights, axis=-1)


def _fraction(word: jax.Array) -> jax.Array:
    """A uint32 word's upper 24 bits as float32 in [0, 1), exact."""
    return (word >> 8).astype(jnp.float32) * np.float32(2**-24)


DATA_SETS = (
    DataSet("mnist1d", "MNIST-1D, 10 kinds of signals of 40 values", Origin.MADE, mnist1d),
    DataSet("mnist1d_row", "signals of MNIST-1D, not standardised", Origin.ENDLESS, mnist1d_row),
    DataSet("sawtooth", "points of a sawtooth wave, for regression", Origin.ENDLESS, sawtooth),
)
