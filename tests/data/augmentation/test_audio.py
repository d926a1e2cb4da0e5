"""Noise at an exact ratio, and shifts that lose what leaves."""

import jax
import numpy as np
import pytest
from scipy import stats

from fdl.data.augmentation.audio import noise_at, time_shift
from tests.data.augmentation.test_base import KEY, x_of

WAVES = {"x": np.random.default_rng(0).normal(size=(300, 500)).astype(np.float32)}


def ratios(x, waves=WAVES):
    clean = waves["x"].astype(np.float64)
    return 10 * np.log10((clean**2).mean(axis=1) / ((x - clean) ** 2).mean(axis=1))


@pytest.mark.parametrize("snr", [-10.0, 0.0, 25.0])
def test_the_ratio_is_exact(snr):
    np.testing.assert_allclose(ratios(x_of(noise_at(snr=(snr, snr)), WAVES)), snr, atol=1e-3)


def test_the_ratio_is_uniform_in_decibels_and_the_noise_is_white_and_normal():
    x = x_of(noise_at(snr=(5.0, 20.0)), WAVES)
    assert stats.kstest(ratios(x), stats.uniform(5, 15).cdf).pvalue > 1e-3
    noise = x - WAVES["x"]
    noise /= noise.std(axis=1, keepdims=True)
    assert stats.kstest(noise[:20].ravel(), stats.norm.cdf).pvalue > 1e-3
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 0.02


def test_integers_are_rounded_and_silence_stays():
    waves = {"x": (8000 * WAVES["x"][:, :200]).clip(-32768, 32767).astype(np.int16)}
    x = x_of(noise_at(snr=(20.0, 20.0)), waves)
    assert x.dtype == np.int16
    np.testing.assert_allclose(ratios(x.astype(np.float64), waves), 20.0, atol=0.05)
    silence = {"x": np.zeros((3, 100), np.float32)}
    np.testing.assert_array_equal(x_of(noise_at(snr=(0.0, 0.0)), silence), silence["x"])


@pytest.mark.parametrize("shape", [(6,), (6, 2)])
def test_shifts_are_numpys_with_silence(shape):
    row = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    found = {one.tobytes() for one in x_of(time_shift(most=2), {"x": np.repeat(row[None], 200, axis=0)})}
    wanted = set()
    for distance in range(-2, 3):
        moved = np.zeros_like(row)
        moved[max(distance, 0) : 6 + min(distance, 0)] = row[max(-distance, 0) : 6 - max(distance, 0)]
        wanted.add(moved.tobytes())
    assert found == wanted


def test_strengths_may_be_traced_and_rows_are_their_own():
    alike = {"x": np.repeat(WAVES["x"][:1], 5, axis=0)}
    run = jax.jit(lambda low, most: time_shift(most=most)(noise_at(snr=(low, 30.0))(alike, KEY), KEY)["x"])
    assert len(np.unique(run(10.0, 4), axis=0)) == 5


def test_a_shift_beyond_the_wave_leaves_silence():
    far = x_of(time_shift(most=10**6), {"x": np.ones((20, 5), np.float32)})
    assert not far.any()
