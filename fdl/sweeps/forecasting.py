"""What a sweep would run, before it runs."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from fdl.experiment import Experiment
from fdl.parallel.plan import MeshSizes, Overrides, Plan, Strategy
from fdl.result import Result
from fdl.sweeps.assembled import assemble
from fdl.sweeps.check import check_space, checked_groups, named_fields
from fdl.sweeps.population import work_of
from fdl.sweeps.rehearsal import rehearse
from fdl.sweeps.space import Sweep
from fdl.train.autotune import autotune
from fdl.train.runtime import prepare


class Forecast(NamedTuple):
    """What one program of a sweep will be, before it runs.

    Attributes:
      arms: the arms whose trials are in it.
      trials: how many trials it trains.
      plan: how they run.
      reason: why so.
      memory_bytes: peak memory on one device, by the compiler's own analysis.
      compile_seconds: what compiling took just now.
      train_seconds: what training will take by the measured speed.
    """

    arms: list[str]
    trials: int
    plan: Plan
    reason: str
    memory_bytes: int
    compile_seconds: float
    train_seconds: float


def forecast(
    experiment: Callable[[Any], Experiment],
    space: Sweep,
    *,
    members: int | None = None,
    mesh: MeshSizes | None = None,
    strategy: Strategy = "jit",
    claim: Callable[[Result], Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Forecast]:
    """What a sweep would run, a program each; compiles and measures, but trains nothing.

    Args:
      experiment: `config -> Experiment`.
      space: the trials.
      members: members in a program, if the user decides.
      mesh: the sizes of the mesh's axes, if the user decides.
      strategy: how the rows of a batch are split.
      claim: as for `sweep`.
      say: told what may be wrong with it.

    Raises:
      ValueError: as `sweep`.
    """
    check_space(space)
    prepare()
    overrides = Overrides(members, mesh, strategy)
    found, groups = [], checked_groups(experiment, space, None, overrides)
    if claim:
        rehearse(claim, groups, functools.partial(assemble, space, seconds=0.0), say=say)
    for group in groups:
        with named_fields(group):
            work = work_of(group, group.trials)
            choice, program = autotune(work, overrides)
        steps = group.experiment.steps * len(group.trials)
        found.append(
            Forecast(
                arms=list(dict.fromkeys(trial.arm for trial in group.trials)),
                trials=len(group.trials),
                plan=choice.plan,
                reason=choice.reason,
                memory_bytes=program.memory_bytes,
                compile_seconds=program.compile_seconds,
                train_seconds=choice.seconds * steps,
            )
        )
    return found
