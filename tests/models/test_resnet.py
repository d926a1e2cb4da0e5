import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.models.norms import batch_norm
from fdl.models.resnet import ResNet, cifar_resnet, resnet18, resnet34, resnet50


def count(model, size):
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(
    ("model", "size", "parameters"),
    [
        (resnet18(), 224, 11_689_512),  # the ImageNet ones: torchvision's
        (resnet34(), 224, 21_797_672),
        (resnet50(), 224, 25_557_032),
        (cifar_resnet(20), 32, 269_722),  # the paper's table 6: 0.27 M
        (cifar_resnet(32), 32, 464_154),  # 0.46 M
        (cifar_resnet(44), 32, 658_586),  # 0.66 M
        (cifar_resnet(56), 32, 853_018),  # 0.85 M
        (cifar_resnet(110), 32, 1_727_962),  # 1.7 M
        (cifar_resnet(110, skip=False), 32, 1_727_962),
    ],
)
def test_parameter_counts_are_the_published_ones(model, size, parameters):
    assert count(model, size) == parameters


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_a_depth_that_is_not_6n_2_is_refused(depth):
    with pytest.raises(ValueError, match=f"depth is {depth}; expected 6n"):
        cifar_resnet(depth)


X = jax.random.normal(jax.random.key(0), (16, 8, 8, 3))


@pytest.mark.medium
def test_a_plain_twin_has_the_same_parameters_and_another_output():
    model, twin = cifar_resnet(8), cifar_resnet(8, skip=False)
    variables = jax.jit(model.init)(jax.random.key(1), X)
    assert jax.tree.structure(variables) == jax.tree.structure(
        jax.eval_shape(twin.init, jax.random.key(1), X)
    )
    assert np.abs(np.asarray(model.apply(variables, X)) - np.asarray(twin.apply(variables, X))).max() > 0.1


@pytest.mark.medium
def test_blocks_whose_last_norm_has_no_gain_start_as_the_identity():
    zero_gain = functools.partial(batch_norm, gain=nn.initializers.zeros)
    deep: Any = ResNet((5,), 3, width=8, small=True, last_norm=zero_gain)
    variables = nn.unbox(jax.jit(deep.init)(jax.random.key(1), X))
    shallow = {
        kind: {name: leaf for name, leaf in tree.items() if not name.startswith("Residual")}
        for kind, tree in variables.items()
    }
    expected: Any = ResNet((), 3, width=8, small=True).apply(shallow, X)
    np.testing.assert_allclose(deep.apply(variables, X), expected, rtol=1e-6)


@pytest.mark.medium
@pytest.mark.parametrize("norm", [None, batch_norm])
def test_it_memorises_16_images(norm):
    model = ResNet((1, 1), 4, width=16, small=True, norm=norm)
    labels = jnp.arange(16) % 4
    variables = jax.jit(model.init)(jax.random.key(1), X)
    params, stats = variables["params"], variables.get("batch_stats", {})
    optimizer = optax.adam(1e-2)

    def step(carry, _):
        params, stats, state = carry

        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            logits, new = model.apply(variables, X, train=True, mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return jnp.mean(losses), new.get("batch_stats", {})

        (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), stats, state), value

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=30)[1])
    history = run((params, stats, optimizer.init(params)))
    assert history[0] > 1.0
    assert history[-1] < 0.1
