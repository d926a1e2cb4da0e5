"""`fdl plan FILE --topology --fit`: the largest batch, and the cheapest mesh, that fit."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from fdl.aot.chips import parse_slice
from fdl.aot.estimate import Estimate
from fdl.aot.roofline import Roofline
from fdl.aot.target import Target
from fdl.aot.worker import Request, compiled, request_of
from fdl.configs import traced_fields, values
from fdl.formats import duration, memory
from fdl.parallel.plan import Plan
from fdl.report.terminal import PLAIN
from fdl.sweeps.units import Group

Say = Callable[[str], None]
"""Prints a line."""
LARGEST = 2**20
"""Rows on a device beyond which the search does not go."""


class Try(NamedTuple):
    """One batch size that was tried.

    Attributes:
      rows: in a batch on one device.
      found: what the compiler made of it; or why it cannot be compiled.
    """

    rows: int
    found: Estimate | str

    @property
    def fits(self) -> bool:
        """Whether it can run."""
        return isinstance(self.found, Estimate) and self.found.refusal is None


class Setting(NamedTuple):
    """A mesh and a config with the largest batch that fits.

    Attributes:
      plan: the mesh.
      config: with that batch.
      rows: of it on one device.
      held: bytes that one device must set aside.
      row_seconds: the expected time of a row of a batch; the least where nothing is known of the chip.
      mfu: the model FLOPs utilisation at that time.
      limit: what that time comes from.
    """

    plan: Plan
    config: Any
    rows: int
    held: int
    row_seconds: float
    mfu: float
    limit: str


def largest(attempt: Callable[[int], Try], available: float, first: int) -> Try | None:
    """The largest power of two of rows that fits, or None.

    What two tries need says what others will, so that few are made; the answer itself, and that twice
    its rows do not fit, are tried.

    Args:
      attempt: tries a number of rows.
      available: bytes of a device.
      first: rows to begin with, a power of two.
    """
    tried: dict[int, Try] = {}
    low, high, exponent = -1, int(math.log2(LARGEST)) + 1, int(math.log2(first))
    while low + 1 < high:
        one = tried[exponent] = attempt(2**exponent)
        low, high = (max(low, exponent), high) if one.fits else (low, min(high, exponent))
        exponent = min(max(_guess(tried, available), low + 1), high - 1)
    return tried.get(low)


def _guess(tried: dict[int, Try], available: float) -> int:
    """The exponent of the largest number of rows that should fit: memory grows as a straight line."""
    known = [(one.rows, one.found.held) for one in tried.values() if isinstance(one.found, Estimate)]
    if not known:
        return min(tried) - 1
    (rows, held), *others = sorted(known, key=lambda point: abs(point[1] - available))
    slope = held / rows
    if others and (held - others[0][1]) / (rows - others[0][0]) > 0:
        slope = (held - others[0][1]) / (rows - others[0][0])
    return math.floor(math.log2(max(rows + (available - held) / slope, 1)))


def search_all(
    path: Path,
    groups: Sequence[Group],
    plans: Sequence[Plan],
    target: Target,
    console: Console,
    *,
    as_json: bool = False,
) -> int:
    """Searches for each program of a sweep, and prints every try; returns the exit code.

    Args:
      path: the experiment's file.
      groups: the programs' runs.
      plans: how they would run; where no mesh was named, one run over all devices is tried.
      target: what to compile for.
      console: where to print.
      as_json: print the results in one line of JSON too.

    Raises:
      ValueError: the config has no field for the batch size.
    """
    config = groups[0].trials[0].config
    named = values(config)
    if not isinstance(named.get("batch_size"), int) or "batch_size" in traced_fields(type(config)):
        raise ValueError(
            f"--fit needs a field `batch_size: int` in {type(config).__name__}; it has {', '.join(named)}"
        )
    say: Say = lambda line: console.print(line, **PLAIN)  # noqa: E731
    results = []
    for number, (group, plan) in enumerate(zip(groups, plans, strict=True), 1):
        say(f"program {number}: {group.trials[0].arm}")
        meshes = [plan._replace(members=plan.population)] if target.mesh else _meshes(plan)
        settings = _search(request_of(path, group.trials[0].config, plan, target), meshes, say)
        cheapest = min(settings, key=lambda one: (one.row_seconds, one.plan.fsdp), default=None)
        say(_conclusion(settings, cheapest, target))
        results.append([_data(one, cheapest=one is cheapest) for one in settings])
    if as_json:
        print(json.dumps({"topology": str(target.part), "slices": target.slices, "programs": results}))
    return 0 if all(results) else 1


def _search(base: Request, meshes: Sequence[Plan], say: Say) -> list[Setting]:
    """The largest batch of each setting, the likeliest cheapest first, until none can be cheaper."""
    remat = values(base.config).get("remat")
    found = []
    for again in (False, True) if isinstance(remat, bool) else (None,):
        for mesh in meshes:
            changed = {} if again is None else {"remat": again}
            config = dataclasses.replace(base.config, **changed)
            setting = _largest(base._replace(config=config, plan=mesh), changed, say)
            if setting is None:
                continue
            found.append(setting)
            if setting.limit == "compute" and not again:
                say("  limited by its products alone: no other setting can be cheaper")
                return found
    return found


def _meshes(plan: Plan) -> list[Plan]:
    """One run over all devices: those of `data` and `fsdp`, the least communication first."""
    sizes = [n for n in range(1, plan.devices + 1) if plan.devices % n == 0]
    whole = plan._replace(members=1, population=1, tensor=1)
    return [
        whole._replace(data=plan.devices // fsdp, fsdp=fsdp)
        for fsdp in (sizes if plan.strategy != "pmap" else [1])
    ]


def _largest(base: Request, changed: dict[str, Any], say: Say) -> Setting | None:
    """The largest batch of one setting."""
    plan, config = base.plan, base.config
    shares, chip = plan.data * plan.fsdp, parse_slice(base.topology).chip
    words = ", ".join([plan.mesh, *(f"{field}={value}" for field, value in changed.items())])

    def with_rows(rows: int) -> Any:
        return dataclasses.replace(config, batch_size=rows * shares)

    def attempt(rows: int, *, quick: bool = base.quick) -> Try:
        one = Try(rows, compiled(base._replace(config=with_rows(rows), quick=quick)))
        little = ", little optimised" if quick else ""
        say(f"  {words}: {rows} rows a device{little}: {_verdict(one, rows * shares * plan.members)}")
        return one

    first = 2 ** max(0, math.floor(math.log2(max(config.batch_size / shares, 1))))
    best = largest(attempt, chip.memory_free, first)
    if best and base.quick:  # what is ranked is the program that will run
        best = _halved(functools.partial(attempt, quick=False), best.rows)
    if best is None or not isinstance(best.found, Estimate):
        return None
    roof = _time_of(best.found)
    seconds = roof.seconds / (best.rows * shares * plan.members)
    return Setting(plan, with_rows(best.rows), best.rows, best.found.held, seconds, roof.mfu, roof.limit)


def _halved(attempt: Callable[[int], Try], rows: int) -> Try | None:
    """The first that fits of so many rows, half as many, and so on."""
    while rows:
        if (one := attempt(rows)).fits:
            return one
        rows //= 2
    return None


def _time_of(found: Estimate) -> Roofline:
    """What is expected; the least where nothing is known of the chip."""
    return found.expected or found.roofline


def _verdict(one: Try, rows: int) -> str:
    if isinstance(one.found, str):
        return f"cannot be compiled: {one.found}"
    if one.found.refusal:
        return f"does not fit: {memory(one.found.held)} of {memory(one.found.refusal.available)}"
    roof = _time_of(one.found)
    least, most = ("about", "") if one.found.expected else ("at least", "at most ")
    return (
        f"fits, {memory(one.found.held)}; {least} {duration(roof.seconds / rows)} a row ({roof.limit}), "
        f"MFU {most}{roof.mfu:.0%}"
    )


def _conclusion(settings: Sequence[Setting], cheapest: Setting | None, target: Target) -> str:
    if cheapest is None:
        return "  nothing fits: take a smaller model or more chips"
    most = max(settings, key=lambda one: one.rows)
    flags = f"--mesh {cheapest.plan.mesh} --batch-size {cheapest.config.batch_size}"
    if target.strategy != "jit":
        flags += f" --strategy {target.strategy}"
    remat = values(cheapest.config).get("remat")
    if isinstance(remat, bool):
        flags += " --remat" if remat else " --no-remat"
    return (
        f"  largest batch of the settings tried: {most.rows} rows a device ({most.plan.mesh})\n"
        f"  cheapest, by the {_kind(target)} time of a row: {flags}{_money(cheapest, target)}"
    )


def _money(setting: Setting, target: Target) -> str:
    if target.price is None:
        return ""
    hours = setting.row_seconds / 3600 * target.chips
    return f"; {_kind(target)} {1e6 * hours * target.price:,.3g} for a million rows"


def _kind(target: Target) -> str:
    """What a setting's time is."""
    return "least" if target.part.chip.achieved is None else "expected"


def _data(setting: Setting, *, cheapest: bool) -> dict[str, Any]:
    return {
        "mesh": setting.plan.mesh,
        "remat": values(setting.config).get("remat"),
        "batch_size": setting.config.batch_size,
        **{name: getattr(setting, name) for name in ("rows", "held", "row_seconds", "mfu", "limit")},
        "cheapest": cheapest,
    }
