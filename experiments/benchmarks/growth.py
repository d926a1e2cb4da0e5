"""By which power does the time grow, if a run, a sweep or a checkpoint grows?

    uv run python experiments/benchmarks/growth.py

Each curve is a program at several sizes, measured by turns, after a first round that compiles. In every
round a straight line is fitted to the logarithms of time and size; its slope is the exponent, whose median
and range over rounds are printed, with a plot of the median times, in which a bar is as long as the logarithm
of the time. A fixed cost, which small sizes show, makes an exponent smaller than that of what grows.

`steps`: of a perceptron 64-64-10 on digits. `members` of it, side by side. `parameters` of a perceptron of
two hidden layers. `rows` of the split that is evaluated. `arms` of a sweep whose runs are all on disk: what
its second command does, from the grid to the table. `checkpoint`: megabytes that are saved, until they are on
disk.
`--only steps` measures one.
"""

import argparse
import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from digits_net import Config, net
from gpu_lines import Line, by_turns, told

import fdl
from fdl import data, metrics, models, tasks
from fdl.experiment import Learner, Source
from fdl.parallel.plan import Plan
from fdl.train.loop import execute
from fdl.train.program import compile_program, stack_members
from fdl.train.rows import metric_names
from fdl.train.run import arrays_of, evaluation_steps
from fdl.train.runtime import machine, prepare
from fdl.train.saving import Saving

ROUNDS = 5
STEPS = (1_000, 2_000, 4_000, 8_000, 16_000)
MEMBERS = (1, 4, 16, 64, 256)
WIDTHS = (64, 128, 256, 512, 1024)
ROWS = (4_000, 16_000, 64_000, 256_000)
ARMS = (30, 100, 300, 1_000)
MEGABYTES = (4, 16, 64, 256)


class Curve(NamedTuple):
    """What is measured at several sizes.

    Attributes:
      runs: by size, what takes the time.
      at_most: the exponent that is expected at most; None where there is no goal.
    """

    runs: Mapping[float, Callable[[], None]]
    at_most: float | None = None


def main() -> None:
    """Measures and prints."""
    curves = {
        "steps": lambda: Curve({n: training(perceptron(steps=n)) for n in STEPS}, 1.0),
        "members": lambda: Curve({n: training(perceptron(steps=1_000), n) for n in MEMBERS}, 1.0),
        "parameters": lambda: Curve(dict(wide(width) for width in WIDTHS)),
        "rows": lambda: Curve({n: training(evaluated(n)) for n in ROWS}),
        "arms": lambda: Curve({n: known(n) for n in ARMS}, 1.1),
        "checkpoint": lambda: Curve({n: saved(n) for n in MEGABYTES}),
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(curves), action="append", default=[])
    asked = parser.parse_args().only or list(curves)
    prepare()
    print(f"{machine()}, {os.cpu_count()} cores; {ROUNDS} rounds; load {os.getloadavg()[0]:.1f}", flush=True)
    for name in asked:
        curve = curves[name]()
        seconds = by_turns({f"{size:g}": run for size, run in curve.runs.items()}, ROUNDS)
        print(told(exponent(name, seconds, curve.at_most)))
        print(plot({size: float(np.median(each)) for size, each in seconds.items()}), flush=True)


def exponent(name: str, seconds: Mapping[str, list[float]], at_most: float | None = None) -> Line:
    """The slope of log time over log size: the median over rounds, and the range.

    Args:
      name: of what grows.
      seconds: by size, the seconds of each round.
      at_most: the goal.
    """
    sizes = np.log([float(size) for size in seconds])
    slopes = [np.polyfit(sizes, np.log(each), 1)[0] for each in zip(*seconds.values(), strict=True)]
    target = None if at_most is None else ("≤", at_most)
    note = f"{min(slopes):.3f} to {max(slopes):.3f}"
    return Line(f"time against {name}", float(np.median(slopes)), "exponent", note, target)


