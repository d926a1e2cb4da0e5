"""What can be found wrong with a scheduler before its sweep begins."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fdl.arguments import check_value
from fdl.parallel.distributed import several
from fdl.sweeps.decision_check import check_going_on, checked_decision
from fdl.sweeps.lineages import name_of_changed
from fdl.sweeps.racing import reached
from fdl.sweeps.schedulers import Curves, Scheduler
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Group
from fdl.train.rows import metric_names
from fdl.train.run import evaluation_steps


def check_scheduler(scheduler: Any, groups: Sequence[Group], space: Sweep) -> list[str]:
    """Whether a scheduler can lead a sweep; the arms that it would change at once, by made-up curves.

    Raises:
      ValueError: it is none, or its rungs, its metric or the trials do not go together.
    """
    if not isinstance(scheduler, Scheduler):
        raise ValueError(
            f"the scheduler is a {type(scheduler).__name__}; expected fdl.successive_halving(...), "
            "fdl.asha(...), fdl.hyperband(...), fdl.pbt(...) or an fdl.Scheduler"
        )
    for name, kind in Scheduler.__annotations__.items():
        value = getattr(scheduler, name)
        # A range has whole numbers, and is not looked through: it may be as long as the longest run.
        check_value(f"the scheduler's {name}", (1,) if isinstance(value, range) else value, kind)
    if several():
        raise ValueError(
            "a scheduler leads a sweep in one process; start it on one host, without --coordinator"
        )
    _check_metric(scheduler, groups)
    _check_rungs(scheduler, groups)
    seeds: dict[str, set[int]] = {}
    for trial in space.trials:
        seeds.setdefault(trial.arm, set()).add(trial.seed)
    if taken := [arm for arm in seeds if name_of_changed(arm) in seeds]:
        raise ValueError(
            f"there are the arms {taken[0]!r} and {name_of_changed(taken[0])!r}, which is what a scheduler's "
            "sweep calls the first if its config changes; give one of them another name"
        )
    if len({frozenset(own) for own in seeds.values()}) > 1:
        raise ValueError(
            "the arms have different seeds, so a scheduler cannot compare them; give all the same"
        )
    return _rehearse_decision(scheduler, groups, space)


def _rehearse_decision(scheduler: Scheduler, groups: Sequence[Group], space: Sweep) -> list[str]:
    """Asks about made-up curves of the first population, at the first rung: what can be known to be wrong
    before anything is trained."""
    evaluations = evaluation_steps(groups[0].experiment)
    rungs = reached(scheduler, evaluations[-1])
    if not rungs:
        return []
    arms = {trial.arm: trial.config for trial in space.trials}
    configs = list(arms.values())
    waiting = tuple(range(min(scheduler.population or len(configs), len(configs))))
    steps = tuple(step for step in evaluations if step <= rungs[0])
    values = np.full((len(configs), len(steps)), np.nan)
    values[: len(waiting)] = 1 + np.arange(len(waiting))[:, None] / len(waiting)
    known = Curves(values, steps, waiting, rungs)
    going = scheduler.decide(known, configs, jax.random.key(scheduler.draw_seed))
    going = checked_decision(going, waiting, configs)
    check_going_on(going, configs, groups)
    return [list(arms)[one.arm] for one in going if (one.config, one.copy) != (None, None)]


def _check_metric(scheduler: Scheduler, groups: Sequence[Group]) -> None:
    metric = scheduler.metric
    if not metric.startswith("validation/"):
        raise ValueError(
            f"the scheduler's metric is {metric!r}: what chooses may not judge; expected a validation/..."
        )
    for group in groups:
        names = metric_names(group.experiment)
        if metric not in names:
            raise ValueError(f"no metric {metric!r} for the scheduler; there are: {', '.join(names)}")
        if group.experiment.stop:
            raise ValueError(
                "the experiment stops early by itself (stop), and a scheduler stops arms; use one of them"
            )


def _check_rungs(scheduler: Scheduler, groups: Sequence[Group]) -> None:
    kinds = {(group.experiment.steps, group.experiment.evaluate_every) for group in groups}
    if len(kinds) > 1:
        raise ValueError(
            f"the runs have different steps and evaluations ({', '.join(map(str, sorted(kinds)))}), so a "
            "scheduler cannot compare them at a rung; give all the same"
        )
    ((steps, every),) = kinds
    first = scheduler.rungs[:1]
    rising = isinstance(scheduler.rungs, range) or all(a < b for a, b in itertools.pairwise(scheduler.rungs))
    if not rising or any(rung < 1 for rung in first) or getattr(scheduler.rungs, "step", 1) < 1:
        raise ValueError(f"the scheduler's rungs are {scheduler.rungs}; expected rising steps from 1 on")
    rungs = reached(scheduler, steps)
    if scheduler.rungs and not rungs:
        raise ValueError(
            f"the scheduler's first rung is at step {scheduler.rungs[0]:,}, but runs end at step {steps:,}; "
            "expected an earlier one"
        )
    if wrong := set(rungs) - set(evaluation_steps(groups[0].experiment)):
        raise ValueError(
            f"the scheduler has a rung at step {min(wrong):,}, but runs are evaluated every {every:,} steps; "
            "expected multiples of that (first=...), or another evaluate_every"
        )
