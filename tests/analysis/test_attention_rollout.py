"""Attention weights by what the layer makes of them, and the roll-out by NumPy."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import analysis, models
from tests.analysis.nets import shaken

VIT = functools.partial(models.vision_transformer, 3, size=12, patch=4, width=12, layers=3, heads=3)
IMAGES = jax.random.normal(jax.random.key(0), (2, 12, 12, 1))
NET = VIT()
VARIABLES = shaken(NET.init(jax.random.key(1), IMAGES))


def test_weights_times_values_are_what_the_layer_gives():
    """Ten places, four entries a head: the weights are asked for in three parts."""
    found = analysis.attention_weights(NET.apply, VARIABLES, IMAGES)
    kept: Any = NET.apply(VARIABLES, IMAGES, capture_intermediates=True, mutable=["intermediates"])[1]
    assert [one.shape for one in found] == [(2, 3, 10, 10)] * 3
    for place, weights in enumerate(found):
        np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
        name = f"layer_{place}"
        layer = kept["intermediates"]["transformer"][name]["attention"]
        value = layer["value"]["__call__"][0].reshape(2, 10, 3, 4)
        out = VARIABLES["params"]["transformer"][name]["attention"]["out"]
        mixed = jnp.einsum("bhts,bshd->bthd", weights, value).reshape(2, 10, 12)
        wanted = layer["__call__"][0]
        np.testing.assert_allclose(mixed @ out["kernel"] + out["bias"], wanted, rtol=1e-4, atol=1e-5)


def test_rollout_is_the_product_of_layers():
    share = np.eye(10)
    for weights in analysis.attention_weights(NET.apply, VARIABLES, IMAGES):
        share = (0.5 * np.asarray(weights).mean(axis=1) + 0.5 * np.eye(10)) @ share
    found = analysis.attention_rollout(NET.apply, VARIABLES, IMAGES)
    np.testing.assert_allclose(found, share, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("options", [{"scan": True}, {"remat": True}], ids=["scan", "remat"])
def test_layers_in_a_loop_or_computed_again_give_the_same(options):
    params = dict(VARIABLES["params"])
    if "scan" in options:
        transformer = dict(params["transformer"])
        each = [transformer.pop(f"layer_{place}") for place in range(3)]
        transformer["layers"] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        params["transformer"] = transformer
    found = jax.jit(lambda p: analysis.attention_rollout(VIT(**options).apply, {"params": p}, IMAGES))(params)
    wanted = analysis.attention_rollout(NET.apply, VARIABLES, IMAGES)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_model_without_attention_is_refused():
    net = models.MLP(widths=(4,), outputs=2)
    with pytest.raises(ValueError, match=r"no fdl\.models.Attention"):
        analysis.attention_rollout(net.apply, net.init(jax.random.key(0), IMAGES), IMAGES)
