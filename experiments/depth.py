"""Does depth buy exponential power: in what nets can express, in what they typically do, in what they learn?

Telgarsky 2016, Benefits of depth in neural networks: a sawtooth of 2^k pieces takes k layers of 2 units, or
2^(k-1) and more units in one. Montúfar et al. 2014: so many linear pieces are possible. Three verdicts:

Expressible: the net of k layers by weights that are written down, beside the best that as many units in one
layer can do, whose at most 2k + 1 pieces are placed best of all by dynamic programming (not even joined: a
lower bound). Control: 2^2 pieces. Typical: linear pieces along random lines, as sign patterns change, of
random nets of 96 units in 1, 2 or 4 layers (He's weights, biases of deviation 0.3). Learned: nets of 1 and 4
layers with 865 parameters on the sawtooth of 2^4 pieces, by Adam at the learning rate that is best on
validation by seeds that do not judge; control: 2^1 pieces.

Against it: "exponentially more power" is a worst case that exists. Hanin and Rolnick 2019, Complexity of
linear regions in deep networks: of random nets the expected pieces grow with the number of units, whatever
the depth. Malach and Shalev-Shwartz 2019, Is deeper better only when shallow is good: what shallow nets do
not approximate a little, training does not find.

    fdl sweep experiments/depth.py

90 s of CPU time. Two pilots came before, with seeds 500 to 511 and 0 to 19. After the first F5.4 and F5.5
got 16 seeds that judge instead of 8; in the second the best learning rate of 1e-3 to 1e-2 was the largest,
so that larger ones came in: for these, which they read, F5.4 and F5.5 count as changed after data was seen.
No threshold changed. F5.4 was undecided in the first pilot and refuted in the second, the others as now.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import fdl
from fdl import data, metrics, models, tasks

NEURONS, PLACES, RATES = 96, 4096, (3e-3, 1e-2, 3e-2, 1e-1)
WIDTHS = {1: 288, 4: 16}


@fdl.config
class Config:
    part: str = fdl.static("trained")
    """"random" nets, a net as "written" down, the "best" of one layer, or a "trained" one"""
    folds: int = fdl.static(4, low=1)
    """k: the sawtooth has 2^k pieces"""
    depth: int = fdl.static(4, low=1)
    """hidden layers of random and trained nets"""
    lr: float = fdl.traced(3e-3, low=0.0)
    """Adam's learning rate"""


def sawtooth(x: np.ndarray, folds: int) -> np.ndarray:
    """The tent map, so often applied."""
    for _ in range(folds):
        x = 1 - np.abs(2 * x - 1)
    return x


@functools.cache
def rows(folds: int) -> data.Splits:
    rng = np.random.default_rng(0)
    x = [rng.random((size, 1)) for size in (2048, 512, 2048)]
    train, validation, test = (
        {"x": one.astype("f4"), "y": sawtooth(one[:, 0], folds).astype("f4")} for one in x
    )
    return data.Splits(train, validation, test)


def written(folds: int) -> dict:
    """The tent map is 2 max(0, x) - 4 max(0, x - 1/2), k times over."""
    mix, bias = jnp.array([[2.0, 2.0], [-4.0, -4.0]]), jnp.array([0.0, -0.5])
    first = {"kernel": jnp.ones((1, 2)), "bias": bias}
    layers = [first] + [{"kernel": mix, "bias": bias}] * (folds - 1)
    out = {"kernel": mix[:, :1], "bias": jnp.zeros(1)}
    return {"Dense_0": out} | {f"Layer_{i}": {"Dense_0": layer} for i, layer in enumerate(layers)}


