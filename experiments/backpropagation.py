"""Is what backpropagation gives the exact gradient, and at a cost independent of the number of parameters?

Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors; the algorithm is
that of Linnainmaa 1970 and Werbos 1974. Baur and Strassen 1983, The complexity of partial derivatives, and
Griewank and Walther 2008, Evaluating Derivatives, sec. 4.4: a function and all its partial derivatives cost
at most 4 to 5 times the function alone.

Exact: `jax.grad` of four kinds of nets (gates, convolutions, attention; all smooth) beside central
differences along random directions, and beside the chain rule written out by hand, in 64 bits. The control
has a bug that is common: a `stop_gradient` at one of the parameters' arrays. Cost: floating-point operations
(and bytes of scratch memory) that XLA counts in the programs that it has compiled for the CPU, of perceptrons
with 166 to 1,076,010 parameters. Forward mode, the counter-arm, gives one directional derivative at a time:
as many products as there are parameters. Nothing is trained. These counts are the same in every run; F9.5's
criterion was written when they had been seen.

Against it: independent of the number of parameters is the *ratio* to the loss's own cost, which grows with
them (F9.4). What reverse mode saves in operations it pays in memory, for it keeps all that it passes (F9.5).
It computes gradients only; that it "updates weights" is said of what the optimizer does.

    fdl sweep experiments/backpropagation.py

70 s of CPU time.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

import fdl
from fdl import data, metrics, models

INPUTS, OUTPUTS, BATCH, DIRECTIONS, STEP = 64, 10, 64, 4, 1e-4
WIDTHS, DEPTHS = (2, 32, 256, 1000), (4, 16)


def mlp(width: int = 16, depth: int = 2):
    return models.MLP((width,) * depth, OUTPUTS, activation=jnp.tanh), rows(INPUTS)


def conv():
    stages = (models.Stage(4), models.Stage(4, strides=2))
    return models.ConvNet(stages, (), OUTPUTS, activation=jnp.tanh), rows(8, 8, 1)


def lstm():
    return models.RecurrentNet((8,), OUTPUTS), rows(8, 8)


def gpt():
    model = models.gpt2(OUTPUTS, length=8, width=16, layers=1, heads=2)
    return model, functools.partial(jax.random.randint, shape=(BATCH, 8), minval=0, maxval=OUTPUTS)


def rows(*shape: int) -> Callable[[jax.Array], jax.Array]:
    """Draws a batch of inputs."""
    return functools.partial(jax.random.normal, shape=(BATCH, *shape))


@fdl.config
class Config:
    net: Callable = mlp
    """of two hidden layers of 16 units where the gradient is checked"""
    broken: float = fdl.traced(0.0, low=0.0, high=1.0)
    """the share of the gradient that is lost at the last array of parameters"""
    mode: str | None = fdl.static(None)
    """whose cost is counted, "reverse" or "forward"; None: the gradient is checked"""
    width: int = fdl.static(16, low=1)
    """units of each hidden layer of the perceptron whose cost is counted"""
    depth: int = fdl.static(2, low=1)
    """its hidden layers"""


def loss_of(model: nn.Module, unravel: Callable, x: jax.Array, flat: jax.Array, broken=0.0) -> jax.Array:
    """The mean square of a net's outputs; of a share of the last array no gradient comes through."""
    leaves, tree = jax.tree.flatten(unravel(flat))
    leaves[-1] = leaves[-1] + broken * (jax.lax.stop_gradient(leaves[-1]) - leaves[-1])
    outputs: Any = model.apply(jax.tree.unflatten(tree, leaves), x)
    return jnp.mean(jnp.square(outputs))


def by_hand(parameters: dict, x: jax.Array) -> dict:
    """The same gradient of a perceptron with tanh by the chain rule, layer by layer from the last."""
    names = sorted(name for name in parameters if name != "Dense_0")
    layers = [parameters[name]["Dense_0"] for name in names] + [parameters["Dense_0"]]
    inputs = [x]
    for layer in layers[:-1]:
        inputs.append(jnp.tanh(inputs[-1] @ layer["kernel"] + layer["bias"]))
    out = inputs[-1] @ layers[-1]["kernel"] + layers[-1]["bias"]
    delta, found = 2 * out / out.size, []
    for layer, before in zip(layers[::-1], inputs[::-1], strict=True):
        found.append({"kernel": before.T @ delta, "bias": delta.sum(0)})
        delta = (delta @ layer["kernel"].T) * (1 - before**2)
    return {"Dense_0": found[0]} | {
        name: {"Dense_0": one} for name, one in zip(names, found[:0:-1], strict=True)
    }


