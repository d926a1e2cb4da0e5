"""The sawtooth in exact fractions, and MNIST-1D against SciPy's filter and NumPy's interpolation."""

import functools
import inspect
from fractions import Fraction

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from fdl.data.synthetic import mnist1d, mnist1d_row, sawtooth
from fdl.data.synthetic.signals import _TEMPLATES, _draw

SIZE = 3000


@functools.cache
def small():
    return mnist1d(train=SIZE, validation=SIZE, test=SIZE)


def part(name):
    return getattr(small(), name)


def many(sample, number=4096):
    return jax.device_get(jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(7), number)))


@pytest.mark.parametrize("teeth", [1, 3, 1000, 2**24 - 1])
def test_sawtooth_is_exact(teeth):
    rows = many(lambda key: sawtooth(key, teeth=teeth), 64)
    for x, y in zip(rows["x"][:, 0], rows["y"][:, 0], strict=True):
        assert float(y) == float(2 * (Fraction(float(x)) * teeth % 1) - 1)


def test_sawtooth_is_the_formula_of_its_draws():
    place, offset = jax.random.split(jax.random.key(3))
    x = (int(jax.random.bits(place, (1,), "uint32")[0]) >> 8) / 2**24
    row = sawtooth(jax.random.key(3), teeth=5, noise=0.5)
    assert float(row["x"][0]) == x
    expected = 2 * (5 * x % 1) - 1 + 0.5 * float(jax.random.normal(offset, (1,))[0])
    np.testing.assert_allclose(row["y"], [expected], rtol=1e-5)


def test_sawtooth_is_uniform_and_noisy():
    rows = many(lambda key: sawtooth(key, teeth=4, noise=0.3))
    assert rows["x"].min() >= 0 and rows["x"].max() < 1 and abs(rows["x"].mean() - 0.5) < 0.02
    residual = rows["y"] - (2 * (4 * rows["x"] % 1) - 1)
    assert abs(residual.std() - 0.3) < 0.015 and abs(residual.mean()) < 0.02


def reference(raw, scale, correlated, independent, shear, points):
    """The published steps in float64, from the same random numbers."""
    template = np.array(_TEMPLATES[int(raw.label)], np.float64)
    template = (template - template.mean()) / template.std()
    template = (template - template[0]) / 6
    stretch = lambda signal, size: np.interp(  # noqa: E731
        np.linspace(0, 1, size), np.linspace(0, 1, len(signal)), signal
    )
    # Published: a tiny number keeps the template's own zeros apart from the padding's.
    signal = stretch(np.concatenate([template + 1e-8, np.zeros(int(raw.padding))]), 72)
    signal = np.roll(signal * (1 + scale * (float(raw.scale) - 0.5)), int(raw.shift))
    background = correlated * gaussian_filter1d(np.asarray(raw.correlated, np.float64), 2)
    signal = np.where(signal != 0, signal, background)
    signal = signal + independent * np.asarray(raw.independent, np.float64)
    signal = signal - shear * (float(raw.shear) - 0.5) * np.linspace(-0.5, 0.5, 72)
    return stretch(signal, points)


SCALES = ("scale_coeff", "corr_noise_scale", "iid_noise_scale", "shear_scale")


@pytest.mark.parametrize("points", [40, 72])
def test_mnist1d_follows_the_published_steps(points):
    keys = jax.random.split(jax.random.key(11), 64)
    raws = jax.device_get(jax.jit(jax.vmap(_draw))(keys))
    make = jax.jit(
        jax.vmap(
            lambda key, scales: mnist1d_row(
                key, final_seq_length=points, **dict(zip(SCALES, scales, strict=True))
            ),
            in_axes=(0, None),
        )
    )
    for scales in ((0.4, 0.25, 0.02, 0.75), (0.9, 1.0, 0.5, 2.0)):
        rows = jax.device_get(make(keys, scales))
        for number in range(64):
            raw = jax.tree.map(lambda value, number=number: value[number], raws)
            np.testing.assert_allclose(rows["x"][number], reference(raw, *scales, points), atol=5e-6)
            assert rows["y"][number] == raw.label


