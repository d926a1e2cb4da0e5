"""Which functions of a few bits does a net without a hidden layer learn?

A threshold on a weighted sum separates 14 of the 16 functions of two bits, all but XOR and its negation, and
104 of the 256 of three bits (Minsky and Papert 1969, Perceptrons, sec. 2; the numbers are OEIS A000609). With
a hidden layer of 16 units all are learned. Here every function of two and of three bits is a run of its own,
1,632 in three kinds of nets. A run has learned its function if it is right in all rows of the table at last.

Against it: a linear model on products of the inputs learns XOR too; and "one layer" means no hidden layer
here, where others call one hidden layer so. That the layer is not enough, but its nonlinearity is needed,
is the control: with 16 linear units the same functions are learned as with none.

    fdl sweep experiments/boolean_functions.py

About 1 minute on 2 shared cores.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import fdl
from fdl import data, models, tasks

SEPARABLE = {2: 14, 3: 104}


def identity(x):
    """No nonlinearity."""
    return x


@fdl.config
class Config:
    bits: int = fdl.static(3, low=1)
    """inputs of the function"""
    hidden: int = fdl.static(0, low=0)
    """units of the hidden layer; 0 for none"""
    activation: Callable = nn.tanh
    """of the hidden layer"""
    function: float = fdl.traced(0.0, low=0.0)
    """its truth table as a number: the value in row r is bit r"""
    steps: int = fdl.static(1000, low=1)
    """updates of the whole table by Adam at 0.05"""


def experiment(config: Config) -> fdl.Experiment:
    table = data.synthetic.truth_table(0, inputs=config.bits)
    model = models.MLP((config.hidden,) * (config.hidden > 0), 2, activation=config.activation)
    learner = tasks.classification_learner(model, data.Splits(table, table, table), optax.adam(0.05))

    def rows(x: jax.Array, step: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        del step, key
        bits = jnp.asarray(config.function, jnp.int32) >> jnp.arange(len(x))
        return {"x": x, "y": bits & 1}

    source = fdl.Source(table["x"], rows, 1)
    return fdl.Experiment(learner, source, {"table": source}, steps=config.steps, evaluate_every=config.steps)


def nets(bits: int) -> fdl.Sweep:
    """All functions of so many bits, by a net without a hidden layer, with one, and with a linear one."""
    functions = tuple(map(float, range(2**2**bits)))
    each = {"bits": (bits,), "function": functions, "seeds": 2}
    flat = fdl.grid(Config(), hidden=(0,), **each)
    return flat + fdl.grid(Config(), hidden=(16,), activation=(nn.tanh, identity), **each)


SWEEP = nets(2) + nets(3)


def learned(result: fdl.Result, bits: int, **net) -> np.ndarray:
    """How many functions of so many bits each seed's nets have learned."""
    last = result.where(bits=bits, **net).last()
    return (last["table/accuracy"] == 1).groupby(last["seed"]).sum().to_numpy()


def exactly(result: fdl.Result, expected: dict[int, int], **net) -> fdl.Verdict:
    """Whether every seed has learned so many functions, by the number of bits: counted out, not tested."""
    counts = {bits: learned(result, bits, **net) for bits in expected}
    same = all((counts[bits] == number).all() for bits, number in expected.items())
    told = "; ".join(
        f"of {2**2**bits} functions of {bits} bits {found.tolist()}" for bits, found in counts.items()
    )
    wanted = " and ".join(f"{number} of {2**2**bits}" for bits, number in expected.items())
    return fdl.Verdict(
        "SUPPORTED" if same else "REFUTED",
        f"learned by the seeds: {told}.",
        f"every seed learns {wanted}",
        (),
    )


def without_hidden(result: fdl.Result) -> fdl.Verdict:
    return exactly(result, SEPARABLE, hidden=0)


def with_hidden(result: fdl.Result) -> fdl.Verdict:
    return exactly(result, {bits: 2**2**bits for bits in SEPARABLE}, hidden=16, activation=nn.tanh)


def with_linear_hidden(result: fdl.Result) -> fdl.Verdict:
    return exactly(result, {bits: 2**2**bits for bits in SEPARABLE}, hidden=16, activation=identity)


CLAIMS = (
    fdl.Claim(
        "F2.1",
        "Without a hidden layer a net learns exactly the 14 and 104 linearly separable functions.",
        without_hidden,
        published="14 of 16 and 104 of 256 are separable (OEIS A000609)",
    ),
    fdl.Claim(
        "F2.2",
        "With a hidden layer of 16 units it learns all 16 and 256.",
        with_hidden,
        control=with_linear_hidden,
        published="XOR by a hidden layer (Rumelhart et al. 1986)",
    ),
)


def figure(result: fdl.Result) -> Figure:
    """How many functions each kind of net learns, on average over seeds."""
    kinds = {
        "no hidden layer": {"hidden": 0},
        "16 linear units": {"hidden": 16, "activation": identity},
        "16 tanh units": {"hidden": 16, "activation": nn.tanh},
    }
    drawing = Figure(figsize=(6.2, 2.4), layout="constrained")
    for axis, bits in zip(drawing.subplots(1, 2, sharey=True), SEPARABLE, strict=True):
        found = [learned(result, bits, **net).mean() for net in kinds.values()]
        axis.bar_label(axis.barh(list(kinds), found, color="#2f7fc1"), fmt="%.0f", padding=3)
        axis.axvline(SEPARABLE[bits], color="#808080", linestyle="--", linewidth=1)
        axis.set(xlim=(0, 1.15 * 2**2**bits), title=f"of {2**2**bits} functions of {bits} bits")
        axis.spines[["top", "right"]].set_visible(False)
    drawing.supxlabel("functions learned; dashed: linearly separable", fontsize=9)
    return drawing