def errors(net: Callable, broken: jax.typing.ArrayLike, key: jax.Array) -> dict[str, jax.Array]:
    """How far the gradient is from central differences and from that by hand, relative to the largest."""
    model, draw = net()
    x = draw(fdl.rng.stream(key, "x"))
    parameters = nn.unbox(model.init(fdl.rng.stream(key, "parameters"), x))
    size = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    directions = jax.random.normal(fdl.rng.stream(key, "directions"), (DIRECTIONS, size)) / math.sqrt(size)
    with jax.enable_x64(True):
        wide = lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a  # noqa: E731
        x, directions, parameters = jax.tree.map(wide, (x, directions, parameters))
        flat, unravel = ravel_pytree(parameters)
        loss = functools.partial(loss_of, model, unravel, x)
        gradient = jax.grad(loss)(flat, wide(jnp.asarray(broken)))
        between = lambda d: (loss(flat + STEP * d) - loss(flat - STEP * d)) / (2 * STEP)  # noqa: E731
        found = {"differences": relative(directions @ gradient, jax.vmap(between)(directions))}
        if net is mlp:
            hand = {"params": by_hand(parameters["params"], x)}
            found["by_hand"] = relative(gradient, ravel_pytree(hand)[0])
        return found


def relative(given: jax.Array, reference: jax.Array) -> jax.Array:
    return (jnp.max(jnp.abs(given - reference)) / jnp.max(jnp.abs(reference))).astype(jnp.float32)


@functools.cache
def counted(mode: str, width: int, depth: int) -> dict[str, float]:
    """What a gradient costs, in units of what the loss alone does, and in FLOPs."""
    model, draw = mlp(width, depth)
    apply: Callable[..., Any] = model.apply
    x = jax.eval_shape(draw, jax.random.key(0))
    start = jax.eval_shape(lambda key: nn.unbox(model.init(key, jnp.zeros(x.shape))), jax.random.key(0))
    loss = lambda parameters, x: jnp.mean(jnp.square(apply(parameters, x)))  # noqa: E731
    forward = lambda parameters, x, to: jax.jvp(lambda p: loss(p, x), (parameters,), (to,))  # noqa: E731
    with jax.default_device(jax.devices("cpu")[0]):
        alone: Any = jax.jit(loss).lower(start, x).compile()
        if mode == "reverse":
            times, program = 1, jax.jit(jax.value_and_grad(loss)).lower(start, x)
        else:
            times, program = size(width, depth), jax.jit(forward).lower(start, x, start)
        compiled: Any = program.compile()
    flops = times * compiled.cost_analysis()["flops"]
    memory = [one.memory_analysis().temp_size_in_bytes for one in (compiled, alone)]
    return {
        "flops": flops,
        "ratio": flops / alone.cost_analysis()["flops"],
        "memory": memory[0] / memory[1],
    }


def size(width: int, depth: int = 2) -> int:
    """The number of parameters."""
    widths = (INPUTS, *(width,) * depth, OUTPUTS)
    return sum((before + 1) * after for before, after in itertools.pairwise(widths))


def experiment(config: Config) -> fdl.Experiment:
    def evaluate(state, batch, key):
        if config.mode is None:
            found = errors(config.net, config.broken, key)
        else:
            found = counted(config.mode, config.width, config.depth)
        return {name: metrics.mean(jnp.full(1, value), batch["weight"]) for name, value in found.items()}

    learner = fdl.Learner(lambda key: jnp.zeros(1), lambda state, batch, key: (state, {}), evaluate, ())
    source = data.sequential({"x": np.zeros(1, np.float32)}, batch_size=1)
    return fdl.Experiment(learner, source, {"gradient": source}, steps=1, evaluate_every=1)


CHECKS = fdl.grid(Config(), net=(mlp, conv, lstm, gpt), broken=(0.0, 1.0), seeds=20)
COSTS = fdl.grid(Config(), mode=("reverse", "forward"), width=WIDTHS, seeds=1)
SWEEP = CHECKS + COSTS + fdl.grid(Config(), mode=("reverse", "forward"), depth=DEPTHS, seeds=1)


