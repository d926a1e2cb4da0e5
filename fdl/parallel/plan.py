"""Plans: over which devices, and how, a population's members run."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, NamedTuple, get_args

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from fdl.parallel.arrangement import arranged, check_spans

AXES = ("population", "data", "fsdp", "tensor")
"""The axes of every mesh, outermost first: neighbours along the last are the nearest."""
Strategy = Literal["jit", "shard_map", "pmap"]
Kernels = Literal["xla", "onednn"]
MeshSizes = Mapping[str, int | tuple[int, int]]
"""Over how many devices the axes of a mesh go, as `{"data": 8}`; as a pair, `{"data": (2, 4)}`, over how many
slices (nodes of GPUs), and over how many devices within each."""


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
      spans: over how many slices each of `AXES` goes, where the user says it; empty where
        `fdl.parallel.arrangement.spanning` decides.
      kernels: whose compute a CPU's products and convolutions (`fdl.parallel.kernels`).
    """

    members: int
    across: Literal["vmap", "map"]
    loop: Literal["scan", "calls"]
    population: int = 1
    data: int = 1
    fsdp: int = 1
    tensor: int = 1
    strategy: Strategy = "jit"
    spans: tuple[int, ...] = ()
    kernels: Kernels = "xla"

    @property
    def devices(self) -> int:
        """How many devices the program takes."""
        return self.population * self.group

    @property
    def group(self) -> int:
        """How many devices a member takes."""
        return self.data * self.fsdp * self.tensor

    @property
    def mesh(self) -> str:
        """The mesh as `--mesh` takes it, without the axes of one device."""
        spans = self.spans or (1,) * len(AXES)
        sizes = zip(AXES, shape_of(self), spans, strict=True)
        words = [f"{axis}={f'{n}x{size // n}' if n > 1 else size}" for axis, size, n in sizes if size > 1]
        return ",".join(words) or "data=1"

    def __str__(self) -> str:
        each = self.members // self.population
        how = "one after another" if self.across == "map" else "side by side (vmap)"
        place = "a device" if self.group == 1 else f"every {self.group} devices"
        members = f"{self.members} members, {each} {place} {how}" if self.members > 1 else "one member"
        steps = "steps looped on the device" if self.loop == "scan" else "a call a step"
        mesh = f" ({self.mesh.replace(',', ', ')}, {self.strategy})" if self.group > 1 else ""
        by = ", by oneDNN" if self.kernels == "onednn" else ""
        return f"{members}, {steps}, {self.devices} device{'s' if self.devices > 1 else ''}{mesh}{by}"


class Overrides(NamedTuple):
    """What the user decides of a plan; what is None is chosen by memory and measured speed.

    Attributes:
      members: in a program.
      mesh: the sizes of the mesh's axes.
      strategy: how the rows of a batch are split; without a mesh, over all devices.
    """

    members: int | None = None
    mesh: MeshSizes | None = None
    strategy: Strategy = "jit"


def plan_from(stored: Any) -> Plan:
    """The plan that was stored as `plan._asdict()`; in earlier versions as a list of its values.

    Raises:
      TypeError: it is not one.
    """
    plan = Plan(**stored) if isinstance(stored, Mapping) else Plan(*stored)
    return plan._replace(spans=tuple(plan.spans))  # JSON has lists


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


def on_slices(plan: Plan, slices: Sequence[int]) -> Plan:
    """The same plan on slices of so many devices; what it says of spanning them stands only where it fits."""
    divides = all(size % n == 0 for size, n in zip(shape_of(plan), plan.spans, strict=False))
    fits = divides and math.prod(plan.spans) == len(slices) and len(set(slices)) == 1
    return plan if fits else plan._replace(spans=())


def is_other(plan: Plan, overrides: Overrides) -> bool:
    """Whether the user asks for another mesh or strategy than a plan has."""
    if overrides.mesh is None:
        return overrides.strategy not in ("jit", plan.strategy)
    sizes = sizes_of(overrides.mesh).items()
    same = plan.strategy == overrides.strategy and plan.spans == spans_of(overrides.mesh)
    return not same or any(getattr(plan, axis) != size for axis, size in sizes)


def mesh_of(plan: Plan) -> Mesh:
    """The first `plan.devices` devices as a mesh of `AXES`."""
    return arranged_mesh(plan, jax.devices()[: plan.devices])


