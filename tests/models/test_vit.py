"""The vision transformer against Hugging Face's, and its published size."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.norms import layer_norm
from fdl.models.vit import vision_transformer
from tests.models import hf_reference
from tests.models.parameters import drawn
from tests.models.test_transformer import assert_agrees, hugging_face

pytestmark = pytest.mark.slow  # minutes of compiling

SMALL: Any = {"size": 8, "patch": 4, "width": 16, "layers": 2, "heads": 4, "hidden": 24}


@pytest.mark.parametrize("epsilon", [1e-6, 0.1])
def test_it_agrees(epsilon):
    options = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    options |= {"image_size": 8, "patch_size": 4, "num_labels": 3, "layer_norm_eps": epsilon}
    module = hugging_face("ViTForImageClassification", "ViTConfig", **options)
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    theirs = {"pixel_values": np.moveaxis(np.asarray(x), -1, 1)}
    own: Any = {} if epsilon == 1e-6 else {"norm": functools.partial(layer_norm, epsilon=epsilon)}
    assert_agrees(vision_transformer(3, **SMALL, **own), (x,), module, theirs, hf_reference.vit(2))


def test_the_published_number_of_parameters():
    image = jnp.zeros((1, 224, 224, 3))
    shapes = jax.eval_shape(lambda: vision_transformer().init(jax.random.key(0), image))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 86_567_656


def test_it_starts_as_the_authors_code():
    model = vision_transformer(3, **(SMALL | {"width": 64}))
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    params = nn.unbox(params)
    np.testing.assert_array_equal(params["head"]["kernel"], 0)
    np.testing.assert_array_equal(params["first"], 0)
    query = params["transformer"]["layer_0"]["attention"]["query"]["kernel"]
    bound = np.sqrt(6 / 128)
    assert 0.99 * bound < np.abs(query).max() < bound
    np.testing.assert_allclose(np.std(params["patches"]["kernel"]), 48**-0.5, rtol=0.1)


def test_patches_are_told_apart_by_their_places_alone():
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    swapped = jnp.concatenate([x[:, 4:], x[:, :4]], axis=1)
    model: Any = vision_transformer(3, **SMALL)
    params = drawn(model, x)
    blind = params | {"transformer": params["transformer"] | {"positions": {"embedding": jnp.zeros((5, 16))}}}
    apply = jax.jit(model.apply)
    told = [
        np.abs(np.subtract(*(apply({"params": p}, a) for a in (x, swapped)))).max() for p in (params, blind)
    ]
    assert told[0] > 1e-4 and told[1] < 1e-6


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (
            vision_transformer(3, **SMALL),
            (1, 8, 9, 3),
            "images are 8 x 9; expected multiples of the patch's size, 4",
        ),
        (vision_transformer(3, **SMALL), (1, 12, 8, 3), "7 places and positions for only 5"),
    ],
    ids=["patches", "positions"],
)
def test_what_does_not_fit_is_told(model, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros(shape)))