def exact(result: fdl.Result, metric: str, within: float, broken: float) -> fdl.Verdict:
    nets = [mlp] if metric == "by_hand" else [mlp, conv, lstm, gpt]
    own = result.where(mode=None, net=nets, broken=broken)
    return fdl.compare_rates(
        own, metric=f"gradient/{metric}", threshold=within, at_least=0.8, arms="net", better="lower"
    ).verdict


def of(result: fdl.Result, metric: str, **arms) -> np.ndarray:
    """A count of every arm, in the order of widths and depths."""
    last = result.where(**arms).last().sort_values(["width", "depth"])
    return last[f"gradient/{metric}"].to_numpy()


def verdict(holds: bool, sentence: str, criterion: str) -> fdl.Verdict:
    """Counted out, not tested."""
    return fdl.Verdict("SUPPORTED" if holds else "REFUTED", sentence, criterion, ())


def slope(values: np.ndarray) -> float:
    """Of the logarithm over that of the number of parameters, from the smallest net to the largest."""
    return math.log(values[-1] / values[0]) / math.log(size(WIDTHS[-1]) / size(WIDTHS[0]))


def cheap(result: fdl.Result, mode: str) -> fdl.Verdict:
    ratios = of(result, "ratio", mode=mode, depth=2)
    told = ", ".join(f"{one:.3g} at {size(width):,}" for one, width in zip(ratios, WIDTHS, strict=True))
    return verdict(
        bool((ratios <= 5).all() and slope(ratios) <= 0.1),
        f"FLOPs of {mode} mode over those of the loss: {told} parameters; slope {slope(ratios):.3f}.",
        "the ratio is at most 5 at every size, and its slope over the parameters (log-log) at most 0.1",
    )


def free(result: fdl.Result) -> fdl.Verdict:
    grows = slope(of(result, "flops", mode="reverse", depth=2))
    criterion = "the slope of its FLOPs over the number of parameters (log-log) is within ±0.1 of 0"
    return verdict(abs(grows) <= 0.1, f"the slope is {grows:.3f}.", criterion)


def hungry(result: fdl.Result, mode: str) -> fdl.Verdict:
    shallow, deep = of(result, "memory", mode=mode, width=16, depth=list(DEPTHS))
    return verdict(
        bool(deep >= 2 * shallow),
        f"{mode} mode needs {shallow:.2f} times the loss's memory at {DEPTHS[0]} layers, {deep:.2f} at "
        f"{DEPTHS[1]}.",
        f"with {DEPTHS[1]} layers the ratio is at least twice that with {DEPTHS[0]}",
    )


CLAIMS = (
    fdl.Claim(
        "F9.1",
        "Backpropagation gives the exact gradient: that of central differences within 1e-6.",
        functools.partial(exact, metric="differences", within=1e-6, broken=0.0),
        control=functools.partial(exact, metric="differences", within=1e-6, broken=1.0),
    ),
    fdl.Claim(
        "F9.2",
        "It is the chain rule: that written out by hand gives the same within 1e-12.",
        functools.partial(exact, metric="by_hand", within=1e-12, broken=0.0),
        control=functools.partial(exact, metric="by_hand", within=1e-12, broken=1.0),
    ),
    fdl.Claim(
        "F9.3",
        "With the loss it costs at most 5 times the loss alone, whatever the number of parameters.",
        functools.partial(cheap, mode="reverse"),
        control=functools.partial(cheap, mode="forward"),
        published="at most 4 to 5 times (Baur and Strassen 1983; Griewank and Walther 2008)",
    ),
    fdl.Claim("F9.4", "Its cost itself does not depend on the number of parameters.", free),
    fdl.Claim(
        "F9.5",
        "It pays in memory, for every layer: at 16 layers at least twice as many times the loss's as at 4.",
        functools.partial(hungry, mode="reverse"),
        control=functools.partial(hungry, mode="forward"),
    ),
)


def figure(result: fdl.Result) -> Figure:
    """What all derivatives cost over what the loss costs, against the number of parameters."""
    drawing = Figure(figsize=(5.2, 3.0), layout="constrained")
    axis, sizes = drawing.subplots(), [size(width) for width in WIDTHS]
    for mode, color in (("forward", "#c1582f"), ("reverse", "#2f7fc1")):
        axis.loglog(sizes, of(result, "ratio", mode=mode, depth=2), "o-", color=color, label=f"{mode} mode")
    axis.axhline(5, color="#808080", linestyle="--", linewidth=1, label="5, the bound of theory")
    axis.set(xlabel="parameters", ylabel="FLOPs of the gradient / of the loss")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return drawing
