"""Do nets of other seeds represent the same things in the same layers?

Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, sec. 6.1: of two nets that
differ in their seed alone, each layer of one should be most like the same layer of the other. Centred kernel
alignment (CKA) finds it for 99.3 % of the layers of convolutional nets of ten layers on CIFAR-10, canonical
correlations (CCA) for few (table 2). Here pairs of perceptrons of six layers of 32 units learn scikit-learn's
digits; *found* is the share of layers found among the other's six, by 360 images that neither has learned.
In one arm the other net is twice as wide. The baseline is the same with the other net's images in another
order, which leaves nothing to find but by chance, a sixth.

Against it: Davari et al. 2023, Reliability of CKA as a Similarity Measure in Deep Learning: it follows a few
directions or rows of large variance. And nets that have learned nothing may be as alike, since what a wide
random layer computes hangs on its depth alone (Daniely et al. 2016, Toward Deeper Understanding of Neural
Networks).

What came of it: of the same layers CKA is 0.57 in the mean (0.01 of shuffled images), but other layers are
more alike: in the heat map of the first seed the other net's first two to all. Nets so narrow, of so many
layers on so small images, are far from those of the source.

    fdl sweep experiments/representation_similarity.py
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import fdl
from fdl import analysis, data, inspection, metrics, models, rng

DEPTH, WIDTH, RATE = 6, 32, 1e-3
MEASURES = {"cka": analysis.cka, "cca": analysis.cca}
OPTIMIZER = optax.scale_by_adam()


@fdl.config
class Config:
    measure: str = "cka"
    """cka, or cca, the mean squared canonical correlation"""
    other: int = fdl.static(WIDTH, low=1)
    """units of a layer of the other net"""
    shuffled: float = fdl.traced(0.0, low=0.0, high=1.0)
    """1: the other net sees the images in another order, 0: in the same"""
    lr: float = fdl.traced(RATE, low=0.0)
    """Adam's learning rate; at 0 nothing is learned"""


def nets(config: Config) -> tuple[models.MLP, models.MLP]:
    """The nets that are compared."""
    return models.MLP((WIDTH,) * DEPTH, 10), models.MLP((config.other,) * DEPTH, 10)


def layers_of(config: Config, params: Any, x: jax.Array, order: Any) -> list[dict[str, jax.Array]]:
    """Of both nets the layers' outputs `[N, F]`; the other sees rows in an order of its own."""
    found = [
        analysis.activations(model.apply, {"params": own}, rows)
        for model, own, rows in zip(nets(config), params, (x, x[order]), strict=True)
    ]
    names = [f"Layer_{place}" for place in range(DEPTH)]
    return [{name: one[name] for name in names} for one in found]


def heat_map(matrix: Any) -> Figure:
    """How like each layer of one net is to each of the other."""
    drawing = Figure(figsize=(3.6, 3.0), layout="constrained")
    axis, places = drawing.subplots(), range(DEPTH)
    drawing.colorbar(axis.imshow(matrix, vmin=0, vmax=1, origin="lower", cmap="viridis"), ax=axis)
    axis.set(xlabel="layer of the other net", ylabel="layer of one net", xticks=places, yticks=places)
    for row in places:
        axis.plot(np.argmax(matrix[row]), row, "o", color="white", markersize=4)  # the most alike
    return drawing


def spectra(layers: Any) -> Figure:
    """The eigenvalues of each layer's covariance: along how many directions a representation varies."""
    drawing = Figure(figsize=(3.6, 3.0), layout="constrained")
    axis = drawing.subplots()
    for place, rows in enumerate(layers):
        values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
        axis.semilogy(1 + np.arange(len(values)), np.maximum(values / values.sum(), 1e-8), label=f"{place}")
    axis.set(xlabel="direction", ylabel="share of variance")
    axis.legend(title="layer", frameon=False, fontsize=7)
    return drawing


