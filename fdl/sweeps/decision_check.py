"""What a scheduler decides, held against what can go on."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax

from fdl.configs import values
from fdl.sweeps.schedulers import Next
from fdl.sweeps.units import Group
from fdl.train.read_fields import read_by_step
from fdl.train.rows import best_of

_GAVE = "the scheduler's decide"


def checked_decision(going: Any, waiting: Sequence[int], configs: Sequence[Any]) -> list[Next]:
    """A decision in the order of the arms; what is the same as before is None in it.

    Args:
      going: what `decide` gave.
      waiting: the arms that it may let go on.
      configs: those of all arms until now.

    Raises:
      ValueError: it is none.
    """
    going = list(going) if isinstance(going, Iterable) else going
    if not isinstance(going, list) or not all(isinstance(one, Next) for one in going):
        raise ValueError(f"{_GAVE} gave {going!r}; expected a list of fdl.Next(arm)")
    arms = [one.arm for one in going]
    if len(set(arms)) < len(arms):
        raise ValueError(f"{_GAVE} lets an arm go on twice: {sorted(arms)}")
    if wrong := set(arms) - set(waiting):
        raise ValueError(f"{_GAVE} lets arm {min(wrong)} go on; expected arms that wait: {list(waiting)}")
    return [_one(one, waiting, configs) for one in sorted(going, key=lambda one: one.arm)]


def _one(one: Next, waiting: Sequence[int], configs: Sequence[Any]) -> Next:
    own, config, copy = configs[one.arm], one.config, one.copy
    if copy is not None and copy not in waiting:
        raise ValueError(f"{_GAVE} copies arm {copy}; expected one of those that wait: {list(waiting)}")
    if config is not None:
        _check_config(f"{_GAVE} lets arm {one.arm} go on", own, config)
    if copy is not None and (names := _compiled(configs[copy], own)):
        raise ValueError(
            f"{_GAVE} lets arm {one.arm} copy arm {copy}, which differs in {', '.join(names)}: its state is "
            "of another program; expected one that differs in traced fields alone"
        )
    return Next(one.arm, None if config == own else config, None if copy == one.arm else copy)


def _check_config(which: str, own: Any, config: Any) -> None:
    if type(config) is not type(own):
        raise ValueError(f"{which} with the config {config!r}; expected a {type(own).__name__}")
    for name, value in values(config).items():
        if isinstance(value, jax.Array):
            raise ValueError(f"{which} with {name} an array of JAX; expected a number, as float(...)")
    if names := _compiled(own, config):
        raise ValueError(
            f"{which} with another {', '.join(names)}; its program is compiled, so only traced fields can "
            "change"
        )


def _compiled(old: Any, new: Any) -> list[str]:
    """The fields with which one config's program is another than the other's."""
    program = jax.tree.structure
    return [
        name
        for name, value in values(new).items()
        if program(dataclasses.replace(old, **{name: value})) != program(old)
    ]


def check_going_on(going: Sequence[Next], configs: Sequence[Any], groups: Sequence[Group]) -> None:
    """Whether those that go on otherwise than before can, and it will be right what is told of them.

    Args:
      going: as of `checked_decision`.
      configs: those of all arms until now.
      groups: of all trials.

    Raises:
      ValueError: states are copied where each run has a best one, or a field is changed that no step reads.
    """
    if any(one.copy is not None for one in going) and (best := best_of(groups[0].experiment)):
        raise ValueError(
            f"the experiment keeps each run's best state by {best.metric}, and an arm that copies has none "
            "of its own; keep the last one (no best) with a scheduler that copies"
        )
    changed: dict[Any, set[str]] = {}
    for one in going:
        had = configs[one.arm if one.copy is None else one.copy]
        gets = values(one.config or configs[one.arm])
        names = {name for name, value in values(had).items() if gets[name] != value}
        changed.setdefault(jax.tree.structure(had), set()).update(names)
    for group in groups:
        names = changed.get(jax.tree.structure(group.trials[0].config), set())
        if unread := sorted(names - read_by_step(group.build, group.trials[0].config) if names else ()):
            raise ValueError(
                f"{_GAVE} changes {', '.join(unread)}, which no training step reads: it was read when the "
                "run began, as what optax.inject_hyperparams keeps in its state, or never; leave it as it "
                "is, or read it in the step, as an optimizer of config.lr does"
            )
