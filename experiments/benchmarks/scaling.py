"""How do the strategies scale from 1 to 512 chips, before any of them is paid for?

    uv run python experiments/benchmarks/scaling.py --plot scaling.png

A training step of a small GPT (4 layers of 256, 256 tokens of 1024) is compiled for TPU v5e by every
strategy, with 4 sequences a chip (weak scaling) and with 512 sequences in all (strong scaling); 512 chips
are two slices. Nothing runs: a line has, for each chip, the FLOPs of matrix products counted from the
program, the memory that the compiler sets aside, what the chip sends, and the roofline's lower bound of the
step's time, with what it comes from. `share` is the time of one chip over that of n (weak), or over n times
that of n (strong): 1 is perfect.

Compiled with libtpu (extra `tpu`), with little optimisation; where it is not installed, for as many
simulated CPU devices, whose memory and collectives are those of XLA's CPU compiler. `--chips 1,4` takes other
sizes. For more than one host libtpu's `pmap` cannot be compiled ahead: its lines say so. What a step takes on
an NVIDIA GPU, against PyTorch, `gpu.py` measures.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from fdl import data, models, tasks
from fdl.aot.chips import Slice, parse_slice, usual_shape
from fdl.aot.estimate import Estimate, estimate, from_data, to_data
from fdl.aot.topology import absent_mesh, load_compiler
from fdl.experiment import Experiment
from fdl.parallel.plan import Plan, mesh_of
from fdl.train.program import stack_members
from fdl.train.run import arrays_of

CHIPS = (1, 4, 16, 64, 256, 512)
STRATEGIES = ("population", "data jit", "data shard_map", "data pmap", "fsdp", "data fsdp", "data tensor")
CHIP = parse_slice("v5e:1x1").chip
WEAK, STRONG = 4, 512
"""Sequences a chip, and in all."""
VOCABULARY, LENGTH = 1024, 256


class Point(NamedTuple):
    """One program.

    Attributes:
      strategy: of `STRATEGIES`.
      chips: how many.
      scaling: `"weak"` or `"strong"`.
      found: what it will be; or why it cannot be.
    """

    strategy: str
    chips: int
    scaling: str
    found: Estimate | str


def main() -> None:
    """Compiles, and prints."""
    parser = argparse.ArgumentParser(description="How the strategies scale.")
    parser.add_argument("--chips", default=",".join(map(str, CHIPS)), help="how many, as 1,4,16")
    parser.add_argument("--plot", help="a file for the plot, as scaling.png")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        compile_one(arguments.one[0], int(arguments.one[1]))
        return
    chips = [int(number) for number in arguments.chips.split(",")]
    compiler = "libtpu" if has_libtpu() else "the CPU's compiler, simulated devices"
    print(f"GPT of 4 layers of 256, {LENGTH} tokens; {CHIP.name}; compiled with {compiler}", flush=True)
    points = []
    for strategy in STRATEGIES:
        for number in chips:
            points += compiled(strategy, number)
    for scaling in ("weak", "strong"):
        show([point for point in points if point.scaling == scaling])
    if arguments.plot:
        plot(points, arguments.plot)
        print(arguments.plot)


def has_libtpu() -> bool:
    """Whether the TPUs' compiler is installed."""
    return importlib.util.find_spec("libtpu") is not None


def compiled(strategy: str, chips: int) -> list[Point]:
    """Both programs of a strategy on so many chips, compiled in a process of their own."""
    command = [sys.executable, __file__, "--one", strategy, str(chips)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["crashed"])[-1][:100]
        return [Point(strategy, chips, scaling, why) for scaling in ("weak", "strong")]
    found = json.loads(done.stdout.splitlines()[-1])
    return [Point(strategy, chips, scaling, from_data(one)) for scaling, one in found.items()]


