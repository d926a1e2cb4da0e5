"""Do nets of other seeds represent the same things in the same layers?

Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, sec. 6.1: of two nets that
differ in their seed alone, each layer of one should be most like the same layer of the other. Centred kernel
alignment (CKA) finds it for 99.3 % of layers of convolutional nets of ten layers on CIFAR-10, canonical
correlations and linear regression for far fewer (table 2). Against it: Davari et al. 2023, Reliability of CKA
as a Similarity Measure in Deep Learning: it follows a few directions or rows of large variance. And nets that
have learned nothing may be as alike, since what a wide random layer computes hangs on its depth alone
(Daniely et al. 2016, Toward Deeper Understanding of Neural Networks). So random nets are the control.

Pairs of perceptrons of six layers of 64 units learn scikit-learn's digits; their layers are compared by 360
images for test. By chance a sixth of the layers is found.

    fdl sweep experiments/representation_similarity.py --mesh population=1
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import fdl
from fdl import analysis, data, inspection, metrics, models, rng, stats, tasks

DEPTH = 6
MODEL = models.MLP((64,) * DEPTH, 10)
SIMILARITIES = {"cka": analysis.cka, "cca": analysis.cca, "regression": analysis.linear_fit}


@fdl.config
class Config:
    lr: float = fdl.traced(1e-3, low=0.0)
    """Adam's learning rate"""


def similarities(pair: Any, x: jax.Array) -> dict[str, jax.Array]:
    """By name `[6, 6]`: how like each layer of one net is to each of the other. Parameters are stacked."""
    layers = []
    for net in range(2):
        params = jax.tree.map(lambda leaf, net=net: leaf[net], pair)
        found = analysis.activations(MODEL.apply, {"params": params}, x)
        layers.append(jnp.stack([found[f"Layer_{place}"] for place in range(DEPTH)]))
    # As `analysis.between_layers`, but compiled once; by `vmap` it hangs on CPUs, see docs/howto/inside.md.
    places = jnp.arange(DEPTH**2)
    found = {}
    for name, one in SIMILARITIES.items():
        at = lambda place, one=one: one(layers[0][place // DEPTH], layers[1][place % DEPTH])  # noqa: E731
        found[name] = jax.lax.map(at, places).reshape(DEPTH, DEPTH)
    return found


def experiment(config: Config) -> fdl.Experiment:
    splits = data.digits()
    single = tasks.classification_learner(MODEL, splits, optax.adam(config.lr))

    def init(key: jax.Array) -> tasks.State:
        """The states of both nets, one above the other."""
        return jax.vmap(single.init)(jax.random.split(key))

    def step(pair: tasks.State, batch: Any, key: jax.Array) -> tuple[tasks.State, Any]:
        pair, found = jax.vmap(lambda net: single.step(net, batch, key))(pair)
        return pair, jax.tree.map(lambda each: each[0], found)

    def evaluate(pair: tasks.State, batch: Any, key: jax.Array) -> dict[str, Any]:
        found = dict(single.evaluate(jax.tree.map(lambda leaf: leaf[0], pair), batch, key))
        for kind, params in (("", pair.params), ("random_", init(rng.stream(key, "random")).params)):
            for name, matrix in similarities(params, batch["x"]).items():
                right = jnp.argmax(matrix, axis=1) == jnp.arange(DEPTH)
                found[f"{kind}{name}"] = metrics.mean(right.astype(jnp.float32))
        return {**found, "chance": metrics.mean(jnp.full(1, 1 / DEPTH))}

    def inspect(pair: tasks.State, key: jax.Array) -> dict[str, inspection.Image]:
        """Layers of one net downwards, of the other to the right: from 0, black, to 1."""
        del key
        shown = similarities(pair.params, jnp.asarray(splits.test["x"]))
        return {
            name: inspection.Image(jnp.kron(matrix, jnp.ones((16, 16)))) for name, matrix in shown.items()
        }

    learner = fdl.Learner(init, step, evaluate, single.required)
    made = tasks.experiment_over(learner, splits, steps=500, evaluate_every=500)
    return made._replace(inspect=inspect)


SWEEP = fdl.grid(Config(), seeds=12)


def more(result: fdl.Result, measure: str, over: str, at_least: float) -> fdl.Verdict:
    """Whether one measure finds so many more layers than another, in the same nets."""
    two = stats.metrics_as_arms(result, {name: f"test/{name}" for name in (over, measure)})
    return fdl.compare(two, metric="measure/value", arms="measure", baseline=over, at_least=at_least).verdict


CLAIMS = (
    fdl.Claim(
        "U6.1",
        "By CKA the layer of another seed's net is found for half of all layers more than by chance.",
        lambda result: more(result, "cka", "chance", 0.5),
        control=lambda result: more(result, "random_cka", "chance", 0.5),
        published="99.3 % of layers (Kornblith et al. 2019, table 2)",
    ),
    fdl.Claim(
        "U6.2",
        "CKA finds 20 points more than canonical correlations.",
        lambda result: more(result, "cka", "cca", 0.2),
        control=lambda result: more(result, "random_cka", "random_cca", 0.2),
        published="CCA finds few (Kornblith et al. 2019, table 2)",
    ),
    fdl.Claim(
        "U6.3",
        "CKA finds 20 points more than linear regression.",
        lambda result: more(result, "cka", "regression", 0.2),
        control=lambda result: more(result, "random_cka", "random_regression", 0.2),
        published="linear regression finds less than half (Kornblith et al. 2019, table 2)",
    ),
)
