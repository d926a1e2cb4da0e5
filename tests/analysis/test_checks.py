"""Temperature, certified radii, corruptions and scores: closed forms, identities and other libraries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize
import scipy.stats
from statsmodels.stats.proportion import proportion_confint

from fdl import analysis

LOGITS = 3 * jax.random.normal(jax.random.key(0), (200, 4))
LABELS = jnp.where(jnp.arange(200) < 140, jnp.argmax(LOGITS, 1), jnp.arange(200) % 4)
IMAGE = jax.random.uniform(jax.random.key(1), (2, 9, 7, 3))


def test_the_temperature_is_where_scipy_finds_the_least_cross_entropy():
    logits, labels = np.float64(LOGITS), np.asarray(LABELS)

    def entropy(temperature):
        scaled = logits / temperature
        return np.mean(scipy.special.logsumexp(scaled, axis=1) - scaled[np.arange(200), labels])

    best = scipy.optimize.minimize_scalar(
        entropy, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-7}
    )
    found = float(analysis.fit_temperature(LOGITS, LABELS))
    assert found == pytest.approx(best.x, rel=1e-3) and found > 1.2
    np.testing.assert_array_equal(jnp.argmax(LOGITS / found, 1), jnp.argmax(LOGITS, 1))
    shifted = analysis.fit_temperature(jax.nn.log_softmax(LOGITS), LABELS)
    assert float(shifted) == pytest.approx(found, rel=1e-4)


def test_where_all_are_right_the_temperature_is_next_to_nothing():
    assert 0 < float(analysis.fit_temperature(LOGITS, jnp.argmax(LOGITS, 1))) < 0.01


def test_the_radius_of_a_linear_classifier_is_its_distance_and_never_more():
    normal = jnp.array([0.6, 0.8])
    x = jnp.array([[0.3, 0.4], [-0.06, -0.08]])  # at distances 0.5 and 0.1 from the boundary
    classify = lambda rows: (rows @ normal > 0).astype(int)  # noqa: E731
    draw = jax.jit(
        lambda key, samples: analysis.noisy_counts(classify, x, key, sigma=0.5, samples=samples, classes=2),
        static_argnums=1,
    )
    keys = jax.random.split(jax.random.key(3))
    found = analysis.certify(draw(keys[0], 100), draw(keys[1], 20_000), sigma=0.5)
    assert found.label.tolist() == [1, 0]
    assert np.all(found.radius <= [0.5, 0.1]) and np.all(found.radius > [0.45, 0.07])


def test_the_bound_is_statsmodels_and_a_row_without_majority_abstains():
    counts = np.array([[70, 30, 0], [0, 0, 100], [52, 48, 0], [0, 100, 0]])
    guesses = np.array([[9, 1, 0], [0, 0, 10], [6, 4, 0], [9, 0, 1]])
    found = analysis.certify(guesses, counts, sigma=2.0, alpha=0.01)
    low = proportion_confint([70, 100], 100, alpha=0.02, method="beta")[0]
    np.testing.assert_allclose(found.radius, [*2 * scipy.stats.norm.ppf(low), 0, 0])
    assert found.label.tolist() == [0, 2, -1, -1]
    with pytest.raises(ValueError, match=r"guesses and counts have shapes \[4, 3\] and \[1, 3\]"):
        analysis.certify(guesses, counts[:1], sigma=1.0)


@pytest.mark.parametrize("corruption", analysis.CORRUPTIONS, ids=lambda one: one.name)
def test_a_corruption_grows_with_its_severity_and_stays_in_range(corruption):
    key = jax.random.key(0)
    found = [analysis.corrupted(corruption, IMAGE, key, severity=severity) for severity in range(1, 6)]
    far = [float(jnp.mean(jnp.abs(one - IMAGE))) for one in found]
    assert far == sorted(far) and far[0] > 0 and all(one.min() >= 0 and one.max() <= 1 for one in found)


def test_blur_and_brightness_are_those_of_other_libraries():
    named = {one.name: one for one in analysis.CORRUPTIONS}
    key = jax.random.key(0)
    blurred = analysis.corrupted(named["gaussian blur"], IMAGE, key, severity=5)
    expected = scipy.ndimage.gaussian_filter(IMAGE, (0, 1.0, 1.0, 0), mode="nearest")
    np.testing.assert_allclose(blurred, expected, atol=1e-5)
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    hsv = rgb_to_hsv(np.asarray(IMAGE))
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
    brighter = analysis.corrupted(named["brightness"], IMAGE, key, severity=5)
    np.testing.assert_allclose(brighter, hsv_to_rgb(hsv), atol=1e-5)


def test_the_noises_have_their_moments():
    grey, key = jnp.full((1, 200, 200, 1), 0.5), jax.random.key(0)
    found = {
        one.name: analysis.corrupted(one, grey, key, severity=5)
        for one in analysis.CORRUPTIONS
        if "noise" in one.name
    }
    spread = {name: float(jnp.std(one)) for name, one in found.items()}
    assert spread["gaussian noise"] == pytest.approx(0.1, rel=0.02)
    assert spread["shot noise"] == pytest.approx(np.sqrt(0.5 / 50), rel=0.02)
    assert spread["speckle noise"] == pytest.approx(0.5 * 0.2, rel=0.02)
    assert float(jnp.mean(found["impulse noise"] != 0.5)) == pytest.approx(0.07, rel=0.1)


def test_a_severity_or_rows_that_are_none_are_refused():
    one, key = analysis.CORRUPTIONS[0], jax.random.key(0)
    with pytest.raises(ValueError, match="severity is 6; expected 1 to 5"):
        analysis.corrupted(one, IMAGE, key, severity=6)
    with pytest.raises(ValueError, match=r"x has shape \[4, 2\]; expected images"):
        analysis.corrupted(one, jnp.zeros((4, 2)), key, severity=1)


def test_scores_are_their_formulas():
    np.testing.assert_allclose(
        analysis.energy_score(LOGITS, temperature=2.0),
        2 * scipy.special.logsumexp(LOGITS / 2, axis=1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        analysis.max_softmax(LOGITS), scipy.special.softmax(LOGITS, 1).max(1), rtol=1e-5
    )
    drawn = jax.random.normal(jax.random.key(0), (2, 999))
    found = analysis.exposure(drawn[0], drawn[1])  # not remembered: the mean is log2(e), sec. 4.3
    assert float(jnp.mean(found)) == pytest.approx(np.log2(np.e), abs=0.15)
    assert analysis.exposure(jnp.array([-9.0]), drawn[1]).tolist() == pytest.approx([np.log2(1000)])
