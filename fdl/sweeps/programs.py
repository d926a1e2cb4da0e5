"""The programs of groups: chosen and compiled once, also for sweeps of one experiment after another."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from fdl.parallel.arrangement import slice_sizes
from fdl.parallel.distributed import several
from fdl.parallel.kernels import has_onednn
from fdl.parallel.plan import Overrides, Plan, is_other, on_all, on_devices, on_slices
from fdl.rng import roots
from fdl.storage import Folder
from fdl.sweeps.space import Trial
from fdl.sweeps.units import Group
from fdl.train.autotune import Choice, Work, autotune, compile_for
from fdl.train.program import Program
from fdl.train.run import arrays_of
from fdl.train.stored_prediction import Prediction, prediction_of


@dataclasses.dataclass(frozen=True)
class Reused:
    """What was found out about one experiment, for sweeps of it that come one after another in a process.

    Attributes:
      groups: by static structure one that was checked, whatever its trials.
      traced: by static structure what `fdl.sweeps.twins` knows of its program.
      choices: by static structure, number of runs and of members in a program at most, the plan and why.
      programs: those that are compiled, by static structure and plan.
      predictions: by static structure the program of predictions, as it is stored.
    """

    groups: dict[Any, Group] = dataclasses.field(default_factory=dict)
    traced: dict[Any, Any] = dataclasses.field(default_factory=dict)
    choices: dict[tuple[Any, int, int | None], Choice] = dataclasses.field(default_factory=dict)
    programs: dict[tuple[Any, Plan], Program] = dataclasses.field(default_factory=dict)
    predictions: dict[Any, Prediction] = dataclasses.field(default_factory=dict)


def structure_of(group: Group) -> Any:
    """The static structure of a group's configs."""
    return jax.tree.structure(group.trials[0].config)


def work_of(group: Group, trials: Sequence[Trial]) -> Work:
    """What the plan for some of a group's trials is chosen for."""
    keys = roots([trial.seed for trial in trials])
    configs = [trial.config for trial in trials]
    return Work(
        group.build, group.experiment, configs, keys, arrays_of(group.experiment), group.experiment.steps
    )


def chosen(
    group: Group,
    trials: Sequence[Trial],
    overrides: Overrides,
    reused: Reused,
    *,
    remembered: Folder,
    say: Callable[[str], None],
) -> Choice:
    """The plan for some of a group's trials.

    Args:
      group: the group.
      trials: those that are to be trained.
      overrides: what the user decides of how they run, the same in all calls but for the members.
      reused: what is known; takes what is found out now.
      remembered: the folder of plans that were measured before.
      say: told of every measurement, and of a choice that is new.
    """
    this = structure_of(group), len(trials), overrides.members
    if this not in reused.choices:
        choice, program = autotune(work_of(group, trials), overrides, remembered=remembered, say=say)
        say(f"{choice.plan}: {choice.reason}")
        reused.choices[this] = choice
        reused.programs.setdefault((structure_of(group), choice.plan), program)
    return reused.choices[this]


def program_for(group: Group, trials: Sequence[Trial], plan: Plan, reused: Reused) -> Program:
    """The program of some of a group's trials under a plan.

    What compiling it took is told by the first alone, as it was done once.
    """
    this = structure_of(group), plan
    program = reused.programs.get(this) or compile_for(work_of(group, trials), plan)
    reused.programs[this] = program._replace(compile_seconds=0.0)
    return program


def said_by(group: Group, reused: Reused) -> Prediction:
    """The program of predictions of a group's runs."""
    kind = structure_of(group)
    if kind not in reused.predictions:
        reused.predictions[kind] = prediction_of(group.build, group.trials[0].config, group.experiment)
    return reused.predictions[kind]


def plan_now(plan: Plan, overrides: Overrides, say: Callable[[str], None]) -> Plan:
    """A stored plan on the devices that there are now; says what the user may not expect."""
    devices = jax.devices()
    if plan.kernels == "onednn" and not has_onednn():
        say("begun with oneDNN's kernels, which there are not here: going on with XLA's, to rounding")
        plan = plan._replace(kernels="xla")
    now = (on_all if several() else on_devices)(plan, len(devices))
    now = on_slices(now, slice_sizes(devices[: now.devices]))
    if now != plan:
        say(f"begun on {plan.devices} devices, going on with {now.devices}: {now}")
    elif is_other(now, overrides):
        say(f"begun as {now}, and goes on so, bit for bit; another mesh needs --restart")
    return now
