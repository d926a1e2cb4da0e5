"""`fdl plan FILE --topology`: every program of a sweep, compiled for TPUs that are not there."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
from rich.console import Console

from fdl.aot import batch_search
from fdl.aot.estimate import Estimate
from fdl.aot.report import ProgramReport, data_of, lines, runs
from fdl.aot.target import Target
from fdl.aot.topology import check_compiler, check_slices
from fdl.aot.worker import compiled, request_of
from fdl.configs import replaced
from fdl.experiment_file import ExperimentFile
from fdl.parallel.plan import Overrides, Plan, check_mesh, filled, parse_mesh, sizes_of, spans_of
from fdl.parallel.sharding import on_mesh
from fdl.report.terminal import PLAIN
from fdl.sweeps import Sweep, Trial
from fdl.sweeps.check import checked_groups
from fdl.sweeps.units import Group

MISFIT = 1
"""Exit code where a program does not fit or cannot be compiled."""


def plan_for(
    path: Path,
    file: ExperimentFile,
    target: Target,
    space: Sweep,
    console: Console,
    *,
    as_json: bool = False,
) -> int:
    """Compiles and prints; returns the exit code.

    Args:
      path: the experiment's file.
      file: what it defines.
      target: what to compile for.
      space: the trials.
      console: where to print.
      as_json: print all in one line of JSON too.

    Raises:
      ValueError: bad input, or libtpu is missing.
    """
    check_slices(target.part, target.slices)
    check_compiler()
    jax.config.update("jax_platforms", "cpu")  # nothing runs here, and libtpu is loud where there is no TPU
    groups = checked_groups(file.experiment, space, None, Overrides(target.members))
    plans = [_plan(group, target) for group in groups]
    console.print(file.question, style="bold", **PLAIN)
    console.print(
        f"for {target.slices} x {target.part}, {target.chips} chips: {len(groups)} "
        f"program{'s' if len(groups) > 1 else ''} to compile",
        **PLAIN,
    )
    if target.fit:
        return batch_search.search_all(path, groups, plans, target, console, as_json=as_json)
    outlooks = []
    for number, (group, plan) in enumerate(zip(groups, plans, strict=True), 1):
        with console.status(f"compiling program {number} of {len(groups)}"):
            outlook = _outlook(path, group, plan, target)
        console.print("\n".join([f"program {number}: {lines(outlook)[0]}", *lines(outlook)[1:]]), **PLAIN)
        outlooks.append(outlook)
    hours = sum(outlook.hours(outlook.seconds) for outlook in outlooks if outlook.fits)
    likely = [(outlook, outlook.expected_seconds) for outlook in outlooks if outlook.fits]
    known = [outlook.hours(seconds) for outlook, seconds in likely if seconds is not None]
    expected = sum(known) if likely and len(known) == len(likely) else None
    _total(outlooks, hours, expected, target, console)
    if as_json:
        whole = {
            "name": file.name,
            "topology": str(target.part),
            "slices": target.slices,
            "chip_hours": hours,
        }
        whole["money"] = None if target.price is None else hours * target.price
        whole["expected_chip_hours"] = expected
        whole["expected_money"] = None
        if target.price is not None and expected is not None:
            whole["expected_money"] = expected * target.price
        whole["programs"] = [data_of(outlook, target.price) for outlook in outlooks]
        print(json.dumps(whole))
    return 0 if all(outlook.fits for outlook in outlooks) else MISFIT


def single(file: ExperimentFile, changed: dict, seeds: int | None) -> Sweep:
    """The one run of a file without a sweep, or that of several seeds."""
    return Sweep((Trial("run", replaced(file.config(), changed), 0),)).with_seeds(seeds or 1)


def _plan(group: Group, target: Target) -> Plan:
    """How a group's members would run: as `--mesh` says, or spread over the devices.

    Raises:
      ValueError: the mesh does not fit the slice, or the experiment the mesh.
    """
    each = target.part.chips * target.part.chip.devices
    devices = each * target.slices
    count = min(target.members or len(group.trials), len(group.trials))
    if target.mesh is None:
        return _spread(group, target, devices, count)
    mesh = filled(parse_mesh(target.mesh), devices)
    check_mesh(mesh, strategy=target.strategy, slices=[each] * target.slices)
    base = Plan(1, "vmap", "scan", strategy=target.strategy, spans=spans_of(mesh))._replace(**sizes_of(mesh))
    if base.devices != devices:
        raise ValueError(
            f"the mesh {target.mesh} takes {base.devices} devices, but {target.slices} x {target.part} has "
            f"{devices}; the sizes of data, fsdp and tensor must divide that"
        )
    return _filled(group, base, count, any_rows=target.fit)


def _spread(group: Group, target: Target, devices: int, count: int) -> Plan:
    """Members over as many devices as there are members, rows over the rest."""
    most = 1 if target.strategy == "pmap" else count
    fitting = [n for n in range(min(most, devices), 0, -1) if devices % n == 0]
    problem: ValueError | None = None
    for population in fitting:
        base = Plan(1, "vmap", "scan", population, devices // population, strategy=target.strategy)
        try:
            return _filled(group, base, count, any_rows=target.fit)
        except ValueError as error:
            problem = error
    raise ValueError(f"{problem}; or name a mesh, as --mesh population={devices}")


def _filled(group: Group, base: Plan, count: int, *, any_rows: bool) -> Plan:
    """The plan with as many members as are asked for, and padding; `any_rows`: the batch size is open."""
    on_host = any(source.fetch for source in (group.experiment.train, *group.experiment.evaluation.values()))
    members = base.population if on_host else -(-count // base.population) * base.population
    plan = base._replace(members=members, loop="calls" if on_host else "scan")
    if not any_rows:
        on_mesh(group.experiment, plan)
    return plan


def _outlook(path: Path, group: Group, plan: Plan, target: Target) -> ProgramReport:
    """A group's program; with fewer members where they do not fit together, as when it runs."""
    found: Estimate | str = ""
    while True:
        found = compiled(request_of(path, group.trials[0].config, plan, target))
        each = plan.members // plan.population
        if isinstance(found, str) or found.refusal is None or each == 1:
            break
        fewer = int(each * found.refusal.available / found.refusal.needed)
        plan = plan._replace(members=plan.population * max(1, min(each - 1, fewer)))
    arms = list(dict.fromkeys(trial.arm for trial in group.trials))
    return ProgramReport(
        arms, len(group.trials), group.experiment.steps, plan, target.part, target.slices, target.quick, found
    )


def _total(
    outlooks: Sequence[ProgramReport], hours: float, expected: float | None, target: Target, console: Console
) -> None:
    trials = runs(sum(one.trials for one in outlooks if one.fits))
    money = lambda hours: f", costing {hours * target.price:,.3g}" if target.price else ""  # noqa: E731
    each = f" at {target.price:g} each" if target.price else ""
    lost = ", ".join(str(number) for number, one in enumerate(outlooks, 1) if not one.fits)
    likely = f"expected {expected:.3g} chip-hours{money(expected)}; " if expected is not None else ""
    console.print(
        f"{trials}: {likely}at least {hours:.3g} chip-hours{money(hours)}{each}"
        f"{f', without program {lost}' if lost else ''}. "
        "A lower bound, by the roofline of the training steps alone; evaluations and compiling come on top.",
        **PLAIN,
    )
