"""Plans: how a function of one member becomes a function of a population."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "population"


class Plan(NamedTuple):
    """How one compiled program runs its members.

    Attributes:
      members: members in a program, padding included; a multiple of `devices`.
      across: `"vmap"` widens every operation by the members; `"map"` runs one after another.
      loop: `"scan"` takes many steps in one call; `"calls"` takes one call a step.
      devices: over how many devices the members are split; they never communicate.
    """

    members: int
    across: Literal["vmap", "map"]
    loop: Literal["scan", "calls"]
    devices: int

    def __str__(self) -> str:
        each = self.members // self.devices
        how = "one after another" if self.across == "map" else "side by side (vmap)"
        members = f"{self.members} members, {each} a device {how}" if self.members > 1 else "one member"
        steps = "steps looped on the device" if self.loop == "scan" else "a call a step"
        return f"{members}, {steps}, {self.devices} device{'s' if self.devices > 1 else ''}"


def on_devices(plan: Plan, available: int) -> Plan:
    """The same plan on no more than the available devices, as after a move to a smaller machine."""
    devices = next(n for n in range(min(plan.devices, available), 0, -1) if plan.members % n == 0)
    return plan._replace(devices=devices)


def mesh_of(plan: Plan) -> Mesh:
    """The first `plan.devices` devices as one axis, `population`."""
    return jax.make_mesh(
        (plan.devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[: plan.devices]
    )


def split_over(mesh: Mesh) -> NamedSharding:
    """Leaves `[members, ...]` split along their first axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def whole_on(mesh: Mesh) -> NamedSharding:
    """Leaves whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def lift(function: Callable[[Any, Any], Any], plan: Plan, mesh: Mesh) -> Callable[[Any, Any], Any]:
    """A function of one member, `function(own, shared) -> out`, over a leading member axis.

    The members do not communicate: on several devices each runs its share by itself (`shard_map`).

    Returns:
      `lifted(own, shared) -> out`, where the leaves of `own` and `out` are `[members, ...]`.
    """
    each = plan.members // plan.devices

    def local(own: Any, shared: Any) -> Any:
        if each == 1:
            out = function(jax.tree.map(lambda leaf: leaf[0], own), shared)
            return jax.tree.map(lambda leaf: leaf[None], out)
        if plan.across == "vmap":
            return jax.vmap(function, in_axes=(0, None))(own, shared)
        return lax.map(lambda member: function(member, shared), own)

    if plan.devices == 1:
        return local
    split, whole = PartitionSpec(AXIS), PartitionSpec()
    return jax.shard_map(local, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False)
