"""Spiking units against a loop and torch; learning from spike rates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core.meta import unbox

from fdl import tasks
from fdl.data import Splits, digit_images
from fdl.models.spiking import SpikingNet, fast_sigmoid, lif, rate_code, surrogate_spike
from tests.tasks.test_supervised import evaluated, trained

CURRENTS = 0.7 * jax.random.normal(jax.random.key(0), (3, 20, 4)) + 0.2


def test_membranes_and_spikes_follow_their_recursion():
    v, s = lif(CURRENTS, decay=0.8, threshold=0.9, spike=surrogate_spike())
    for b in range(3):
        for h in range(4):
            membrane, spike = np.float32(0), np.float32(0)
            for t in range(20):
                membrane = (
                    np.float32(0.8) * membrane + np.float32(CURRENTS[b, t, h]) - np.float32(0.9) * spike
                )
                spike = np.float32(membrane > np.float32(0.9))
                np.testing.assert_allclose(v[b, t, h], membrane, rtol=1e-4, atol=1e-5)
                assert s[b, t, h] == spike
    assert 0.05 < np.mean(s) < 0.95


@pytest.mark.parametrize("derivative", [fast_sigmoid, lambda v: jnp.exp(-(v**2))])
def test_the_gradient_of_a_spike_is_the_surrogate(derivative):
    v = jnp.array([-2.0, -0.1, 0.0, 0.05, 3.0])
    value, pull = jax.vjp(surrogate_spike(derivative), v)
    np.testing.assert_array_equal(value, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(pull(jnp.full(5, 2.0))[0], 2 * derivative(v), rtol=1e-6)


def test_the_surrogate_is_the_fast_sigmoids():
    v = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(fast_sigmoid(jnp.asarray(v)), 1 / (1 + 10 * np.abs(v)) ** 2, rtol=1e-6)


@pytest.mark.medium
def test_outputs_and_gradients_agree_with_torch():
    torch = pytest.importorskip("torch", reason="the reference is PyTorch")

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, v: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            ctx.save_for_backward(v)
            return (v > 0).float()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            (v,) = ctx.saved_tensors
            return g / (1 + 10 * v.abs()) ** 2

    model: Any = SpikingNet((6,), 2, decay=0.8)
    x = CURRENTS
    params = unbox(jax.jit(model.init)(jax.random.key(1), x))["params"]
    gradient = jax.grad(lambda p: jnp.sum(jnp.asarray(model.apply({"params": p}, x)) ** 2))(params)
    first, last = (
        torch.tensor(np.array(params[f"Dense_{i}"]["kernel"]), requires_grad=True) for i in range(2)
    )
    v, s, out, total = torch.zeros(3, 6), torch.zeros(3, 6), torch.zeros(3, 2), torch.zeros(3, 2)
    for t in range(20):
        v = 0.8 * v + torch.tensor(np.array(x[:, t])) @ first - s.detach()
        s = Spike.apply(v - 1)
        out = 0.8 * out + s @ last
        total = total + out / 20
    (total**2).sum().backward()
    np.testing.assert_allclose(model.apply({"params": params}, x), total.detach(), rtol=1e-4, atol=1e-5)
    for i, tensor in enumerate((first, last)):
        assert tensor.grad is not None
        ours = gradient[f"Dense_{i}"]["kernel"]
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_rates_become_chances_of_spikes():
    x = jnp.array([[0.0, 0.25], [1.0, 0.5]])
    spikes = rate_code(x, jax.random.key(0), length=4000)
    assert spikes.shape == (2, 4000, 2)
    assert set(np.unique(spikes)) == {0.0, 1.0}
    np.testing.assert_allclose(spikes.mean(1), x, atol=4 * 0.5 / np.sqrt(4000))


def coded(part: Any, seed: int) -> dict[str, np.ndarray]:
    """Digits whose pixels, 0 to 16, are the rates of spikes."""
    rates = jnp.asarray(part["x"], jnp.float32).reshape(len(part["x"]), -1) / 16
    spikes = jax.jit(rate_code, static_argnames="length")(rates, jax.random.key(seed), length=15)
    return {"x": np.asarray(spikes), "y": part["y"]}


@pytest.mark.medium
def test_a_spiking_net_learns_rate_coded_digits():
    data = digit_images()
    splits = Splits(coded(data.train, 0), coded(data.validation, 1), coded(data.test, 2))
    experiment = tasks.classification(SpikingNet((48,), 10), splits, optax.adam(5e-3), steps=250)
    accuracy = evaluated(experiment, trained(experiment, 250), "test")["accuracy"]
    y = np.asarray(data.test["y"])  # pyright: ignore[reportIndexIssue]
    guess = np.bincount(y).max() / len(y)
    assert accuracy > 0.85 > 5 * guess
