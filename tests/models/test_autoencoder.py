"""Autoencoders: shapes, sparsity, and the convolutional halves against PyTorch's."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models import MLP
from fdl.models.autoencoder import Autoencoder, ConvDecoder, ConvEncoder, StridedConvs, k_sparse
from fdl.models.norms import batch_norm

pytestmark = pytest.mark.slow  # minutes of compiling

IMAGES = np.random.default_rng(0).normal(size=(3, 8, 12, 2)).astype(np.float32)


def applied(model, x):
    variables = nn.unbox(jax.jit(model.init)(jax.random.key(0), x))
    return variables, jax.jit(model.apply)(variables, x)


@pytest.mark.parametrize("norm", [None, batch_norm])
def test_images_to_codes_and_back(norm):
    decoder = ConvDecoder((8, 12, 2), (6, 4), norm=norm)
    model: Any = Autoencoder(ConvEncoder(5, (4, 6), norm=norm), decoder)
    variables, out = applied(model, IMAGES)
    halves = {m: jax.jit(functools.partial(model.apply, method=m)) for m in ("encode", "decode")}
    code = halves["encode"](variables, IMAGES)
    assert (code.shape, out.shape) == ((3, 5), IMAGES.shape)
    np.testing.assert_allclose(halves["decode"](variables, code), out, rtol=1e-5, atol=1e-5)
    shapes = jax.tree.map(jnp.shape, variables["params"]["decoder"])
    assert shapes["dense"]["kernel"] == (5, 2 * 3 * 6)
    assert shapes["convs"]["ConvTranspose_1"]["kernel"] == (4, 4, 4, 2)


def test_the_activation_is_of_the_code():
    plain: Any = Autoencoder(MLP((), 4), MLP((), 6))
    sparse: Any = plain.clone(activation=functools.partial(k_sparse, active=2))
    x = IMAGES.reshape(-1, 6)
    variables, _ = applied(plain, x)
    code, kept = (model.apply(variables, x, method="encode") for model in (plain, sparse))
    expected = np.zeros_like(code)
    largest = np.argsort(code, axis=-1)[:, -2:]
    np.put_along_axis(expected, largest, np.take_along_axis(code, largest, -1), -1)
    np.testing.assert_array_equal(kept, expected)
    np.testing.assert_array_equal(
        sparse.apply(variables, x), plain.apply(variables, expected, method="decode")
    )


@pytest.mark.parametrize("model", [StridedConvs((2, 2, 2)), ConvEncoder(3, (2, 2, 2))])
def test_maps_that_cannot_be_halved_are_refused(model):
    with pytest.raises(ValueError, match="images are 8x12; expected multiples of 8, to be halved 3 times"):
        jax.eval_shape(model.init, jax.random.key(0), IMAGES)


def test_outputs_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="images are 6x8; expected multiples of 4"):
        jax.eval_shape(ConvDecoder((6, 8, 1)).init, jax.random.key(0), jnp.zeros((1, 2)))
