"""Eigenvalues and spectra against whole Hessians, by `numpy.linalg` or known in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from fdl.analysis import (
    Ritz,
    critical_point,
    hessian_eigenvalues,
    hessian_spectrum,
    negative_share,
    spectral_density,
)
from tests.analysis.problems import KEY, MATRIX, at, net, quadratic

W = np.arange(6.0, dtype=np.float32)


@functools.cache
def exact():
    """Eigenvalues of the net's Hessian, ascending."""
    loss, variables, batch = net()
    flat, back = ravel_pytree(variables["params"])
    hessian = jax.jit(jax.hessian(lambda flat: loss({"params": back(flat)}, batch)))(flat)
    return np.linalg.eigvalsh(np.asarray(hessian, np.float64))


def test_both_ends_of_a_nets_spectrum_are_found_early():
    values = exact()
    found = hessian_eigenvalues(*net(), KEY, steps=20)
    np.testing.assert_allclose(found.values[-2:], values[-2:], rtol=1e-4)
    assert found.values[0] == pytest.approx(values[0], rel=1e-2)
    nearest = np.min(np.abs(np.asarray(found.values)[:, None] - values), 1)
    assert (nearest <= found.residuals + 1e-5).all()
    assert found.residuals[-1] < 1e-4 < np.max(found.residuals)  # those between are not there yet


def test_as_many_steps_as_parameters_find_all():
    found = hessian_eigenvalues(*net(), KEY, steps=len(exact()))
    np.testing.assert_allclose(found.values, exact(), atol=1e-5)


@pytest.mark.parametrize("values", ([3, 3, 3, -2, -2, 0], [0] * 6, [1e-6, 1e-6, 1e-8, 0, 0, -1e-6]))
def test_repeated_eigenvalues_are_found_as_often_as_they_are(values):
    turn = np.linalg.qr(MATRIX)[0]
    matrix = jnp.asarray(turn @ np.diag(values) @ turn.T, jnp.float32)
    found = hessian_eigenvalues(quadratic, at(W), matrix, KEY, steps=6)
    size = max(map(abs, values))
    np.testing.assert_allclose(found.values, sorted(values), atol=2e-5 * size)


def test_the_spectrum_has_the_moments_and_the_share_below_0():
    truth = np.linalg.eigvalsh(MATRIX)
    found = jax.jit(lambda matrix: hessian_spectrum(quadratic, at(W), matrix, KEY, steps=3, draws=4000))(
        MATRIX
    )
    np.testing.assert_allclose(jnp.sum(found.weights, 1), 1, rtol=1e-5)
    for power in range(1, 5):  # of degree up to 2 * 3 - 1 the quadrature is exact for each draw
        moments = np.asarray(jnp.sum(found.weights * found.values**power, 1))
        error = moments.std() / np.sqrt(4000)
        assert abs(moments.mean() - np.mean(truth**power)) < 4 * error
    whole = hessian_spectrum(quadratic, at(W), jnp.asarray(MATRIX), KEY, steps=6, draws=4000)
    assert float(negative_share(whole).share) == pytest.approx(np.mean(truth < 0), abs=0.02)


@pytest.mark.parametrize("steps", (1, 2, 4))
def test_the_share_below_0_lies_between_its_bounds_where_many_are_near_0(steps):
    values = jnp.array([-3.0, -0.01, -0.01, -0.01, 0.01, 7.0])
    found = hessian_spectrum(quadratic, at(W), jnp.diag(values), KEY, steps=steps, draws=1000)
    share, low, high = negative_share(found)
    assert low - 0.03 < 4 / 6 < high + 0.03
    # One value alone says nothing; four are all that there are.
    assert {1: high - low == 1, 2: low < share < high, 4: abs(share - 4 / 6) < 0.03}[steps]
    assert 0 <= low <= share <= high <= 1 + 1e-5


def test_the_density_is_a_mixture_of_normal_distributions():
    spectrum = Ritz(
        jnp.array([[0.0, 2.0], [0.0, 4.0]]), jnp.array([[0.5, 0.5], [0.2, 0.8]]), jnp.zeros((2, 2))
    )
    at = np.linspace(-3, 8, 2000)
    density = np.asarray(spectral_density(spectrum, jnp.asarray(at), width=0.5))
    mean = np.trapezoid(density * at, at)
    assert np.trapezoid(density, at) == pytest.approx(1, abs=1e-4)
    assert mean == pytest.approx((0.5 * 2 + 0.8 * 4) / 2, abs=1e-3)
    spread = np.trapezoid(density * (at - mean) ** 2, at)
    assert spread == pytest.approx((0.5 * 4 + 0.8 * 16) / 2 - mean**2 + 0.25, abs=1e-2)


def test_the_index_of_a_critical_point_is_the_share_of_eigenvalues_below_0():
    truth = np.linalg.eigvalsh(MATRIX.astype(np.float64))
    found = critical_point(quadratic, at(W), jnp.asarray(MATRIX))
    np.testing.assert_allclose(found.eigenvalues, truth, atol=1e-5)
    assert float(found.gradient) == pytest.approx(np.linalg.norm(MATRIX @ W), rel=1e-5)
    assert float(found.negative) == pytest.approx(np.mean(truth < 0)) and not found.flat
    half = critical_point(quadratic, at(0 * W), jnp.diag(jnp.array([1.0, 2.0, 0, 0, 0, -1.0])))
    np.testing.assert_allclose(half[:3], [0, 1 / 6, 1 / 2], rtol=1e-6)


@pytest.mark.parametrize("function", (hessian_eigenvalues, hessian_spectrum))
def test_more_steps_than_parameters_are_refused(function):
    with pytest.raises(ValueError, match="steps is 7; expected at most the number of parameters, 6"):
        function(quadratic, at(W), jnp.asarray(MATRIX), KEY, steps=7)
