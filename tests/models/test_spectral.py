"""Spectral normalisation against exact singular values (SciPy) and PyTorch."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from fdl.models.conv import Conv
from fdl.models.gan import MLPDiscriminator
from fdl.models.spectral import spectral_norm

pytestmark = pytest.mark.slow  # minutes of compiling


class Normed(nn.Module):
    """The normalised kernel of a given shape."""

    shape: tuple[int, ...]
    iterations: int = 1

    @nn.compact
    def __call__(self):
        kernel = self.param("kernel", nn.initializers.normal(1.0), self.shape)
        return spectral_norm(kernel, iterations=self.iterations)


def singular(kernel):
    return scipy.linalg.svdvals(np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]))


def trained(module, variables, times):
    """The variables after so many training calls."""
    call = jax.jit(lambda v: {**v, **module.apply(v, mutable=["spectral"])[1]})
    for _ in range(times):
        variables = call(variables)
    return variables


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (3, 3, 4, 6), (1, 4)])
def test_converges_to_division_by_the_largest_singular_value(shape):
    module: Any = Normed(shape)
    variables = trained(module, jax.jit(module.init)(jax.random.key(0)), 200)
    kernel = variables["params"]["kernel"]
    out = module.apply(variables)
    np.testing.assert_allclose(out, kernel / singular(kernel)[0], rtol=1e-5)
    np.testing.assert_allclose(singular(out)[0], 1, rtol=1e-5)


def test_the_estimate_is_never_above_the_largest_singular_value_and_starts_near_it():
    module: Any = Normed((6, 9))
    for seed in range(5):
        variables = jax.jit(module.init)(jax.random.key(seed))
        largest = singular(module.apply(variables))[0]
        assert 1 - 1e-5 <= largest < 1.1


def test_only_a_call_that_may_change_the_vectors_does():
    module: Any = Normed((6, 9))
    before = jax.jit(module.init)(jax.random.key(0))
    out, same = module.apply(before, mutable=[])
    assert same == {}
    np.testing.assert_array_equal(out, module.apply(before))
    after = trained(module, before, 1)
    assert not np.array_equal(
        before["spectral"]["_Spectral_0"]["vectors"][0], after["spectral"]["_Spectral_0"]["vectors"][0]
    )
    twice = trained(Normed((6, 9), iterations=2), before, 1)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), twice, trained(module, before, 2)
    )


def test_the_gradient_of_the_norm_is_exact_once_converged():
    module: Any = Normed((4, 6))
    variables = trained(module, jax.jit(module.init)(jax.random.key(0)), 300)
    kernel, cotangent = variables["params"]["kernel"], jax.random.normal(jax.random.key(1), (4, 6))

    def ours(kernel):
        return jnp.sum(cotangent * module.apply({**variables, "params": {"kernel": kernel}}))

    def exact(kernel):
        return jnp.sum(cotangent * kernel / jnp.linalg.norm(kernel, 2))

    np.testing.assert_allclose(jax.grad(ours)(kernel), jax.grad(exact)(kernel), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("times", [0, 3])
def test_a_convolution_agrees_with_torch_after_as_many_steps(times):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(np.float32)
    layer: Any = Conv(4, size=3, padding=1, weight=spectral_norm)
    variables = nn.unbox(jax.jit(layer.init)(jax.random.key(0), x))
    left, right = variables["spectral"]["_Spectral_0"]["vectors"]
    theirs = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Conv2d(3, 4, 3, padding=1))
    parametrization = theirs.parametrizations.weight
    kernel = np.array(variables["params"]["kernel"]).transpose(3, 2, 0, 1)
    parametrization.original.data = torch.tensor(np.ascontiguousarray(kernel))
    parametrization[0]._u.data = torch.tensor(np.array(left))
    parametrization[0]._v.data = torch.tensor(np.array(right).reshape(3, 3, 3).transpose(2, 0, 1).reshape(-1))
    theirs.bias.data.zero_()
    inputs = torch.tensor(x.transpose(0, 3, 1, 2))
    for _ in range(times):
        theirs.train()(inputs)
        _, new = layer.apply(variables, x, mutable=["spectral"])
        variables = {**variables, **new}
    expected = theirs.eval()(inputs)
    (expected**2).sum().backward()

    def loss(params):
        out = layer.apply({**variables, "params": params}, x)
        return jnp.sum(jnp.square(out)), out

    grads, out = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    np.testing.assert_allclose(out, expected.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
    gradient = parametrization.original.grad.numpy().transpose(2, 3, 1, 0)
    np.testing.assert_allclose(grads["kernel"], gradient, rtol=1e-5, atol=1e-5 * np.abs(gradient).max())


def test_a_normed_discriminator_is_one_lipschitz():
    model: Any = MLPDiscriminator((16, 16), weight=spectral_norm)
    x = 3 * jax.random.normal(jax.random.key(1), (64, 5))
    call = jax.jit(lambda v: {**v, **model.apply(v, x, train=True, mutable=["spectral"])[1]})
    variables = jax.jit(model.init)(jax.random.key(0), x)
    for _ in range(100):
        variables = call(variables)
    slope = jax.jit(jax.vmap(jax.grad(lambda row: model.apply(variables, row[None])[0])))(x)
    assert np.linalg.norm(slope, axis=-1).max() <= 1 + 1e-5


def test_it_is_vmapped_over_seeds():
    model: Any = Normed((3, 4))
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.vmap(lambda key: model.apply(model.init(key)))(keys)
    np.testing.assert_allclose(together[1], model.apply(jax.jit(model.init)(keys[1])), rtol=1e-5)
