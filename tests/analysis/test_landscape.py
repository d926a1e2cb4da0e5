"""Slices, curves and barriers of losses that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.analysis import barrier, bezier_curve, filter_normalised, loss_slice, straight_line
from tests.analysis.problems import KEY, MATRIX, at, quadratic

W = np.arange(6.0, dtype=np.float32)


def test_directions_have_the_norm_of_each_filter_and_biases_stay():
    shapes = {"dense": (5, 3), "convolution": (2, 2, 4, 3), "bias": (3,), "scale": ()}
    params = {name: jax.random.normal(KEY, shape) for name, shape in shapes.items()}
    direction = filter_normalised({"params": params}, KEY)
    other = filter_normalised({"params": params}, jax.random.key(1))
    for name in ("dense", "convolution"):
        for index in range(3):
            length = np.linalg.norm(params[name][..., index])
            assert np.linalg.norm(direction[name][..., index]) == pytest.approx(length, rel=1e-5)
        assert not np.allclose(direction[name], other[name])
    assert not direction["bias"].any() and not direction["scale"].any()


def test_a_slice_of_a_quadratic_loss_is_quadratic():
    first, second = np.eye(6, dtype=np.float32)[[1, 4]]
    offsets = np.array([(a, b) for a in (-1, 0, 2) for b in (0.5, 3)], np.float32)
    directions = [at(first)["params"], at(second)["params"]]
    found = loss_slice(quadratic, at(W), jnp.asarray(MATRIX), directions, jnp.asarray(offsets))
    points = [W + a * first + b * second for a, b in offsets]
    np.testing.assert_allclose(found, [w @ MATRIX @ w / 2 for w in points], rtol=1e-5)
    with pytest.raises(ValueError, match=r"offsets are \[6, 2\]; expected \[K, 1\], one a direction"):
        loss_slice(quadratic, at(W), jnp.asarray(MATRIX), directions[:1], jnp.asarray(offsets))


def wells(variables, batch):
    """Minima of 0 and 0.5 at -1 and 1, between them 1 at 0 above the line from one to the other."""
    w = variables["params"]["w"]
    return jnp.sum((w**2 - 1) ** 2 + 0.25 * (w + 1)) + batch


LEFT, RIGHT = ({"params": {"w": jnp.array([x])}, "count": jnp.array(int(x))} for x in (-1.0, 1.0))


def test_the_barrier_is_above_the_line_between_both_ends():
    found = barrier(wells, straight_line(LEFT, RIGHT), 2.0, points=5)
    np.testing.assert_allclose(found.times, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(
        found.losses, [2, 2 + 0.5625 + 0.125, 3.25, 2 + 0.5625 + 0.375, 2.5], rtol=1e-6
    )
    assert float(found.height) == pytest.approx(1)
    assert straight_line(LEFT, RIGHT).at(0.5)["count"] == -1  # no half of a whole number


def test_a_convex_loss_has_no_barrier():
    square = jnp.asarray(MATRIX @ MATRIX.T)
    assert float(barrier(quadratic, straight_line(at(W), at(-2 * W[::-1])), square).height) == 0


def ring(variables, radius):
    """0 on a circle: two opposite points are connected along it, with 1 between them."""
    w = variables["params"]["w"]
    return (jnp.sum(w**2) / radius**2 - 1) ** 2


@pytest.mark.medium
def test_a_curve_goes_around_where_the_line_goes_over():
    left, right = ({"params": {"w": jnp.array([x, 0.02])}} for x in (-2.0, 2.0))
    line = straight_line(left, right)
    curve = bezier_curve(ring, left, right, 2.0, KEY, optimizer=optax.adam(0.1), steps=400)
    assert float(barrier(ring, line, 2.0).height) == pytest.approx(1, abs=1e-2)
    # The expected loss over t of the best bend (0, b), by a search.
    t = np.linspace(0, 1, 401)[:, None]
    arc = lambda b: (1 - t) ** 2 * [-2, 0.02] + 2 * t * (1 - t) * [0, b] + t**2 * [2, 0.02]  # noqa: E731
    losses = [np.mean((np.sum(arc(b) ** 2, 1) / 4 - 1) ** 2) for b in np.linspace(0, 6, 601)]
    bend = curve.bend["params"]["w"]
    assert abs(float(bend[1])) == pytest.approx(np.linspace(0, 6, 601)[np.argmin(losses)], abs=0.25)
    assert float(bend[0]) == pytest.approx(0, abs=0.3)
    assert curve.at(1.0)["params"]["w"] == pytest.approx(right["params"]["w"])


def test_a_barrier_needs_points_between():
    with pytest.raises(ValueError, match="points is 2; expected 3 or more"):
        barrier(wells, straight_line(LEFT, RIGHT), 0.0, points=2)