@functools.cache
def best_of_one_layer(folds: int) -> float:
    """The root mean square error of the best 2k + 1 affine pieces, by dynamic programming over a grid."""
    size = 16 * 2**folds
    x = (np.arange(size) + 0.5) / size
    y = sawtooth(x, folds)
    sums = [np.concatenate([[0.0], np.cumsum(one)]) for one in (np.ones(size), x, y, x * x, x * y, y * y)]
    n, sx, sy, sxx, sxy, syy = (one[None, :] - one[:, None] for one in sums)
    with np.errstate(all="ignore"):
        varied, both, own = sxx - sx**2 / n, sxy - sx * sy / n, syy - sy**2 / n
        errors = np.where(n > 1, own - both**2 / np.where(varied > 0, varied, 1), 0.0)
    errors = np.where(n > 0, np.maximum(errors, 0), np.inf)
    least = errors[0]
    for _ in range(2 * folds):
        least = np.minimum(least, np.min(least[:, None] + errors, axis=0))
    return math.sqrt(least[-1] / size)


def pieces(key: jax.Array, depth: int) -> jax.Array:
    """On how many linear pieces of a random line a random net is, that has `NEURONS` units in all."""
    line = fdl.rng.stream(key, "line")
    at, along = jax.random.normal(line, (2, 2))
    x = at + jnp.linspace(-3, 3, PLACES)[:, None] * along / jnp.linalg.norm(along)
    signs = []
    for key in jax.random.split(fdl.rng.stream(key, "net"), depth):  # noqa: B020
        width, weights = NEURONS // depth, fdl.rng.stream(key, "weights")
        kernel = jax.random.normal(weights, (x.shape[1], width)) * math.sqrt(2 / x.shape[1])
        x = x @ kernel + 0.3 * jax.random.normal(fdl.rng.stream(key, "biases"), (width,))
        signs.append(x > 0)
        x = jnp.maximum(x, 0)
    pattern = jnp.concatenate(signs, 1)
    return 1 + jnp.sum(jnp.any(pattern[1:] != pattern[:-1], axis=1))


def rms(errors: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(weight * errors**2) / jnp.sum(weight))


def experiment(config: Config) -> fdl.Experiment:
    widths = (
        (2,) * config.folds if config.part == "written" else (WIDTHS.get(config.depth, 16),) * config.depth
    )
    optimizer = optax.adam(optax.cosine_decay_schedule(config.lr, 3000))
    made = tasks.regression(models.MLP(widths, 1), rows(config.folds), optimizer, steps=3000, batch_size=128)
    predict, start = made.learner.predict, made.learner.init
    assert predict is not None

    def evaluate(state, batch, key):
        if config.part == "random":
            found = jnp.log2(pieces(key, config.depth))
            return {"log2_pieces": metrics.mean(jnp.full(len(batch["weight"]), found), batch["weight"])}
        if config.part == "best":
            found = jnp.full(len(batch["weight"]), best_of_one_layer(config.folds))
        else:
            found = predict(state, batch)["prediction"] - batch["y"]
        return {"rms": metrics.all_rows(rms, found, batch["weight"])}

    learner = made.learner._replace(evaluate=evaluate, required=())
    if config.part == "trained":
        return made._replace(learner=learner)
    if config.part == "written":
        learner = learner._replace(init=lambda key: start(key)._replace(params=written(config.folds)))
    return made._replace(learner=learner._replace(step=lambda state, batch, key: (state, {})))


EXPRESSED = fdl.grid(Config(), part=("written", "best"), folds=(2, 6), seeds=1)
TYPICAL = fdl.grid(Config(), part=("random",), depth=(1, 2, 4), seeds=40)
LEARNED = fdl.grid(Config(), folds=(1, 4), depth=(1, 4), lr=RATES, seeds=range(20, 40))
FOUND = fdl.grid(Config(), part=("written",), folds=(1, 4), lr=RATES, seeds=range(20, 40))
SWEEP = EXPRESSED + TYPICAL + LEARNED + FOUND


def expressible(result: fdl.Result, folds: int) -> fdl.Verdict:
    """Counted out, not tested."""
    deep, shallow = (
        float(result.where(part=part, folds=folds).last()["test/rms"].mean()) for part in ("written", "best")
    )
    return fdl.Verdict(
        "SUPPORTED" if deep <= 1e-6 and shallow >= 0.1 else "REFUTED",
        f"{folds} layers of 2 units err by {deep:.2g} (root mean square), the best {2 * folds} units of one "
        f"layer by {shallow:.2g}.",
        "the deep net's root mean square error is at most 1e-6, the best of one layer's at least 0.1",
        (),
    )