def plot(seconds: Mapping[str, float]) -> str:
    """A line for each size, with a bar as long as the logarithm of its time."""
    floor = min(seconds.values()) / 2
    lengths = {size: round(10 * np.log2(one / floor)) for size, one in seconds.items()}
    longest = max(lengths.values())
    scale = min(1.0, 60 / longest)
    return "\n".join(
        f"    {size:>8} {'█' * round(scale * length)} {1e3 * seconds[size]:.4g} ms"
        for size, length in lengths.items()
    )


def training(experiment: fdl.Experiment, members: int = 1) -> Callable[[], None]:
    """A run of its steps and its evaluation, in memory; so many side by side, on one core."""
    keys = jax.vmap(jax.random.key)(jnp.arange(members))
    stacked = stack_members([()] * members, keys, pad_to=members)
    plan = Plan(members, "vmap", "scan", 1)
    program = compile_program(lambda _: experiment, stacked, arrays_of(experiment), plan)
    schedule, names = evaluation_steps(experiment), metric_names(experiment)
    return lambda: jax.block_until_ready(execute(program, stacked, schedule, names).carry) and None


def perceptron(*, steps: int) -> fdl.Experiment:
    """The net of the sweeps' benchmarks."""
    return net(Config(), epochs=1, batch=32)._replace(steps=steps, evaluate_every=steps)


def wide(width: int) -> tuple[int, Callable[[], None]]:
    """The parameters of a perceptron so wide, and 200 steps of it on batches of 64."""
    model = models.MLP((width, width), 10)
    made = tasks.classification(model, data.digits(), optax.adam(1e-3), steps=200, batch_size=64)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes)), training(made._replace(evaluate_every=200))


def evaluated(rows: int) -> fdl.Experiment:
    """One step, and the evaluation of so many rows."""
    part = data.digits().train
    many = {name: np.resize(np.asarray(part[name]), (rows, *part[name].shape[1:])) for name in ("x", "y")}
    made = tasks.classification(
        models.MLP((64,), 10), data.Splits(part, many, many), optax.adam(1e-3), steps=1, batch_size=32
    )
    return made._replace(evaluation={"test": made.evaluation["test"]})


@fdl.config
class Toy:
    """An arm."""

    slope: float = 0.0


def idle(config: Toy, *, shape: tuple[int, ...] = ()) -> fdl.Experiment:
    """Nothing is learned, so that the time is that of fdl."""

    def measured(state: jax.Array, batch: jax.Array, key: jax.Array) -> dict[str, metrics.Mean]:
        return {"loss": metrics.mean(state.ravel()[:1])}

    def step(state: jax.Array, batch: jax.Array, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        return state + config.slope, {"loss": state.ravel()[0]}

    learner = Learner(lambda key: jnp.zeros(shape), step, measured)
    source = Source((), lambda arrays, step, key: jnp.float32(0.0), 1)
    return fdl.Experiment(learner, source, {"test": source}, 2, 2)


def known(arms: int) -> Callable[[], None]:
    """A sweep of so many arms that is trained, and asked for once more."""
    place = Path(kept().name) / f"arms-{arms}"
    space = fdl.grid(Toy(), slope=tuple(np.linspace(0.0, 1.0, arms).tolist()), seeds=2)
    fdl.sweep(idle, space, workdir=place)
    return lambda: fdl.sweep(idle, space, workdir=place) and None


def saved(megabytes: int) -> Callable[[], None]:
    """A run of two steps of a state so large, with its checkpoint."""
    one = idle(Toy(), shape=(megabytes, 250_000))
    stacked = stack_members([()], jax.random.key(0)[None], pad_to=1)
    program = compile_program(lambda _: one, stacked, arrays_of(one), Plan(1, "vmap", "scan", 1))

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            execute(program, stacked, [2], metric_names(one), directory=Path(folder), saving=Saving(steps=2))

    return run


@functools.cache
def kept() -> "tempfile.TemporaryDirectory[str]":
    """A folder that goes when the program ends."""
    return tempfile.TemporaryDirectory()


if __name__ == "__main__":
    main()
