"""Mixed precision: what is kept, what computes, and that it learns the same."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data, models, tasks, train
from fdl.models.norms import batch_norm

KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (8, 8, 8, 3))
TOKENS = jax.random.randint(KEY, (2, 16), 0, 32)
CASES = {
    "mlp": (models.MLP((32, 32), 4, norm=batch_norm), IMAGES.reshape(8, -1)),
    "resnet": (models.ResNet((1, 1), outputs=4, width=8, small=True), IMAGES),
    "lstm": (models.RecurrentNet((16,), 4), IMAGES.reshape(8, 8, 24)),
    "gpt": (models.gpt2(32, length=16, width=32, layers=2, heads=2), TOKENS),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    return CASES[request.param]


def passed(model, variables, x):
    """Outputs and the other collections after a training pass."""
    return model.apply(variables, x, train=True, rngs={"dropout": KEY}, mutable=["batch_stats"])


def inner(tree):
    """The wrapped model's own variables."""
    return {name: part["model"] for name, part in tree.items()}


def test_kept_in_float32_and_computed_in_bfloat16(case):
    model, x = case
    mixed = models.MixedPrecision(model)
    variables = mixed.init(KEY, x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    out, kept = passed(mixed, variables, x)
    assert out.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(kept))
    text = jax.jit(lambda v: passed(mixed, v, x)).lower(variables).as_text()
    products = [
        line for line in text.splitlines() if "stablehlo.dot_general" in line or "convolution(" in line
    ]
    factors = [line.rsplit(" : ", 1)[1].partition("->")[0] for line in products]
    assert products and all("bf16" in types and "f32" not in types for types in factors)


def test_gradients_are_those_of_float32_but_for_rounding(case):
    model, x = case
    mixed = models.MixedPrecision(model)
    variables = mixed.init(KEY, x)

    def loss(model, params, rest):
        return jnp.mean(jnp.square(passed(model, {"params": params, **rest}, x)[0] - 1.0))

    rest = {name: part for name, part in variables.items() if name != "params"}
    narrow = jax.jit(jax.grad(lambda p: loss(mixed, p, rest)))(variables["params"])["model"]
    own = inner(variables)
    kept = {name: part for name, part in own.items() if name != "params"}
    wide = jax.jit(jax.grad(lambda p: loss(model, p, kept)))(own["params"])
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(narrow))
    whole = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(wide)])
    apart = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(narrow)]) - whole
    assert 0 < np.linalg.norm(apart) < 0.05 * np.linalg.norm(whole)


def test_in_float32_it_is_the_model_itself(case):
    model, x = case
    same = models.MixedPrecision(model, compute=jnp.float32)
    variables = same.init(KEY, x)
    jax.tree.map(
        np.testing.assert_array_equal, passed(same, variables, x)[0], passed(model, inner(variables), x)[0]
    )


def test_it_learns_as_float32_does():
    def accuracy(model):
        experiment = tasks.classification(model, data.digits(), optax.adam(3e-3), steps=150)
        return train.fit(experiment, KEY).rows[-1]["test/accuracy"]

    model = models.MLP((64,), 10)
    assert accuracy(models.MixedPrecision(model)) == pytest.approx(accuracy(model), abs=0.02)
