"""Shapley values: their axioms, all orders counted out, a linear model's closed form, the package shap."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import analysis
from fdl.analysis.kernel_shapley import shapley_regression
from tests.analysis.nets import BACKGROUND, ROWS, TABLE, TARGET, VARIABLES, linear, outputs

KEY = jax.random.key(7)
METHODS = {
    "exact": analysis.exact_shapley,
    "permutation": partial(analysis.permutation_shapley, key=KEY, permutations=3),
    "kernel": partial(analysis.kernel_shapley, key=KEY, pairs=24),
}


def value(known, row):
    """Of `TABLE`, by itself: the mean output with the other features of each background row."""
    rows = np.where(np.asarray(known, bool), ROWS[row], BACKGROUND)
    return float(np.mean(np.asarray(outputs(VARIABLES, rows))[:, TARGET[row]]))


def test_exact_is_the_mean_over_all_orders():
    wanted = np.zeros((5, 4))
    for row, order in itertools.product(range(5), itertools.permutations(range(4))):
        known = [False] * 4
        for feature in order:
            before = value(known, row)
            known[feature] = True
            wanted[row, feature] += (value(known, row) - before) / math.factorial(4)
    found = analysis.exact_shapley(TABLE.apply, VARIABLES, ROWS, TARGET, BACKGROUND)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_add_up_to_the_output_less_its_mean_over_the_background(method):
    found = method(TABLE.apply, VARIABLES, ROWS, TARGET, BACKGROUND)
    wanted = [value([True] * 4, row) - value([False] * 4, row) for row in range(5)]
    np.testing.assert_allclose(found.sum(axis=1), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_of_a_linear_model_are_weights_times_distances_from_the_mean(method):
    weights = jax.random.normal(jax.random.key(4), (4, 3))
    found = method(linear, weights, ROWS, TARGET, BACKGROUND)
    wanted = weights.T[TARGET] * (ROWS - BACKGROUND.mean(axis=0))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_permutations_are_exact_where_pairs_interact():
    pairs = lambda _, x: jnp.stack([x[:, 0] * x[:, 1] - x[:, 2] * x[:, 3] + x[:, 0] * x[:, 3]] * 3, axis=1)  # noqa: E731
    given = (pairs, None, ROWS, TARGET, BACKGROUND)
    found = analysis.permutation_shapley(*given, KEY, permutations=1)
    np.testing.assert_allclose(found, analysis.exact_shapley(*given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["permutation", "kernel"])
def test_samples_come_near_the_exact_values(method):
    given = (TABLE.apply, VARIABLES, ROWS, TARGET, BACKGROUND)
    few, many = (
        analysis.permutation_shapley(*given, KEY, permutations=number)
        if method == "permutation"
        else analysis.kernel_shapley(*given, KEY, pairs=8 * number)
        for number in (2, 400)
    )
    wanted = analysis.exact_shapley(*given)
    errors = [float(jnp.abs(one - wanted).max()) for one in (few, many)]
    assert errors[1] < 0.05 < errors[0] or errors[1] < errors[0] / 3


def test_kernel_regression_on_all_coalitions_is_exact():
    known = np.array(list(itertools.product([False, True], repeat=4)))
    values = np.array([[value(one, row) for one in known] for row in range(5)], np.float32)
    size = known[1:-1].sum(axis=1)
    weights = 3 / (np.array([math.comb(4, one) for one in size]) * size * (4 - size))
    values = jnp.asarray(values - values[:, :1])
    found = shapley_regression(jnp.asarray(known[1:-1]), values[:, 1:-1], values[:, -1], jnp.asarray(weights))
    wanted = analysis.exact_shapley(TABLE.apply, VARIABLES, ROWS, TARGET, BACKGROUND)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_coalitions_that_tell_too_little_give_nothing():
    known = jnp.array([[True, False, False], [False, True, True]])
    found = shapley_regression(known, jnp.ones((1, 2)), jnp.ones(1))
    assert np.isnan(found).all()


def test_segments_are_features():
    """Of an image `[H, W, C]` pixels that are joined; the feature of all is the whole difference."""
    images, background = jax.random.normal(KEY, (2, 4, 4, 2)), jnp.zeros((1, 4, 4, 2))
    weights = jax.random.normal(jax.random.key(5), (32, 3))
    apply = lambda weights, x: linear(weights, x.reshape(len(x), -1))  # noqa: E731
    segments = np.repeat(np.repeat(np.arange(4).reshape(2, 2), 2, axis=0), 2, axis=1)
    given = (apply, weights, images, jnp.array([1, 2]), background)
    parts = images * weights.T[np.array([1, 2])].reshape(2, 4, 4, 2)
    wanted = parts.reshape(2, 2, 2, 2, 2, 2).sum(axis=(2, 4, 5)).reshape(2, 4)
    for found in (
        analysis.exact_shapley(*given, segments=segments),
        analysis.permutation_shapley(*given, KEY, segments=segments),
        analysis.kernel_shapley(*given, KEY, segments=segments),
        analysis.lime(*given, KEY, ridge=1e-6, segments=segments),
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": jnp.ones((1, 13))}, "13 features; expected at most 12"),
        ({"background": jnp.ones((2, 3))}, r"background rows are \(2, 3\); expected \[N, \*\(4,\)\]"),
        ({"segments": np.array([0, 1, 3, 3])}, r"numbered \[0, 1, 3\]; expected 0 to 2"),
        ({"segments": np.array([0, 1])}, r"segments have the shape \(2,\)"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    given = {"x": ROWS, "background": BACKGROUND} | options
    with pytest.raises(ValueError, match=message):
        analysis.exact_shapley(TABLE.apply, VARIABLES, target=TARGET, **given)


def test_fewer_pairs_than_features_are_refused():
    with pytest.raises(ValueError, match="3 pairs of 4 features"):
        analysis.kernel_shapley(TABLE.apply, VARIABLES, ROWS, TARGET, BACKGROUND, KEY, pairs=3)


@pytest.mark.slow
def test_agree_with_the_package_shap():
    """Its exact values, and its Kernel SHAP, which of 4 features takes all coalitions."""
    shap = pytest.importorskip("shap", reason="shap is not installed: CONTRIBUTING.md says how")
    predict = jax.jit(lambda x: TABLE.apply(VARIABLES, x))
    model = lambda x: np.asarray(predict(jnp.asarray(x, jnp.float32)))  # noqa: E731
    masker = shap.maskers.Independent(np.asarray(BACKGROUND), max_samples=len(BACKGROUND))
    exact = shap.explainers.Exact(model, masker)(np.asarray(ROWS)).values
    kernel = shap.KernelExplainer(model, np.asarray(BACKGROUND)).shap_values(np.asarray(ROWS), silent=True)
    found = analysis.exact_shapley(TABLE.apply, VARIABLES, ROWS, TARGET, BACKGROUND)
    for theirs in (exact, np.asarray(kernel)):
        np.testing.assert_allclose(found, theirs[np.arange(5), :, np.asarray(TARGET)], rtol=1e-3, atol=1e-4)