def typical(result: fdl.Result, **criterion: Any) -> fdl.Verdict:
    own = result.where(part="random", depth=[1, 4])
    return fdl.compare(own, metric="test/log2_pieces", arms="depth", baseline=1, **criterion).verdict


def learned(result: fdl.Result, folds: int, arms: str, least: float) -> fdl.Verdict:
    """Whether depth, or weights written down, make the error smaller than training one layer, or four."""
    own = result.where(part=["trained"] if arms == "depth" else ["trained", "written"], folds=folds)
    own = own if arms == "depth" else own.where(depth=4)
    own = own.best("lr", by="validation/rms", better="lower", seeds=4)
    baseline = 1 if arms == "depth" else "trained"
    return fdl.compare(
        own, metric="test/rms", arms=arms, baseline=baseline, better="lower", at_least=least
    ).verdict


CLAIMS = (
    fdl.Claim(
        "F5.1",
        "Expressible: 6 layers of 2 units compute a sawtooth that no layer of 12 units comes near.",
        functools.partial(expressible, folds=6),
        control=functools.partial(expressible, folds=2),
        published="units of one layer grow as 2^k where k layers of 2 suffice (Telgarsky 2016)",
    ),
    fdl.Claim(
        "F5.2",
        "Typical: of as many units, 4 random layers have 2^3 times the linear pieces of one.",
        functools.partial(typical, at_least=3.0),
        published="possible pieces are exponential in depth (Montúfar et al. 2014)",
    ),
    fdl.Claim(
        "F5.3",
        "Typical: of as many units, 4 random layers have as many linear pieces as one, within 30 %.",
        functools.partial(typical, equivalent=math.log2(1.3)),
        published="expected pieces grow with the number of units (Hanin and Rolnick 2019)",
    ),
    fdl.Claim(
        "F5.4",
        "Learned: with as many parameters, 4 layers come to a smaller error than one, by 0.05.",
        functools.partial(learned, folds=4, arms="depth", least=0.05),
        control=functools.partial(learned, folds=1, arms="depth", least=0.05),
    ),
    fdl.Claim(
        "F5.5",
        "Not learned: 4 layers that are trained err by 0.1 more than the weights that are written down.",
        functools.partial(learned, folds=4, arms="part", least=0.1),
        control=functools.partial(learned, folds=1, arms="part", least=0.1),
        published="deeper is better only when shallow is good (Malach and Shalev-Shwartz 2019)",
    ),
)


def figure(result: fdl.Result) -> Figure:
    """The pieces of random nets by depth, and the errors of nets that are written, best and trained."""
    drawing = Figure(figsize=(6.4, 2.8), layout="constrained")
    left, right = drawing.subplots(1, 2)
    last = result.where(part="random").last()
    pieces = [2 ** last[last["depth"] == depth]["test/log2_pieces"] for depth in (1, 2, 4)]
    left.boxplot(pieces, tick_labels=["1", "2", "4"])
    left.set(xlabel="layers, of 96 units in all", ylabel="linear pieces of a random net", ylim=(0, None))
    trained = result.where(part="trained", folds=4).best("lr", by="validation/rms", better="lower", seeds=4)
    for place, depth in enumerate((1, 4)):
        errors = trained.where(depth=depth).last()["test/rms"]
        right.plot([place + 0.02 * (i % 7 - 3) for i in range(len(errors))], errors, "o", color="#2f7fc1")
    right.axhline(math.sqrt(1 / 12), color="#808080", linestyle="--", linewidth=1)
    right.text(-0.4, 0.295, "the mean alone", fontsize=8, color="#606060")
    right.plot([2], [0], "o", color="#c1582f")
    right.set_xticks([0, 1, 2], ["1 layer,\ntrained", "4 layers,\ntrained", "4 layers,\nwritten down"])
    right.set(xlim=(-0.5, 2.5), ylim=(-0.01, 0.33), ylabel="error (16 pieces)")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    return drawing
