"""Plans: over which devices, and how, a population's members run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from fdl.parallel.arrangement import arranged

AXES = ("population", "data", "fsdp", "tensor")
"""The axes of every mesh, outermost first: neighbours along the last are the nearest."""
Strategy = Literal["jit", "shard_map", "pmap"]


class Plan(NamedTuple):
    """How one compiled program runs its members.

    Attributes:
      members: members in a program, padding included; a multiple of `population`.
      across: `"vmap"` widens every operation by the members; `"map"` runs one after another.
      loop: `"scan"` takes many steps in one call; `"calls"` takes one call a step.
      population: over how many groups of devices the members are split; groups never communicate.
      data: over how many devices the rows of a batch are split.
      fsdp: over how many devices the rows, and the parameters, gradients and optimizer state are split.
      tensor: over how many devices the heads, the hidden units and the vocabulary are split.
      strategy: how rows are split along `data`: by the compiler (`"jit"`), or each device runs the step by
        itself and asks the others for means (`"shard_map"`, `"pmap"`).
    """

    members: int
    across: Literal["vmap", "map"]
    loop: Literal["scan", "calls"]
    population: int = 1
    data: int = 1
    fsdp: int = 1
    tensor: int = 1
    strategy: Strategy = "jit"

    @property
    def devices(self) -> int:
        """How many devices the program takes."""
        return self.population * self.group

    @property
    def group(self) -> int:
        """How many devices a member takes."""
        return self.data * self.fsdp * self.tensor

    def __str__(self) -> str:
        each = self.members // self.population
        how = "one after another" if self.across == "map" else "side by side (vmap)"
        place = "a device" if self.group == 1 else f"every {self.group} devices"
        members = f"{self.members} members, {each} {place} {how}" if self.members > 1 else "one member"
        steps = "steps looped on the device" if self.loop == "scan" else "a call a step"
        sizes = ", ".join(f"{axis}={getattr(self, axis)}" for axis in AXES if getattr(self, axis) > 1)
        mesh = f" ({sizes}, {self.strategy})" if self.group > 1 else ""
        return f"{members}, {steps}, {self.devices} device{'s' if self.devices > 1 else ''}{mesh}"


class Overrides(NamedTuple):
    """What the user decides of a plan; what is None is chosen by memory and measured speed.

    Attributes:
      members: in a program.
      mesh: the sizes of the mesh's axes, as `{"data": 4}`.
      strategy: how the rows of a batch are split; without a mesh, over all devices.
    """

    members: int | None = None
    mesh: Mapping[str, int] | None = None
    strategy: Strategy = "jit"


def plan_from(stored: Any) -> Plan:
    """The plan that was stored as `plan._asdict()`; in earlier versions as a list of its values.

    Raises:
      TypeError: it is not one.
    """
    return Plan(**stored) if isinstance(stored, Mapping) else Plan(*stored)


def on_devices(plan: Plan, available: int) -> Plan:
    """The same plan on no more than the available devices, as after a move to a smaller machine.

    A member that was split over devices is split over fewer: the axis `data` gives way first.
    """
    while plan.group > available:
        axis = next(axis for axis in AXES[1:] if getattr(plan, axis) > 1)
        size = getattr(plan, axis)
        plan = plan._replace(**{axis: next(n for n in range(size - 1, 0, -1) if size % n == 0)})
    groups = available // plan.group
    fitting = (n for n in range(min(plan.population, groups), 0, -1) if plan.members % n == 0)
    return plan._replace(population=next(fitting))


def on_all(plan: Plan, devices: int) -> Plan:
    """The same members on all of the devices, as every one of several processes must have a part.

    Where there are more devices than the plan has, the rows are split further.
    """
    plan = on_devices(plan, devices)
    if devices % plan.devices:
        plan = plan._replace(population=math.gcd(plan.members, devices), data=1, fsdp=1, tensor=1)
    return plan._replace(data=plan.data * (devices // plan.devices))


def is_other(plan: Plan, overrides: Overrides) -> bool:
    """Whether the user asks for another mesh or strategy than a plan has."""
    if overrides.mesh is None and overrides.strategy == "jit":
        return False
    sizes = (overrides.mesh or {}).items()
    return plan.strategy != overrides.strategy or any(getattr(plan, axis) != size for axis, size in sizes)


def mesh_of(plan: Plan) -> Mesh:
    """The first `plan.devices` devices as a mesh of `AXES`."""
    return arranged_mesh(plan, jax.devices()[: plan.devices])


def arranged_mesh(plan: Plan, devices: Sequence[Any]) -> Mesh:
    """A plan's mesh of devices, of this process or not there: see `fdl.parallel.arrangement.arranged`.

    Raises:
      ValueError: they are more or fewer than the plan takes.
    """
    return Mesh(arranged(devices, shape_of(plan)), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def shape_of(plan: Plan) -> tuple[int, ...]:
    """The sizes of the mesh's `AXES`."""
    return tuple(getattr(plan, axis) for axis in AXES)


def over_members(mesh: Mesh) -> NamedSharding:
    """Leaves `[members, ...]` split along their first axis."""
    return NamedSharding(mesh, PartitionSpec("population"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Leaves whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def parse_mesh(text: str) -> dict[str, int]:
    """The sizes of the axes that `data=4,fsdp=2` names.

    Raises:
      ValueError: a part that is no axis and a number, or an axis given twice.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if not size.isdecimal():
            raise ValueError(
                f"the mesh has the part {part.strip()!r}; expected an axis and a number, as data=4"
            )
        if axis in sizes:
            raise ValueError(f"the mesh axis {axis!r} is given twice")
        sizes[axis] = int(size)
    return sizes


def check_mesh(sizes: Mapping[str, int], *, strategy: str, available: int) -> None:
    """Whether a mesh of such sizes can be had.

    Args:
      sizes: of each axis.
      strategy: who will split the rows.
      available: how many devices there are.

    Raises:
      ValueError: an axis or strategy that does not exist, a size below 1, more devices than there are, or
        a mesh that the strategy cannot have.
    """
    for axis, size in sizes.items():
        if axis not in AXES:
            raise ValueError(f"the mesh has no axis {axis!r}; expected some of {', '.join(AXES)}, as data=4")
        if size < 1:
            raise ValueError(f"the mesh axis {axis!r} has the size {size}; expected 1 or more")
    if strategy not in get_args(Strategy):
        raise ValueError(f"there is no strategy {strategy!r}; expected {', '.join(get_args(Strategy))}")
    shown = ",".join(f"{axis}={size}" for axis, size in sizes.items())
    if (devices := math.prod(sizes.values())) > available:
        raise ValueError(
            f"the mesh {shown} takes {devices} devices, but there are {available}; give smaller sizes"
        )
    if strategy == "pmap" and devices > sizes.get("data", 1):
        raise ValueError(f"pmap has the axis data alone, but the mesh is {shown}; take jit or shard_map")
