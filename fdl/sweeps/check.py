"""What can be found wrong with a sweep before anything is written or compiled."""

import contextlib
import copy
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fdl import tree
from fdl.configs import traced_fields
from fdl.experiment import Experiment
from fdl.parallel.arrangement import slice_sizes
from fdl.parallel.distributed import several
from fdl.parallel.plan import Overrides, check_mesh
from fdl.parallel.sharding import on_mesh
from fdl.serialization import to_json
from fdl.storage import Folder
from fdl.sweeps.population import groups_of, identified
from fdl.sweeps.programs import Reused, structure_of, work_of
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Group
from fdl.train.autotune import plans_for
from fdl.train.check import check
from fdl.train.rows import Row
from fdl.train.run import Build, Carry, Member, advance_once, arrays_of, evaluate, experiment_of, init
from fdl.train.runtime import make_room_for
from fdl.train.user_errors import HIDDEN, told

RESERVED = ("arm", "seed", "seeds", "step", "status", "best", "metric", "runs", "failed", "metrics")
"""The columns of a result, its failures and its table, what an arm has in `--json`, and a sweep's `seeds`."""


def checked_groups(
    experiment: Build,
    space: Sweep,
    directory: Folder | None,
    overrides: Overrides = Overrides(),  # noqa: B008
    *,
    program: Mapping[str, Any] | None = None,
    reused: Reused | None = None,
) -> list[Group]:
    """The groups of a sweep; with their identities, where what they share is given as `program`.

    Of `reused`, which then takes them, those of a structure that was checked before are not traced again.

    Raises:
      ValueError: a number out of range, a field with a reserved name, a metric that does not exist, a
        traced value that decides Python control flow, or a mesh that does not fit the devices, the runs
        or the batches.
    """
    members, mesh, strategy = overrides
    if members is not None and members < 1:
        raise ValueError(f"members is {members}; expected 1 or more in a program")
    check_space(space, kept=directory is not None)
    make_room_for(mesh, strategy)
    check_mesh(mesh or {}, strategy=strategy, slices=slice_sizes(jax.devices()))
    known = {} if reused is None else reused.groups
    groups = groups_of(experiment, space.trials, folder=directory and directory / "units", known=known)
    new = [structure_of(group) not in known for group in groups]
    for group in itertools.compress(groups, new):
        names = check(group.experiment)
        with told("experiment(config), traced,"), named_fields(group):
            _check_twice(group, names, _trace(group, group.trials[0].config))
    for group in groups:
        _check_layout(group, overrides)
    if program:
        groups = [
            identified(group, program) if first else group for group, first in zip(groups, new, strict=True)
        ]
    known |= {structure_of(group): group for group in groups}
    return groups


def check_fields(config: Any) -> None:
    """Raises `ValueError` if a field of a config, or of its class, is called as a column of a result."""
    for field in dataclasses.fields(config):
        if field.name in RESERVED:
            raise ValueError(
                f"a config field cannot be called {field.name!r}, as something of every result or sweep is; "
                "give it another name"
            )


def check_space(space: Any, *, kept: bool = False) -> None:
    """Whether trials can be run.

    Args:
      space: the trials.
      kept: whether their results are written, for which every value needs a form that can be read back.

    Raises:
      ValueError: no sweep, one without trials, a field or a value that cannot be kept.
    """
    if not isinstance(space, Sweep):
        raise ValueError(
            f"the sweep is a {type(space).__name__}; expected an fdl.Sweep, as fdl.grid(Config())"
        )
    if not space.trials:
        raise ValueError("the sweep has no trials")
    check_fields(space.trials[0].config)
    for trial in space.trials if kept else ():
        to_json(trial.config)


def check_inspect(arms: Any) -> None:
    """Raises `ValueError` unless it is a number of arms to look at."""
    if isinstance(arms, bool) or not isinstance(arms, int) or arms < 0:
        raise ValueError(f"inspect is {arms!r}; expected a number of arms to look at, 0 or more")


def check_apart(directory: Folder | None, *, profile: bool) -> None:
    """Raises `ValueError` for what cannot be had where other processes train."""
    if directory is None:
        raise ValueError("an executor needs a workdir, which is all that its workers share; give one")
    if several():
        raise ValueError("an executor's leading process is one; start it on one host, without --coordinator")
    if profile:
        raise ValueError("profile is of a sweep that this process trains; leave out the executor, or profile")


def _check_layout(group: Group, overrides: Overrides) -> None:
    on_mesh(group.experiment, plans_for(work_of(group, group.trials), overrides)[0])


@contextlib.contextmanager
def named_fields(group: Group) -> Iterator[None]:
    """Turns JAX's complaint about a traced value in Python control flow into one that names the field.

    Raises:
      ValueError: names the fields that must be static.
    """
    try:
        yield
    except HIDDEN as error:
        config = group.trials[0].config
        guilty = [name for name in traced_fields(type(config)) if not _traceable(group, config, name)]
        if not guilty:
            raise
        raise ValueError(
            f"{type(config).__name__}.{' and '.join(guilty)}: a traced value decides Python control flow or "
            "a shape, or goes to NumPy; declare it `fdl.static(...)`, or write it with jnp.where or lax.cond"
        ) from error


def _check_twice(group: Group, names: tuple[str, ...], found: tuple[Carry, Row]) -> None:
    """Whether the experiment of traced values is that of the first trial, in everything that is static.

    Raises:
      ValueError: it is not.
    """
    state = jax.eval_shape(group.experiment.learner.init, jax.random.key(0))
    wrong = tree.difference(found[0].state, state, name="state")
    if not wrong and set(found[1].metrics) != set(names):
        wrong = f"metrics are {', '.join(found[1].metrics)}, expected {', '.join(names)}"
    if wrong:
        raise ValueError(f"experiment(config) is another one the second time, so it is not pure: {wrong}")


def _trace(group: Group, config: Any) -> tuple[Carry, Row]:
    """Traces a run's start, step and evaluation; compiles nothing."""

    def whole(traced: Any, arrays: Any) -> Any:
        run = Member(traced, jax.random.key(0), jnp.bool_(True))
        experiment = experiment_of(group.build, run)
        for name in ("steps", "evaluate_every"):
            again, before = getattr(experiment, name), getattr(group.experiment, name)
            if again != before:
                raise ValueError(f"experiment(config).{name} is {again} the second time, {before} the first")
        build = lambda _: experiment  # noqa: E731
        carry = init(build, run)
        if experiment.inspect is not None:
            experiment.inspect(carry.state, run.key)
        return evaluate(build, run, arrays, advance_once(build, run, arrays, carry))

    return jax.eval_shape(whole, config, arrays_of(group.experiment))


def _traceable(group: Group, config: Any, name: str) -> bool:
    """Whether a run can be traced with this field alone as a traced value."""

    def build(value: Any) -> Experiment:
        changed = copy.copy(config)
        object.__setattr__(changed, name, value)
        return group.build(changed)

    try:
        _trace(group._replace(build=build), jnp.float32(getattr(config, name)))
    except HIDDEN:
        return False
    return True