def arranged_mesh(plan: Plan, devices: Sequence[Any]) -> Mesh:
    """A plan's mesh of devices, of this process or not there: see `fdl.parallel.arrangement.arranged`.

    Raises:
      ValueError: they are more or fewer than the plan takes, or of other slices.
    """
    laid_out = arranged(devices, shape_of(plan), plan.spans)
    return Mesh(laid_out, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def shape_of(plan: Plan) -> tuple[int, ...]:
    """The sizes of the mesh's `AXES`."""
    return tuple(getattr(plan, axis) for axis in AXES)


def over_members(mesh: Mesh) -> NamedSharding:
    """Leaves `[members, ...]` split along their first axis."""
    return NamedSharding(mesh, PartitionSpec("population"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Leaves whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def parse_mesh(text: str) -> dict[str, int | tuple[int, int]]:
    """The sizes of the axes that `data=4,fsdp=2` names; of `data=2x4`, which goes over 2 slices, a pair.

    Raises:
      ValueError: a part that is no axis and a number or two, or an axis given twice.
    """
    sizes: dict[str, int | tuple[int, int]] = {}
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        numbers = size.split("x")
        if not all(number.isdecimal() for number in numbers) or len(numbers) > 2:
            raise ValueError(
                f"the mesh has the part {part.strip()!r}; expected an axis and a number, as data=8, or "
                "two, as data=2x4: over 2 slices, and 4 devices within each"
            )
        if axis in sizes:
            raise ValueError(f"the mesh axis {axis!r} is given twice")
        sizes[axis] = int(size) if len(numbers) == 1 else (int(numbers[0]), int(numbers[1]))
    return sizes


def sizes_of(mesh: MeshSizes) -> dict[str, int]:
    """Over how many devices each axis of a mesh goes in all, within slices and over them.

    Raises:
      ValueError: a size that is neither a whole number nor a pair of them.
    """
    return {axis: math.prod(_pair(axis, size)) for axis, size in mesh.items()}


def spans_of(mesh: MeshSizes) -> tuple[int, ...]:
    """Over how many slices each of `AXES` goes, as a plan has it; empty where the mesh does not say."""
    spans = tuple(_pair(axis, mesh.get(axis, 1))[0] for axis in AXES)
    return spans if math.prod(spans) > 1 else ()


def filled(mesh: MeshSizes, devices: int) -> MeshSizes:
    """The mesh on all devices: with as many groups of them as there are, where it does not say how many."""
    group = math.prod(sizes_of(mesh).values())
    if "population" in mesh or group in (0, devices) or devices % group:
        return mesh
    return {**mesh, "population": devices // group}


def check_mesh(mesh: MeshSizes, *, strategy: str, slices: Sequence[int]) -> None:
    """Whether a mesh can be had.

    Args:
      mesh: the sizes of its axes.
      strategy: who will split the rows.
      slices: how many devices each slice has.

    Raises:
      ValueError: an axis or strategy that does not exist, a size below 1, more devices than there are, or
        a mesh that the slices or the strategy cannot have.
    """
    for axis, size in mesh.items():
        if axis not in AXES:
            raise ValueError(f"the mesh has no axis {axis!r}; expected some of {', '.join(AXES)}, as data=4")
        if min(_pair(axis, size)) < 1:
            raise ValueError(f"the mesh axis {axis!r} has the size {_shown(size)}; expected 1 or more")
    if strategy not in get_args(Strategy):
        raise ValueError(f"there is no strategy {strategy!r}; expected {', '.join(get_args(Strategy))}")
    shown = ",".join(f"{axis}={_shown(size)}" for axis, size in mesh.items())
    sizes, available = sizes_of(mesh), sum(slices)
    if (devices := math.prod(sizes.values())) > available:
        raise ValueError(
            f"the mesh {shown} takes {devices} devices, but there are {available}; give smaller sizes"
        )
    if strategy == "pmap" and devices > sizes.get("data", 1):
        raise ValueError(f"pmap has the axis data alone, but the mesh is {shown}; take jit or shard_map")
    if spans := [size[0] for size in mesh.values() if isinstance(size, tuple)]:
        check_spans(spans, slices, shown)


def _pair(axis: str, size: Any) -> tuple[int, int]:
    """Over how many slices an axis goes, and over how many devices within each."""
    pair = size if isinstance(size, tuple) else (1, size)
    if len(pair) != 2 or not all(isinstance(number, Integral) for number in pair):
        raise ValueError(
            f"the mesh axis {axis!r} has the size {size!r}; expected a whole number, as 8, or two, as "
            "(2, 4): over 2 slices, and 4 devices within each"
        )
    return int(pair[0]), int(pair[1])


def _shown(size: int | tuple[int, int]) -> str:
    """As `--mesh` takes it."""
    return "x".join(map(str, size)) if isinstance(size, tuple) else str(size)
