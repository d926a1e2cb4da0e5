"""Transformers whose layers are scanned, or computed again for the gradient: the same functions."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.parameters import drawn
from tests.models.test_transformer import PADDED, TOKENS, close, gpt, pair, without_key_bias

pytestmark = pytest.mark.slow  # minutes of compiling


def stacked(params):
    """Parameters of layers by name as `scan` has them."""
    if not isinstance(params, dict):
        return params
    layers = [params[name] for name in sorted(params) if name.startswith("layer_")]
    out = {name: stacked(leaf) for name, leaf in params.items() if not name.startswith("layer_")}
    return out | ({"layers": jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)} if layers else {})


FORMS = {"gpt2": (gpt, (TOKENS,)), "pair": (pair, (PADDED, TOKENS[:, :5]))}


@functools.cache
def parameters_of(name):
    make, arguments = FORMS[name]
    return drawn(make(), *arguments)


@functools.cache
def gradient_and_output(name, scan, remat):
    make, arguments = FORMS[name]
    params = parameters_of(name)

    def value(params):
        out = make(scan=scan, remat=remat).apply({"params": params}, *arguments)
        return jnp.sum(jnp.sin(out)), out

    return jax.jit(jax.grad(value, has_aux=True))(stacked(params) if scan else params)


@pytest.mark.parametrize(
    ("name", "scan", "remat"),
    [("gpt2", True, False), ("gpt2", False, True), ("gpt2", True, True), ("pair", True, True)],
)
def test_scan_and_remat_change_nothing(name, scan, remat):
    gradient, out = gradient_and_output(name, False, False)
    gradient = without_key_bias(gradient)
    other, same = gradient_and_output(name, scan, remat)
    close((without_key_bias(other), same), (stacked(gradient) if scan else gradient, out))


def test_remat_keeps_less():
    def kept(remat):
        model = gpt(remat=remat)
        params = drawn(model, TOKENS)
        return sum(
            leaf.size
            for leaf in jax.tree.leaves(jax.vjp(lambda p: model.apply({"params": p}, TOKENS), params)[1])
        )

    assert kept(True) < kept(False) / 2


def test_layers_of_a_scan_start_differently():
    params = nn.unbox(jax.jit(gpt(scan=True).init)(jax.random.key(0), TOKENS))["params"]
    kernel = params["transformer"]["layers"]["attention"]["query"]["kernel"]
    assert np.abs(kernel[0] - kernel[1]).max() > 0.01