def experiment(config: Config) -> fdl.Experiment:
    splits, models_ = data.digits(), nets(config)
    x = np.concatenate([splits.validation["x"], splits.test["x"]])[:360]

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(rng.stream(key, "nets"))
        params = tuple(m.init(k, jnp.asarray(x[:1]))["params"] for m, k in zip(models_, keys, strict=True))
        return params, OPTIMIZER.init(params)

    def loss(params: Any, batch: Any) -> jax.Array:
        """The sum over both nets, none of which sees the other."""
        logits = [m.apply({"params": own}, batch["x"]) for m, own in zip(models_, params, strict=True)]
        entropy = optax.softmax_cross_entropy_with_integer_labels
        return sum((entropy(one, batch["y"]).mean() for one in logits), jnp.zeros(()))

    def step(state: Any, batch: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        del key
        params, moments = state
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, moments = OPTIMIZER.update(gradient, moments)
        params = jax.tree.map(lambda at, update: at - config.lr * update, params, updates)
        return (params, moments), {"loss": value}

    # Seed by seed: decompositions of batches may hang on CPUs, see docs/howto/inside.md.
    @jax.custom_batching.sequential_vmap
    def similarities(one: Any, other: Any) -> jax.Array:
        return analysis.between_layers(MEASURES[config.measure], one, other)

    def evaluate(state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
        rows = jnp.arange(len(batch["x"]))
        order = jnp.where(config.shuffled > 0, jax.random.permutation(key, rows), rows)
        matrix = similarities(*layers_of(config, state[0], batch["x"], order))
        found = {
            "found": jnp.mean(jnp.argmax(matrix, 1) == jnp.arange(DEPTH)),
            "same": jnp.trace(matrix) / DEPTH,
        }
        logits: Any = models_[0].apply({"params": state[0][0]}, batch["x"])
        right = jnp.argmax(logits, 1) == batch["y"]
        found |= {"loss": loss(state[0], batch), "accuracy": jnp.mean(right)}
        return {name: metrics.mean(one) for name, one in found.items()}

    def inspect(state: Any, key: jax.Array) -> dict[str, inspection.Figure]:
        del key
        one, other = layers_of(config, state[0], jnp.asarray(x), jnp.arange(len(x)))
        matrix = analysis.between_layers(analysis.cka, one, other)
        shown = {"CKA": inspection.Figure(matrix, heat_map)}
        return {**shown, "spectra": inspection.Figure(list(one.values()), spectra)}

    y = np.concatenate([splits.validation["y"], splits.test["y"]])[:360]
    judged = fdl.Source({"x": x, "y": y}, lambda arrays, step, key: arrays, 1)
    source = data.shuffled(splits.train, batch_size=64)
    learner = fdl.Learner(init, step, evaluate)
    return fdl.Experiment(learner, source, {"test": judged}, steps=300, evaluate_every=300, inspect=inspect)


SWEEP = fdl.grid(Config(), shuffled=(0.0, 1.0), lr=(0.0, RATE), seeds=8)
SWEEP += fdl.grid(Config(), measure=("cca",), shuffled=(0.0, 1.0), seeds=8)
SWEEP += fdl.grid(Config(), other=(2 * WIDTH,), seeds=8)


def more(result: fdl.Result, arms: str, baseline: Any, at_least: float, **own: Any) -> fdl.Verdict:
    """Whether an arm finds so many more layers than another."""
    own = {"measure": "cka", "other": WIDTH, "shuffled": 0.0, "lr": RATE} | own
    own.pop(arms)
    some = result.where(**own)
    return fdl.compare(some, metric="test/found", arms=arms, baseline=baseline, at_least=at_least).verdict


def wider(result: fdl.Result) -> fdl.Verdict:
    """Whether as many layers are found in a net that is twice as wide."""
    some = result.where(measure="cka", shuffled=0.0, lr=RATE)
    return fdl.compare(some, metric="test/found", arms="other", baseline=WIDTH, equivalent=0.1).verdict


CLAIMS = (
    fdl.Claim(
        "U6.1",
        "By CKA the layer of another seed's net is found for half of all layers more than by chance.",
        functools.partial(more, arms="shuffled", baseline=1.0, at_least=0.5),
        published="99.3 % of layers (Kornblith et al. 2019, table 2)",
    ),
    fdl.Claim(
        "U6.2",
        "CKA finds 20 points more than canonical correlations.",
        functools.partial(more, arms="measure", baseline="cca", at_least=0.2),
        control=functools.partial(more, arms="measure", baseline="cca", at_least=0.2, shuffled=1.0),
        published="CCA finds few (Kornblith et al. 2019, table 2)",
    ),
    fdl.Claim(
        "U6.3",
        "They are alike by what they have learned: of random nets CKA finds 20 points fewer.",
        functools.partial(more, arms="lr", baseline=0.0, at_least=0.2),
        control=functools.partial(more, arms="lr", baseline=0.0, at_least=0.2, shuffled=1.0),
    ),
    fdl.Claim("U6.4", "In a net twice as wide as many layers are found, within 10 points.", wider),
)
