"""Log-mel features against SciPy and the filters' definition; masks against what they may cover."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from fdl.data.augmentation import mel
from fdl.data.augmentation.mel import mel_filters

SETTINGS = ("rate", "window", "hop", "mels", "low", "high", "floor")
log_mel = jax.jit(mel.log_mel, static_argnames=SETTINGS)
spec_augment = jax.jit(mel.spec_augment, static_argnames=("time_masks", "band_masks"))


def mel_of(hz):
    """Slaney's scale by its two pieces: 15 mels up to 1 kHz, then 27 mels to each factor of 6.4."""
    return hz / (1000 / 15) if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)


def reference_filters(rate, size, mels, low, high):
    """Filter by filter, bin by bin, with the edges found by bisection of the scale."""

    def hz_of(mel):
        a, b = 0.0, float(rate)
        for _ in range(100):
            middle = (a + b) / 2
            a, b = (middle, b) if mel_of(middle) < mel else (a, middle)
        return a

    step = (mel_of(high) - mel_of(low)) / (mels + 1)
    edges = [hz_of(mel_of(low) + step * number) for number in range(mels + 2)]
    filters = np.zeros((size // 2 + 1, mels))
    for m in range(mels):
        left, centre, right = edges[m : m + 3]
        for k in range(size // 2 + 1):
            hz = k * rate / size
            if left < hz <= centre:
                filters[k, m] = (hz - left) / (centre - left)
            elif centre < hz < right:
                filters[k, m] = (right - hz) / (right - centre)
        filters[:, m] /= (right - left) / 2
    return filters


def reference(wave, rate, window, hop, mels, low, high, floor):
    size = 2 ** int(np.ceil(np.log2(window)))
    _, _, spectrum = signal.stft(
        wave, rate, "hann", window, window - hop, size, boundary=None, padded=False, scaling="spectrum"
    )
    power = np.abs(spectrum) ** 2 * signal.get_window("hann", window).sum() ** 2
    return np.log(np.maximum(power.T @ reference_filters(rate, size, mels, low, high), floor))


CASES = [
    {"rate": 8000, "window": 200, "hop": 80, "mels": 40, "low": 0.0, "high": 4000.0},
    {"rate": 16000, "window": 400, "hop": 160, "mels": 80, "low": 20.0, "high": 7600.0},
    {"rate": 16000, "window": 512, "hop": 512, "mels": 23, "low": 0.0, "high": 8000.0},
    {"rate": 22050, "window": 1001, "hop": 77, "mels": 10, "low": 300.0, "high": 3000.0},
]


def wave_of(size, seed=0):
    """Noise that swells, with a tone in it."""
    time = np.arange(size)
    noise = np.random.default_rng(seed).normal(size=size) * np.linspace(0.01, 0.2, size)
    return (noise + 0.3 * np.sin(time * 0.3)).astype(np.float32)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rate']}-{case['window']}-{case['mels']}")
def test_equals_scipy(case):
    wave = wave_of(3000)
    ours = log_mel(wave, **case, floor=1e-8)
    theirs = reference(wave.astype(np.float64), **case, floor=1e-8)
    assert ours.shape == (1 + (3000 - case["window"]) // case["hop"], case["mels"]) == theirs.shape
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_filters_follow_their_definition():
    ours = mel_filters(rate=16000, size=512, mels=40, low=20.0, high=7600.0)
    np.testing.assert_allclose(ours, reference_filters(16000, 512, 40, 20.0, 7600.0), rtol=1e-9, atol=1e-12)


def test_the_defaults_reach_half_of_the_rate():
    wave = jnp.asarray(wave_of(1000))
    np.testing.assert_array_equal(log_mel(wave, rate=8000), log_mel(wave, rate=8000, low=0.0, high=4000.0))


def test_a_tone_is_loudest_in_its_band():
    edges = np.linspace(0, mel_of(4000), 42)
    for hz in (300, 1000, 2500):
        wave = jnp.sin(2 * np.pi * hz * np.arange(800) / 8000)
        loudest = int(log_mel(wave, rate=8000)[3].argmax())
        assert edges[loudest] < mel_of(hz) < edges[loudest + 2]


def test_silence_is_the_floor():
    np.testing.assert_allclose(log_mel(jnp.zeros(400), rate=8000, floor=1e-5), np.log(1e-5), rtol=1e-6)


def test_jit_and_vmap_change_nothing():
    waves = jnp.stack([wave_of(600, seed) for seed in range(6)]).reshape(2, 3, 600)
    features = lambda wave: log_mel(wave, rate=8000, mels=20)  # noqa: E731
    whole = mel.log_mel(waves, rate=8000, mels=20)
    assert whole.shape == (2, 3, 6, 20)
    np.testing.assert_allclose(features(waves), whole, atol=1e-4)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.vmap(features)))(waves), whole, atol=1e-4)


def test_gradient_equals_finite_differences():
    with jax.enable_x64(True):
        wave = jnp.asarray(wave_of(300), jnp.float64)
        loss = jax.jit(lambda wave: jnp.sum(jnp.sin(log_mel(wave, rate=8000, mels=12))))
        gradient = jax.jit(jax.grad(loss))(wave)
        assert gradient.dtype == jnp.float64
        for place in (0, 1, 57, 150, 279):
            step = 1e-6 * (np.arange(300) == place)
            slope = (loss(wave + step) - loss(wave - step)) / 2e-6
            np.testing.assert_allclose(gradient[place], slope, rtol=1e-5, atol=1e-6)
    assert not np.asarray(gradient)[280:].any()  # after the last whole frame


BAD = {
    "short wave": ({}, 100, "has 100 samples"),
    "no hop": ({"hop": 0}, 400, "hop is 0; expected at least 1"),
    "one sample": ({"window": 1}, 400, "window is 1"),
    "above half the rate": ({"high": 5000.0}, 400, "5000.0 Hz"),
    "edges out of order": ({"low": 3000.0, "high": 2000.0}, 400, "from 3000.0 to 2000.0"),
    "no bands": ({"mels": 0}, 400, "mels is 0; expected at least 1"),
    "empty bands": ({"mels": 200}, 400, "fewer bands"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_named(name):
    settings, size, message = BAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        log_mel(jnp.zeros(size), rate=8000, **settings)
    assert "\n" not in str(caught.value)


FEATURES = jnp.asarray(np.random.default_rng(0).normal(size=(30, 17)).astype(np.float32))


def masked(**settings):
    """The masks of 200 keys, bool `[200, T, M]`."""
    keys = jax.random.split(jax.random.key(0), 200)
    out = jax.jit(jax.vmap(lambda key: spec_augment(FEATURES, key, fill=99.0, **settings)))(keys)
    covered = np.asarray(out) == 99.0
    np.testing.assert_array_equal(np.asarray(out)[~covered], np.broadcast_to(FEATURES, out.shape)[~covered])
    return covered


@pytest.mark.parametrize(("name", "axis", "size"), [("time", 1, 30), ("band", 2, 17)])
def test_one_mask_is_one_stretch_of_every_width_and_place(name, axis, size):
    other = {"time": "band", "band": "time"}[name]
    covered = masked(**{f"{name}_masks": 1, f"{name}_width": 5, f"{other}_masks": 0})
    lines = covered.any(axis=3 - axis)
    np.testing.assert_array_equal(lines, covered.all(axis=3 - axis))
    assert set(lines.sum(axis=1)) == {0, 1, 2, 3, 4, 5}
    for line in lines:
        places = np.flatnonzero(line)
        assert len(places) == 0 or places[-1] - places[0] + 1 == len(places)
    assert lines[:, 0].any() and lines[:, size - 1].any()


def test_widths_are_uniform():
    keys = jax.random.split(jax.random.key(1), 6000)
    settings = {"time_masks": 1, "time_width": 5, "band_masks": 0, "fill": 9.0}
    covered = np.asarray(jax.jit(jax.vmap(lambda key: spec_augment(FEATURES, key, **settings)))(keys)) == 9.0
    counts = np.bincount(covered[:, :, 0].sum(axis=1), minlength=6)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000 * 5 / 6)


def test_masks_cover_no_more_than_their_count_times_their_width():
    covered = masked(time_masks=3, time_width=4, band_masks=2, band_width=3)
    assert covered.all(axis=2).sum(axis=1).max() <= 12
    assert covered.all(axis=1).sum(axis=1).max() <= 6
    assert covered.all(axis=2).sum(axis=1).max() > 8


def test_a_mask_wider_than_the_axis_may_cover_it_all():
    assert masked(time_masks=1, time_width=1000, band_masks=0).all(axis=(1, 2)).any()


def test_no_masks_change_nothing():
    same = mel.spec_augment(FEATURES, jax.random.key(0), time_masks=0, band_masks=0)
    np.testing.assert_array_equal(same, FEATURES)
    same = spec_augment(FEATURES, jax.random.key(0), time_width=0, band_width=0)
    np.testing.assert_array_equal(same, FEATURES)


def test_the_key_says_it_all_and_widths_may_be_traced():
    key = jax.random.key(3)
    once = spec_augment(FEATURES, key, time_width=7, band_width=4)
    np.testing.assert_array_equal(once, spec_augment(FEATURES, key, time_width=7, band_width=4))
    assert (once != spec_augment(FEATURES, jax.random.key(4), time_width=7, band_width=4)).any()
    static = mel.spec_augment(FEATURES, key, time_width=7, band_width=4)
    np.testing.assert_array_equal(once, static)
    np.testing.assert_array_equal(once, spec_augment(FEATURES, key, time_width=7.0, band_width=4.0))
    assert once.shape == FEATURES.shape and once.dtype == FEATURES.dtype
