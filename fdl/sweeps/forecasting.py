"""What a sweep would run and take, before it runs: `fdl plan`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from fdl.experiment import Experiment
from fdl.parallel.plan import MeshSizes, Overrides, Plan, Strategy
from fdl.result import Result
from fdl.sweeps.assembled import assemble
from fdl.sweeps.check import check_space, checked_groups, named_fields
from fdl.sweeps.distinct import decided
from fdl.sweeps.programs import work_of
from fdl.sweeps.rehearsal import rehearse
from fdl.sweeps.space import Sweep
from fdl.train.autotune import autotune
from fdl.train.run import evaluation_steps
from fdl.train.runtime import prepare
from fdl.train.timing import timed


class Forecast(NamedTuple):
    """What one program of a sweep will be, before it runs.

    Attributes:
      arms: the arms whose trials are in it.
      trials: how many trials it trains.
      plan: how they run.
      reason: why so.
      memory_bytes: peak memory on one device, by the compiler's own analysis.
      compile_seconds: what compiling took just now, with what the first calls took more than later ones.
      train_seconds: what training and evaluating will take by the speed of a short trial.
      train_low: lower end of its interval, of at least 95 % as far as the trial's calls tell
        (`fdl.train.timing.Measured`).
      train_high: upper end.
    """

    arms: list[str]
    trials: int
    plan: Plan
    reason: str
    memory_bytes: int
    compile_seconds: float
    train_seconds: float
    train_low: float
    train_high: float

    @property
    def device_seconds(self) -> tuple[float, float, float]:
        """The time of compiling and training, times the devices that the plan takes; and its interval."""
        ends = (self.train_seconds, self.train_low, self.train_high)
        mean, low, high = (self.plan.devices * (self.compile_seconds + train) for train in ends)
        return mean, low, high


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
    for group in decided(groups, overrides, say).groups:
        with named_fields(group):
            work = work_of(group, group.trials)
            choice, program = autotune(work, overrides)
            taken = timed(work, program)
        steps, evaluations = group.experiment.steps, len(evaluation_steps(group.experiment))
        units = -(-len(group.trials) // min(choice.plan.members, members or len(group.trials)))
        train, low, high = (
            units * (steps * step + evaluations * evaluation)
            for step, evaluation in zip(taken.step, taken.evaluation, strict=True)
        )
        found.append(
            Forecast(
                arms=list(dict.fromkeys(trial.arm for trial in group.trials)),
                trials=len(group.trials),
                plan=choice.plan,
                reason=choice.reason,
                memory_bytes=program.memory_bytes,
                compile_seconds=program.compile_seconds + taken.first,
                train_seconds=train,
                train_low=low,
                train_high=high,
            )
        )
    return found