def test_mnist1d_has_the_published_parameters():
    given = {
        name: p.default for name, p in inspect.signature(mnist1d_row).parameters.items() if name != "key"
    }
    assert given == dict(zip(SCALES, (0.4, 0.25, 0.02, 0.75), strict=True)) | {"final_seq_length": 40}


def test_mnist1d_draws_are_documented():
    key = jax.random.key(1)
    label, padding, shift, scale, shear, correlated, independent = jax.random.split(key, 7)
    raw = _draw(key)
    assert int(raw.label) == int(jax.random.randint(label, (), 0, 10))
    assert int(raw.padding) == int(jax.random.randint(padding, (), 36, 61))
    assert int(raw.shift) == int(jax.random.randint(shift, (), 0, 48))
    assert float(raw.scale) == float(jax.random.uniform(scale))
    assert float(raw.shear) == float(jax.random.uniform(shear))
    np.testing.assert_array_equal(raw.correlated, jax.random.normal(correlated, (72,)))
    np.testing.assert_array_equal(raw.independent, jax.random.normal(independent, (72,)))


def test_mnist1d_draws_have_their_ranges():
    raws = many(_draw)
    for values, low, high in ((raws.label, 0, 9), (raws.padding, 36, 60), (raws.shift, 0, 47)):
        assert values.min() == low and values.max() == high
        assert abs(values.mean() - (low + high) / 2) < 4.5 * (high - low + 1) / np.sqrt(12 * 4096)


def test_templates_are_the_published_ones():
    """Ten signals of 12 numbers, from 5 to 5; sums and first moments of those in the authors' code."""
    assert [(len(digit), digit[0], digit[-1]) for digit in _TEMPLATES] == [(12, 5, 5)] * 10
    sums = (76.5, 53.2, 60.0, 70.0, 51.6, 56.5, 43.5, 66.8, 50.0, 54.0)
    moments = (420.75, 318.4, 299.75, 385.0, 300.0, 342.5, 239.25, 341.6, 275.0, 307.8)
    np.testing.assert_allclose([sum(digit) for digit in _TEMPLATES], sums)
    np.testing.assert_allclose([np.arange(12) @ digit for digit in _TEMPLATES], moments)


@pytest.mark.medium
def test_mnist1d_parts():
    assert small().classes == tuple("0123456789")
    for name in ("train", "validation", "test"):
        rows = part(name)
        assert rows["x"].shape == (SIZE, 40) and rows["x"].dtype == np.float32
        assert rows["y"].shape == (SIZE,) and rows["y"].dtype == np.int32
    train = np.asarray(part("train")["x"], np.float64)
    assert abs(train.mean()) < 1e-6 and abs(train.std() - 1) < 1e-6
    assert abs(part("test")["x"].std() - 1) > 1e-4  # another part's statistics are its own
    assert np.bincount(part("train")["y"]).min() > SIZE / 10 - 4.5 * np.sqrt(SIZE * 0.09)


def test_mnist1d_cannot_be_told_apart_by_a_line():
    """Greydanus and Kobak report 32 % for logistic regression, and far more for nets and neighbours."""
    train, test = part("train"), part("test")
    linear = RidgeClassifier().fit(train["x"], train["y"]).score(test["x"], test["y"])
    neighbour = KNeighborsClassifier(1).fit(train["x"], train["y"]).score(test["x"], test["y"])
    assert 0.15 < linear < 0.40 and neighbour > 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sawtooth(jax.random.key(0), teeth=0), "teeth is 0; expected at least 1"),
        (
            lambda: mnist1d_row(jax.random.key(0), final_seq_length=1),
            "final_seq_length is 1; expected at least 2",
        ),
        (lambda: mnist1d(train=0), "train is 0; expected at least 1"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
