"""What can be found wrong with a scheduler before its sweep begins."""

from collections.abc import Sequence
from typing import Any

from fdl.arguments import check_value
from fdl.parallel.distributed import several
from fdl.sweeps.racing import reached
from fdl.sweeps.schedulers import Scheduler
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Group
from fdl.train.rows import metric_names
from fdl.train.run import evaluation_steps


def check_scheduler(scheduler: Any, groups: Sequence[Group], space: Sweep) -> None:
    """Whether a scheduler can lead a sweep.

    Raises:
      ValueError: it is none, or its rungs, its metric or the trials do not go together.
    """
    if not isinstance(scheduler, Scheduler):
        raise ValueError(
            f"the scheduler is a {type(scheduler).__name__}; expected fdl.successive_halving(...), "
            "fdl.asha(...), fdl.hyperband(...) or an fdl.Scheduler"
        )
    for name, kind in Scheduler.__annotations__.items():
        check_value(f"the scheduler's {name}", getattr(scheduler, name), kind)
    if several():
        raise ValueError(
            "a scheduler leads a sweep in one process; start it on one host, without --coordinator"
        )
    _check_metric(scheduler, groups)
    _check_rungs(scheduler, groups)
    seeds: dict[str, set[int]] = {}
    for trial in space.trials:
        seeds.setdefault(trial.arm, set()).add(trial.seed)
    if len({frozenset(own) for own in seeds.values()}) > 1:
        raise ValueError(
            "the arms have different seeds, so a scheduler cannot compare them; give all the same"
        )


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
    if list(scheduler.rungs) != sorted({*scheduler.rungs} - {0}) or min(scheduler.rungs, default=1) < 1:
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
