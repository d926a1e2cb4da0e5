# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# Flax types what `apply` returns as a union that no array function takes.

"""Fake quantisation: what integers compute, against NumPy and PyTorch, and its ranges and gradients."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data, models, tasks
from fdl.models.fake_quantised import FakeQuantised
from fdl.models.integers import from_integers, round_between, round_kernel, to_integers
from fdl.train import fit

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 4, 6)).astype(np.float32) * np.logspace(-3, 1, 6, dtype=np.float32)
X = RNG.normal(size=(16, 5)).astype(np.float32) + 1
MLP = models.MLP((7,), 3)
CONV = models.ConvNet((models.Stage(3),), (), 2)
IMAGES = RNG.normal(size=(4, 6, 6, 2)).astype(np.float32)
KEY = jax.random.key(0)


@functools.cache
def calibrated(bits: int = 8, aware: bool = True, inner: Any = MLP) -> tuple[Any, Any, np.ndarray]:
    """A model, its variables after one training batch, and its input."""
    model, x = FakeQuantised(inner, bits, aware), IMAGES if inner is CONV else X
    variables = model.init(KEY, x)
    _, seen = model.apply(variables, x, train=True, mutable=["ranges"])
    return model, {**variables, **seen}, x


def by_numpy(kernel, bits):
    """Integers and their scales, unit by unit."""
    most = 2 ** (bits - 1) - 1
    scales = [np.abs(kernel[..., unit]).max() / np.float32(most) for unit in range(kernel.shape[-1])]
    values = [np.rint(kernel[..., unit] / scale) for unit, scale in enumerate(scales)]
    return np.stack(values, axis=-1), np.array(scales, np.float32)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_kernels_are_numpys_integers_and_within_half_a_step(bits):
    stored = to_integers(KERNEL, bits=bits)
    values, scales = by_numpy(KERNEL, bits)
    np.testing.assert_array_equal(stored.values, values)
    np.testing.assert_allclose(stored.scale.ravel(), scales, rtol=2e-7)
    assert stored.values.dtype == jnp.int8 and np.abs(stored.values).max() == 2 ** (bits - 1) - 1
    assert (np.abs(from_integers(stored) - KERNEL) <= 0.5001 * scales).all()
    np.testing.assert_array_equal(
        jax.jit(round_kernel, static_argnums=1)(KERNEL, bits), from_integers(stored)
    )
    again = to_integers(from_integers(stored), bits=bits)
    np.testing.assert_array_equal(again.values, stored.values)


def test_of_zeros_alone_come_zeros():
    np.testing.assert_array_equal(from_integers(to_integers(jnp.zeros((3, 2)))), np.zeros((3, 2)))
    zero = jnp.zeros(())
    np.testing.assert_array_equal(round_between(jnp.arange(3.0), zero, zero, 8), np.zeros(3))


@pytest.mark.parametrize("bits", [4, 8])
def test_kernels_and_inputs_are_rounded_as_pytorchs_with_its_gradients(bits):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    scale = to_integers(KERNEL, bits=bits).scale.ravel()
    kernel, zeros = torch.tensor(KERNEL), torch.zeros(6, dtype=torch.int32)
    most = 2 ** (bits - 1) - 1
    wanted = torch.fake_quantize_per_channel_affine(
        kernel, torch.tensor(np.asarray(scale)), zeros, 3, -most, most
    )
    np.testing.assert_allclose(round_kernel(KERNEL, bits), wanted.numpy(), rtol=1e-6)
    low, high = np.float32(-0.7), np.float32(2.1)
    step = (high - low) / (2**bits - 1)
    x = torch.tensor(X, requires_grad=True)
    zero = int(np.rint(-low / step))
    wanted = torch.fake_quantize_per_tensor_affine(x, float(step), zero, 0, 2**bits - 1)
    wanted.sum().backward()
    got, pull = jax.vjp(lambda x: round_between(x, low, high, bits), X)
    np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pull(jnp.ones_like(X))[0], x.grad.numpy())


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-1.3, 0.4), (-2.0, 0.0)])
def test_inputs_take_the_even_steps_of_a_range_and_zero_is_one(low, high):
    x = np.linspace(-4, 4, 1001, dtype=np.float32)
    got = np.asarray(round_between(x, jnp.float32(low), jnp.float32(high), 4))
    step = (high - low) / 15
    whole = got / step
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-5)
    assert got[500] == 0 and len(np.unique(np.rint(whole))) == 16
    within = (x >= got.min()) & (x <= got.max())
    assert np.abs(got - x)[within].max() <= 0.5001 * step


def test_a_layer_is_exactly_what_integers_compute():
    """Jacob et al. 2018, eq. 4: the product of scales times a sum of products of integers."""
    model, variables, x = calibrated(8, True, models.MLP((), 3))
    dense, held = variables["params"]["model"]["Dense_0"], variables["ranges"]["model"]["Dense_0"]["input"]
    step = (held["high"] - held["low"]) / 255
    zero = int(np.rint(held["low"] / step))
    inputs = np.clip(np.rint(x / step), zero, zero + 255).astype(np.int32)
    stored = to_integers(dense["kernel"])
    sums = inputs @ np.asarray(stored.values, np.int32)
    wanted = np.float64(step) * np.asarray(stored.scale, np.float64) * sums + dense["bias"]
    np.testing.assert_allclose(model.apply(variables, x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inner", [MLP, CONV], ids=["dense", "convolution"])
def test_eight_bits_are_near_the_model_and_two_are_not(inner):
    model, variables, x = calibrated(8, True, inner)
    wanted = inner.apply({"params": variables["params"]["model"]}, x)
    error = [
        float(
            jnp.linalg.norm(FakeQuantised(inner, bits).apply(variables, x) - wanted) / jnp.linalg.norm(wanted)
        )
        for bits in (8, 4, 2)
    ]
    assert error[0] < 0.03 < error[1] < error[2]
    got = model.apply(variables, x)
    np.testing.assert_allclose(jax.jit(model.apply)(variables, x), got, rtol=1e-5, atol=1e-5)


def test_post_training_trains_as_the_model_and_evaluates_as_the_other():
    aware, variables, x = calibrated()
    after = FakeQuantised(MLP, aware=False)

    def trained(params):
        ranges = {"ranges": variables["ranges"]}
        out, seen = after.apply({"params": params, **ranges}, x, train=True, mutable=["ranges"])
        return jnp.sum(jnp.sin(out)), (out, seen)

    plain = lambda params: jnp.sum(jnp.sin(MLP.apply({"params": params["model"]}, x, train=True)))  # noqa: E731
    gradient, (out, seen) = jax.grad(trained, has_aux=True)(variables["params"])
    np.testing.assert_array_equal(out, MLP.apply({"params": variables["params"]["model"]}, x))
    jax.tree.map(np.testing.assert_array_equal, gradient, jax.grad(plain)(variables["params"]))
    assert seen["ranges"]["model"]["Dense_0"]["input"]["count"] == 2
    np.testing.assert_array_equal(after.apply(variables, x), aware.apply(variables, x))


def test_the_gradient_passes_straight_through_what_is_not_cut():
    model, variables, x = calibrated(2, True, models.MLP((), 3))
    loss = lambda params: jnp.sum(model.apply({**variables, "params": params}, x))  # noqa: E731
    gradient = jax.grad(loss)(variables["params"])["model"]["Dense_0"]["kernel"]
    held = variables["ranges"]["model"]["Dense_0"]["input"]
    rounded = round_between(x, held["low"], held["high"], 2)
    np.testing.assert_allclose(gradient, np.broadcast_to(rounded.sum(0)[:, None], (5, 3)), rtol=1e-5)


def test_ranges_are_means_of_batches_and_then_a_moving_average():
    model, low = FakeQuantised(models.MLP((), 3)), None
    variables: Any = model.init(KEY, X)
    step = jax.jit(lambda variables, x: model.apply(variables, x, train=True, mutable=["ranges"])[1])
    for count in range(120):
        x = RNG.normal(size=(4, 5)).astype(np.float32)
        variables = {**variables, **step(variables, x)}
        own = min(x.min(), 0.0)
        low = own if low is None else low + max(0.01, 1 / (count + 1)) * (own - low)
    held = variables["ranges"]["model"]["Dense_0"]["input"]
    assert held["count"] == 120 and float(held["low"]) == pytest.approx(low, rel=1e-5)
    after = model.apply(variables, X, mutable=[])[1]
    assert not after  # an evaluation changes nothing


def test_without_a_training_batch_there_is_no_number():
    model = FakeQuantised(MLP)
    assert np.isnan(model.apply(model.init(KEY, X), X)).all()


def test_the_models_others_keep_their_collections():
    model = FakeQuantised(models.MLP((7,), 3, norm=models.batch_norm))
    variables = model.init(KEY, X)
    _, changed = model.apply(variables, X, train=True, mutable=["ranges", "batch_stats"])
    assert set(changed) == {"ranges", "batch_stats"}


@pytest.mark.medium
def test_it_trains_as_a_task():
    optimizer = optax.adam(1e-2)
    built = tasks.classification(
        FakeQuantised(models.MLP((32,), 10), 4), data.digits(), optimizer, steps=150, batch_size=64
    )
    assert fit(built, KEY).rows[-1]["validation/accuracy"] > 0.9


@pytest.mark.parametrize("bits", [1, 9])
def test_other_bits_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits is {bits}; expected 2 to 8"):
        FakeQuantised(MLP, bits)
