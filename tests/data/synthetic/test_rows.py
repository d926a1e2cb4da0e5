"""What every generator of one row promises: compiled or not the same rows, and the same for ever."""

import functools
import hashlib

import jax
import numpy as np
import pytest

from fdl import data
from fdl.data import synthetic

SAMPLES = {
    "spiral": synthetic.spiral,
    "rings": synthetic.rings,
    "gaussian_ring": synthetic.gaussian_ring,
    "linear_gaussian": functools.partial(
        synthetic.linear_gaussian, weights=np.array([[1.0], [2.0], [-1.0]], np.float32), noise=0.5
    ),
    "boolean_row": functools.partial(synthetic.boolean_row, number=0x6996, inputs=4),
    "parity": functools.partial(synthetic.parity, inputs=10, relevant=(1, 4, 7)),
    "sawtooth": functools.partial(synthetic.sawtooth, noise=0.1),
    "mnist1d_row": synthetic.mnist1d_row,
    "captioned_shape": functools.partial(synthetic.captioned_shape, pixels=16),
    "zipf": functools.partial(synthetic.zipf, classes=50, features=3),
}
HASHES = {
    "spiral": "e65b619370353d92f31fb1b577c06369d2c4dd8f04429d28524de2d046b307df",
    "rings": "3370ce1e68a9417476b0a562acde951809028a824f1965bde256cac40e69df7e",
    "gaussian_ring": "477b650129d234f6682dd3fb6a9b3c5ff7b3866d98d065c5f79a3992c71c8c25",
    "linear_gaussian": "960e95e9d6294738272986a38dfcd42e9d70f7567a7400c41f446b892bce17b6",
    "boolean_row": "569e699a40d9f0f92077c6e51b890c325b14c44e647dbbeeaad52bc7b82ad92c",
    "parity": "e5de47f24a6ab658c7075f2f5364c2a740055f2e286443c6b8f7f9d2e0f7f267",
    "sawtooth": "4fd7f2458e83f5d51919376ea2874010e64b0da78f2d376a839df65a54458e32",
    "mnist1d_row": "62f5d8118d6cae45909b544b137b876f5f2af728b00ca8874ed59507f7416daf",
    "captioned_shape": "d30dd4253c50143f655b873976bf7fff02960a3484cc2d11a2a93214bb773eb1",
    "zipf": "3be2fc28e412da61f6a4d2e3c208b9a7e155674c4f642513f53be7538d1f0230",
}
STEP = 7


@functools.cache
def batch(name):
    """A compiled batch of 64 rows."""
    source = data.stream(SAMPLES[name], batch_size=64)
    made = jax.jit(source.batch)(source.arrays, np.int32(STEP), jax.random.key(3))
    return jax.device_get(made)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_compiled_batch_is_the_rows_one_by_one(name):
    key = jax.random.fold_in(jax.random.key(3), STEP)
    for row in (0, 63):
        single = jax.device_get(SAMPLES[name](jax.random.fold_in(key, row)))
        assert set(single) == set(batch(name))
        for part, value in single.items():
            compiled = batch(name)[part][row]
            assert compiled.dtype == value.dtype and compiled.shape == value.shape
            if value.dtype == np.float32:
                np.testing.assert_allclose(compiled, value, rtol=1e-5, atol=2e-6)
            else:  # a level of grey may round the other way
                step = 1 if value.dtype == np.uint8 else 0
                np.testing.assert_allclose(compiled.astype(int), value.astype(int), rtol=0, atol=step)


@pytest.mark.parametrize("name", SAMPLES)
def test_rows_never_change(name):
    """The first 16 rows, rounded so coarsely that the last bits of a float do not show."""
    sha = hashlib.sha256()
    for part, rows in sorted(batch(name).items()):
        scale = {"f": 8, "u": 1 / 32, "i": 1}[rows.dtype.kind]
        sha.update(np.rint(rows[:16].astype(np.float64) * scale).astype("<i4").tobytes())
        sha.update(part.encode())
    assert sha.hexdigest() == HASHES[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_rows_differ(name):
    distinct = len(np.unique(batch(name)["x"].reshape(64, -1), axis=0))
    assert distinct >= (13 if name == "boolean_row" else 60)  # of the 16 inputs that it has