def compile_one(strategy: str, chips: int) -> None:
    """Prints both foresights as a line of JSON."""
    jax.config.update("jax_platforms", "cpu")
    if has_libtpu():
        load_compiler()
    else:
        jax.config.update("jax_num_cpu_devices", chips)
    jax.config.update("jax_optimization_level", "O0")
    plan = plan_of(strategy, chips)
    slices = max(1, chips // CHIP.pod)
    part = Slice(CHIP, usual_shape(CHIP, chips // slices))
    mesh = absent_mesh(plan, part, slices=slices) if has_libtpu() else mesh_of(plan)
    count = plan.members
    members = stack_members([()] * count, jax.random.split(jax.random.key(0), count), pad_to=count)
    found = {}
    for scaling, rows in (("weak", WEAK * chips), ("strong", STRONG)):
        made = gpt(rows // count)
        build = lambda _, made=made: made  # noqa: E731
        found[scaling] = to_data(estimate(build, members, arrays_of(made), plan, mesh, CHIP))
    print("\n" + json.dumps(found))


def plan_of(strategy: str, chips: int) -> Plan:
    """The mesh: halves of the chips, in powers of two, where there are two axes; at most 4 along `tensor`.

    Of a population each chip trains a member of its own, on its part of the rows.
    """
    axis, *rest = strategy.split()
    if strategy == "population":
        return Plan(chips, "vmap", "calls", chips)
    base = Plan(1, "vmap", "calls")
    if strategy == "fsdp":
        return base._replace(fsdp=chips)
    if rest[0] in ("fsdp", "tensor"):
        inner = min(chips, 4) if rest[0] == "tensor" else 2 ** (chips.bit_length() // 2)
        return base._replace(**{axis: chips // inner, rest[0]: inner})
    return base._replace(data=chips, strategy=rest[0])


def gpt(rows: int) -> Experiment:
    """Its layers are compiled once and looped over."""
    tokens = np.zeros((STRONG, LENGTH), np.int32)
    part = {"x": tokens, "y": tokens}
    model = models.gpt2(VOCABULARY, length=LENGTH, width=256, layers=4, heads=8, scan=True)
    splits = data.Splits(part, part, part)
    return tasks.language_modelling(model, splits, optax.adamw(1e-3), steps=10, batch_size=rows)


def show(points: Sequence[Point]) -> None:
    """Prints a table."""
    rows = f"{WEAK} sequences a chip" if points[0].scaling == "weak" else f"{STRONG} sequences in all"
    print(f"\n{points[0].scaling} scaling: {rows}")
    print("strategy        chips    GFLOP      MB  sent MB       µs  share  limit; collectives")
    for point in points:
        if isinstance(point.found, str):
            print(f"{point.strategy:15} {point.chips:5} {point.found}")
            continue
        found = point.found
        sent = sum(found.collectives.sent(between_slices=between) for between in (False, True))
        kinds = ", ".join(
            f"{one.runs} {one.kind}{' between slices' if one.between_slices else ''}"
            for one in found.collectives.each
        )
        print(
            f"{point.strategy:15} {point.chips:5} {found.cost.matrix / point.chips / 1e9:8.2f} "
            f"{found.held / 1e6:7.0f} {sent / 1e6:8.2f} {found.roofline.seconds * 1e6:8.1f} "
            f"{share(point, points):6.2f}  {found.roofline.limit}; "
            f"{kinds or 'none'}{' (DOES NOT FIT)' if found.refusal else ''}"
        )


def share(point: Point, points: Sequence[Point]) -> float:
    """How near a point is to perfect scaling from the fewest chips of its strategy."""
    first = next(one for one in points if one.strategy == point.strategy and not isinstance(one.found, str))
    assert isinstance(first.found, Estimate) and isinstance(point.found, Estimate)
    ratio = first.found.roofline.seconds / point.found.roofline.seconds
    return ratio if point.scaling == "weak" else ratio * first.chips / point.chips


def plot(points: Sequence[Point], path: str) -> None:
    """Draws both scalings, a line a strategy."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for panel, scaling in zip(panels, ("weak", "strong"), strict=True):
        for strategy, marker in zip(STRATEGIES, "osv^Dx", strict=True):
            line: list[Any] = [
                (point.chips, share(point, [one for one in points if one.scaling == scaling]))
                for point in points
                if (point.strategy, point.scaling) == (strategy, scaling) and not isinstance(point.found, str)
            ]
            panel.plot(*zip(*line, strict=True), marker=marker, label=strategy, alpha=0.8)
        panel.set(xscale="log", xlabel="chips", ylim=(0, 1.05), title=f"{scaling} scaling")
        panel.set_xticks(CHIPS, map(str, CHIPS))
        panel.axhline(1, color="grey", linewidth=0.5)
    panels[0].set_ylabel("share of perfect scaling (roofline)")
    panels[1].legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
