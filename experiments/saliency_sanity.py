"""Which saliency maps depend on what the network has learned?

Adebayo et al. 2018, Sanity Checks for Saliency Maps, compare the maps of a trained network with those of one
whose layers are random from the output down (sec. 3), and of one that has learned permuted labels (sec. 4).
Gradients and Grad-CAM change; guided backpropagation keeps its map until the lowest layers are random; what
is multiplied by the input keeps part of it, where the sign is left out. Against the test: Yona and Greenfeld
2021, Revisiting Sanity Checks for Saliency Maps: how far a map changes depends on the task as well. Here it
is scikit-learn's 8x8 digits, each of which fills its picture.

Three small convolutional nets learn 300 digits: one; a second of another start; and a third by permuted
labels, which it can only learn by heart. Maps are without their sign. Agreement is Spearman's, the mean over
100 images for test; a map that is 0 everywhere has no ranks and is left out.

    fdl sweep experiments/saliency_sanity.py

95 s of CPU time.
"""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fdl
from fdl import analysis, data, inspection, metrics, models, rng, stats, tasks

LAYERS = ("Dense_1", "Dense_0", "Conv_1", "Conv_0")


def smooth_grad(*model: Any, **rows: Any) -> jax.Array:
    """SmoothGrad, of noise that is a tenth of the range of the inputs."""
    return analysis.smooth_grad(*model, **rows, key=jax.random.key(0), sigma=0.3, samples=20)


METHODS = {
    "gradient": analysis.gradient,
    "smooth": smooth_grad,
    "guided": analysis.guided_backpropagation,
    "grad_cam": functools.partial(analysis.grad_cam, layer="Conv_1"),
    "times_input": analysis.gradient_times_input,
    "integrated": functools.partial(analysis.integrated_gradients, steps=20),
}
SHOWN = ("gradient", "guided", "grad_cam")


@fdl.config
class Config:
    lr: float = fdl.traced(3e-3, low=0.0)
    """Adam's learning rate"""


@functools.cache
def digits() -> data.Splits:
    """300 digits to train on, each with the label of another beside its own, and 100 to judge by."""
    splits = data.digit_images()
    train, validation, test = (
        {name: array[:rows] for name, array in part.items()}
        for part, rows in zip(splits[:3], (300, 100, 100), strict=True)
    )
    train["permuted"] = np.random.default_rng(0).permutation(train["y"])
    return splits._replace(train=train, validation=validation, test=test)


def network() -> Any:
    return models.conv_net(channels=(8, 16), hidden=(64,), outputs=10)


def first(tree: Any, place: int = 0) -> Any:
    """One net's part of what is stacked."""
    return jax.tree.map(lambda leaf: leaf[place], tree)


def explained(
    nets: tasks.State, batch: Any, key: jax.Array, methods: Iterable[str] = METHODS
) -> dict[str, jax.Array]:
    """Of methods the maps `[7, B, 8, 8]`: by the net, the second, that of permuted labels, and the net
    with 1 to 4 layers random."""
    params, fresh = first(nets.params), network().init(key, batch["x"])["params"]
    random = [{**params, **{name: fresh[name] for name in LAYERS[:count]}} for count in (1, 2, 3, 4)]
    stacked = jax.tree.map(
        lambda trained, *one: jnp.concatenate([trained, jnp.stack(one)]), nets.params, *random
    )
    found = {}
    for name in methods:
        explain = functools.partial(METHODS[name], network().apply, x=batch["x"], target=batch["y"])
        maps = jax.lax.map(lambda one, explain=explain: explain({"params": one}), stacked)
        found[name] = jnp.abs(maps).reshape(7, -1, 8, 8)
    return found


def pictures(nets: tasks.State, key: jax.Array) -> dict[str, inspection.Image]:
    """Eight digits, and their maps by some methods in the order of `explained`."""
    rows = {name: jnp.asarray(digits().test[name][:8]) for name in ("x", "y")}
    prepare, pixels = digits().prepare, rows["x"][None, ..., 0] / 16
    assert prepare is not None
    shown = {}
    for name, maps in explained(nets, prepare(rows), key, SHOWN).items():
        bright = maps / jnp.max(maps, (2, 3), keepdims=True, initial=1e-12)
        shown[name] = inspection.Image(jnp.concatenate([pixels, bright]).reshape(-1, 8, 8, 1))
    return shown


def experiment(config: Config) -> fdl.Experiment:
    single = tasks.classification_learner(network(), digits(), optax.adam(config.lr))

    def init(key: jax.Array) -> tasks.State:
        """The states of the three nets, one above the other."""
        return jax.vmap(single.init)(jax.random.split(key, 3))

    def step(nets: tasks.State, batch: Any, key: jax.Array) -> tuple[tasks.State, Any]:
        def learn(net: tasks.State, y: jax.Array) -> tuple[tasks.State, Any]:
            return single.step(net, {"x": batch["x"], "y": y}, key)

        nets, found = jax.vmap(learn)(nets, jnp.stack([batch["y"], batch["y"], batch["permuted"]]))
        return nets, {**first(found), "accuracy_permuted": first(found["accuracy"], 2)}

    def evaluate(nets: tasks.State, batch: Any, key: jax.Array) -> dict[str, Any]:
        kinds = ("again", "permuted", "random1", "random2", "random3", "random4")
        found = dict(single.evaluate(first(nets), batch, key))
        for name, maps in explained(nets, batch, rng.stream(key, "fresh")).items():
            for kind, other in zip(kinds, maps[1:], strict=True):
                same = analysis.rank_agreement(maps[0], other)
                found[f"{name}_{kind}"] = metrics.mean(same, batch["weight"] * ~jnp.isnan(same))
        return found

    learner = fdl.Learner(init, step, evaluate, single.required)
    columns = ("x", "y", "permuted")
    made = tasks.experiment_over(
        learner, digits(), steps=300, batch_size=100, evaluate_every=300, columns=columns
    )
    return made._replace(inspect=pictures)


SWEEP = fdl.grid(Config(), seeds=12)


def more(result: fdl.Result, measure: str, over: str, at_least: float) -> fdl.Verdict:
    """Whether one agreement is so much above another, of the same nets."""
    two = stats.metrics_as_arms(result, {name: f"test/{name}" for name in (over, measure)})
    return fdl.compare(two, metric="measure/value", arms="measure", baseline=over, at_least=at_least).verdict


CLAIMS = (
    fdl.Claim(
        "U4.1",
        "With all but the first layer random, guided backpropagation agrees by 0.2 more than the gradient.",
        lambda result: more(result, "guided_random3", "gradient_random3", 0.2),
        control=lambda result: more(result, "smooth_random3", "gradient_random3", 0.2),
        published="guided backpropagation does not change with higher layers (Adebayo et al. 2018, sec. 3)",
    ),
    fdl.Claim(
        "U4.2",
        "A gradient shows what was learned: the second net's agrees by 0.1 more than that of wrong labels.",
        lambda result: more(result, "gradient_again", "gradient_permuted", 0.1),
        control=lambda result: more(result, "guided_again", "guided_permuted", 0.1),
        published="gradients, SmoothGrad and Grad-CAM change with the labels (Adebayo et al. 2018, sec. 4)",
    ),
    fdl.Claim(
        "U4.3",
        "With all layers random, what is multiplied by the input agrees by 0.1 more than the gradient.",
        lambda result: more(result, "times_input_random4", "gradient_random4", 0.1),
        control=lambda result: more(result, "smooth_random4", "gradient_random4", 0.1),
        published="the input shows through in gradient times input (Adebayo et al. 2018, sec. 5.1)",
    ),
)
