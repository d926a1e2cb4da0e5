"""Every analysis is a pure function: the same for a trained net alone and for many side by side, compiled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import analysis, models
from fdl.tree import take
from tests.analysis.problems import net

LOSS, VARIABLES, BATCH = net()
MODEL = models.MLP(widths=(4, 3), outputs=2, activation=jnp.tanh)
KEY = jax.random.key(3)
LABELS = jnp.arange(20) % 2


def layers(variables):
    return analysis.activations(MODEL.apply, variables, BATCH["x"])


def on_layer(function, variables):
    return function(layers(variables)["Layer_1"])


def with_other(function, variables):
    return analysis.between_layers(function, {"hidden": layers(variables)["Layer_0"]}, {"x": BATCH["x"]})


def between(variables, curve_of):
    return analysis.barrier(LOSS, curve_of(variables, jax.tree.map(jnp.negative, variables)), BATCH, points=3)


def bent(variables, end):
    return analysis.bezier_curve(LOSS, variables, end, BATCH, KEY, optimizer=optax.sgd(0.1), steps=2)


ANALYSES = {
    "activations": layers,
    "layer_gradients": lambda v: analysis.layer_gradients(jnp.sum, MODEL.apply, v, BATCH["x"]),
    "maximise_activation": lambda v: analysis.maximise_activation(
        MODEL.apply, v, BATCH["x"], lambda layers: layers["Layer_1"][:, 0], norm=1.0, steps=2
    ),
    "cka": functools.partial(with_other, functools.partial(analysis.cka, debiased=True)),
    "cca": functools.partial(with_other, analysis.cca),
    "linear_fit": functools.partial(with_other, analysis.linear_fit),
    "rsa": functools.partial(with_other, analysis.rsa),
    "effective_rank": functools.partial(on_layer, analysis.effective_rank),
    "dead_units": functools.partial(on_layer, functools.partial(analysis.dead_units, threshold=0.7)),
    "spiking_energy": functools.partial(
        on_layer, lambda rows: analysis.spiking_energy([jax.nn.relu(rows)[:, None]], outputs=2)
    ),
    "neural_collapse": functools.partial(
        on_layer, lambda rows: analysis.neural_collapse(rows, LABELS, jnp.ones((3, 2)) / jnp.array([1, 2]))
    ),
    "gradient_norms": lambda v: analysis.gradient_norms(LOSS, v, BATCH),
    "gradient_noise_scale": lambda v: analysis.gradient_noise_scale(LOSS, v, BATCH),
    "hessian_eigenvalues": lambda v: analysis.hessian_eigenvalues(LOSS, v, BATCH, KEY, steps=5).values,
    "hessian_spectrum": lambda v: analysis.negative_share(
        analysis.hessian_spectrum(LOSS, v, BATCH, KEY, steps=5, draws=2)
    ),
    "critical_point": lambda v: analysis.critical_point(LOSS, v, BATCH).eigenvalues,
    "loss_slice": lambda v: analysis.loss_slice(
        LOSS, v, BATCH, [analysis.filter_normalised(v, KEY)], jnp.array([[-1.0], [2.0]])
    ),
    "barrier": functools.partial(between, curve_of=analysis.straight_line),
    "bezier_curve": functools.partial(between, curve_of=bent),
}


@pytest.mark.medium
@pytest.mark.parametrize("name", ANALYSES)
def test_seeds_side_by_side_are_as_each_alone(name):
    nets = [VARIABLES, jax.tree.map(lambda leaf: 1.5 * leaf + 0.1, VARIABLES)]
    together = jax.jit(jax.vmap(ANALYSES[name]))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets))
    for index, one in enumerate(nets):
        alone = jax.jit(ANALYSES[name])(one)
        assert jax.tree.leaves(alone)
        for a, b in zip(jax.tree.leaves(take(together, index)), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)
    assert not all(np.array_equal(leaf[0], leaf[1]) for leaf in jax.tree.leaves(together))
