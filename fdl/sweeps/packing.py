"""States of units that ended, brought together as the beginning of another, narrower one."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.parallel.plan import Overrides, Plan
from fdl.storage import Folder
from fdl.sweeps.programs import plan_now
from fdl.sweeps.racing import State
from fdl.sweeps.units import LOST, Group, Unit, trials_in, unit_from
from fdl.train.checkpoint import Restored
from fdl.train.folder import read_sealed
from fdl.train.key_words import of_words, words
from fdl.train.lowering import parts_of
from fdl.train.program import Program, stack_members
from fdl.train.resume import checkpoints_in
from fdl.train.run import Carry, Member


def width(runs: int, plan: Plan) -> int:
    """Members of the narrowest program for so many runs, out of few widths.

    These are 1, 2, 3, 4, 6, 8, 12, 16, ... in each of the plan's groups of devices, and the plan's own.

    Args:
      runs: how many, at most the plan's members.
      plan: the one that is to be made narrower.
    """
    each, most = -(-runs // plan.population), plan.members // plan.population
    sizes = sorted({size << k for k in range(most.bit_length()) for size in (1, 3)})
    return plan.population * min(most, next(size for size in sizes if size >= each))


def beginning(
    group: Group, unit: Unit, program: Program, carries: Mapping[str, Carry | None], members: Member
) -> Restored:
    """Where a unit of some of its members' steps begins.

    Args:
      group: its trials' group.
      unit: the unit.
      program: its program.
      carries: by the names of the units from whose last states it goes on, their carries where they are not
        stored.
      members: its members, placed.

    Raises:
      ValueError: a state is not there, or damaged.
      OSError: it cannot be read.
    """
    assert unit.segment
    start, _, states = unit.segment
    if not states:
        return Restored(start, program.init(members), {})
    names = dict.fromkeys(name for name, _ in states)
    known = {name: carries.get(name) or _stored_carry(group, name, step=start) for name in names}
    return Restored(start, packed(states, known, program, members), {})


def _stored_carry(group: Group, name: str, *, step: int) -> Carry:
    assert group.folder
    told = read_sealed(group.folder / name / "unit.json", of=name, fix=LOST) or {"members": ()}
    trials = trials_in(told, type(group.trials[0].config))
    return last_carry(group, unit_from(told, trials), group.folder / name, step=step)


def packed(states: Sequence[State], carries: dict[str, Carry], program: Program, members: Member) -> Carry:
    """The carry of a unit whose members go on from these states.

    Args:
      states: by member, without padding; which repeats the last and does not run.
      carries: those that units ended with, by name, leaves `[members, ...]`.
      program: that of the new unit.
      members: its members, placed.
    """
    order = [states[min(index, len(states) - 1)] for index in range(program.plan.members)]

    def one(shape: jax.ShapeDtypeStruct, *leaves: Any) -> Any:
        whole = {name: np.asarray(words(leaf)) for name, leaf in zip(carries, leaves, strict=True)}
        rows = np.stack([whole[name][member] for name, member in order])
        return jax.device_put(of_words(jnp.asarray(rows), shape), shape.sharding)

    carry = jax.tree.map(one, program.abstract, *carries.values())
    return carry._replace(stopped=carry.stopped | ~members.live)


def last_carry(group: Group, unit: Unit, folder: Folder, *, step: int) -> Carry:
    """The carry with which a stored unit ended.

    Args:
      group: its trials' group.
      unit: the unit.
      folder: its folder.
      step: updates done at its end.

    Raises:
      ValueError: it is not there, or damaged.
      OSError: it cannot be read.
    """
    keys = jnp.stack([jax.random.key(trial.seed) for trial in unit.trials])
    members = stack_members([trial.config for trial in unit.trials], keys, pad_to=unit.plan.members)
    plan = plan_now(unit.plan, Overrides(), lambda _: None)
    shapes = parts_of(group.build, members, {}, plan).carry
    checkpoints = checkpoints_in(folder, keep=1, say=lambda _: None)
    try:
        found = checkpoints.restore(shapes, step, _fault)
    finally:
        checkpoints.close()
    if found is None or found.step != step:
        raise ValueError(
            f"{folder} has no undamaged checkpoint of step {step}, from which arms are to go on; "
            "move that folder away and repeat, and its runs are trained again"
        )
    return found.carry


def _fault(about: dict[str, Any], step: int) -> str | None:
    """Of a unit that was interrupted in its last evaluation: the sums behind that are not closed."""
    return f"saved before the evaluation of step {step} had ended" if about.get("owed") else None
