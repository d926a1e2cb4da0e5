"""The condition of a slice, from what Google Cloud says of its request and of its VMs."""

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

from tpu import gcloud, slices
from tpu.gcloud import Place
from tpu.refusal import STATUSES
from tpu.world import Output, World

ASKING = 120.0
"""Seconds that a question to Google Cloud may take."""


class State(Enum):
    """What there is to do about a slice."""

    ABSENT = "absent"
    WAITING = "waiting for capacity"
    MAKING = "being made"
    READY = "ready"
    REFUSED = "refused"
    DEAD = "dead"
    LEAVING = "being deleted"
    UNKNOWN = "unknown"


class Condition(NamedTuple):
    """A state, the number of workers (where READY), Google's words for it, and what kind of slice it is."""

    state: State
    workers: int = 0
    reason: str = ""
    accelerator: str = ""
    """as v6e-16; empty where Google does not say"""
    slices: int = 1
    vms: tuple[str, ...] = ()
    """the names of its VMs, where it is a group of Compute Engine's and READY"""

    def text(self) -> str:
        """For people."""
        return f"{self.state.value} ({self.reason})" if self.reason else self.state.value


QUEUED = {
    "CREATING": State.WAITING,
    "ACCEPTED": State.WAITING,
    "WAITING_FOR_RESOURCES": State.WAITING,
    "PROVISIONING": State.MAKING,
    "FAILED": State.REFUSED,
    "DELETING": State.LEAVING,
}
"""States of a request; all others but ACTIVE (SUSPENDING, SUSPENDED) are dead: spot VMs never come back."""
NODE_MAKING = ("CREATING", "STARTING", "RESTARTING", "REIMAGING", "REPAIRING")
"""States of VMs that may yet become READY."""


def condition(queued: dict[str, Any], nodes: Sequence[dict[str, Any] | None]) -> Condition:
    """The condition of slices whose request is `queued` and whose VMs are `nodes`, None where there are none.

    They are ready only with all their workers: half of them would hang. One that is lost counts for all.
    """
    name = queued.get("state", {}).get("state", "STATE_UNSPECIFIED")
    if name != "ACTIVE":
        return Condition(QUEUED.get(name, State.DEAD), reason=": ".join([name, *_complaint(queued)]))
    found = [_of_node(node) for node in nodes]
    worst = min(found, key=lambda one: (State.DEAD, State.MAKING, State.READY).index(one.state))
    if worst.state is State.READY:
        return worst._replace(workers=sum(one.workers for one in found), slices=len(found))
    where = f"slice {found.index(worst)}: " if len(found) > 1 else ""
    return worst._replace(reason=f"{where}{worst.reason}", slices=len(found))


def located(place: Place, ready: Condition) -> Place:
    """The place of slices that are ready, with how many they are and which or how many workers each has."""
    return place._replace(slices=ready.slices, hosts=ready.workers // ready.slices, vms=ready.vms)


def _of_node(node: dict[str, Any] | None) -> Condition:
    if node is None:
        return Condition(State.MAKING, reason="ACTIVE, but without VMs")
    inside = node.get("state", "STATE_UNSPECIFIED")
    if inside in NODE_MAKING:
        return Condition(State.MAKING, reason=inside)
    if inside != "READY":
        return Condition(State.DEAD, reason=inside)
    workers = len(node.get("networkEndpoints", []))
    expected = _expected(node.get("acceleratorType", ""), workers)
    if workers != expected:
        return Condition(State.MAKING, reason=f"READY, but with {workers} of {expected} workers")
    return Condition(State.READY, workers, inside)


def describe(world: World, place: Place) -> Condition:
    """Asks Google Cloud. No answer is UNKNOWN, never ABSENT: nothing is made or deleted upon it."""
    queued = world.run(gcloud.describe_queued(place), ASKING)
    if _not_found(queued):
        return Condition(State.ABSENT)
    if queued.code != 0:
        return Condition(State.UNKNOWN, reason=queued.reason())
    try:
        request = json.loads(queued.out)
        spec = (request.get("tpu", {}).get("nodeSpec") or [{}])[0]
        count = int(spec.get("multisliceParams", {}).get("nodeCount", 1))
        nodes = []
        for number in range(count):
            node = world.run(gcloud.describe_node(place._replace(slices=count), number), ASKING)
            if node.code != 0 and not _not_found(node):
                return Condition(State.UNKNOWN, reason=node.reason())
            nodes.append(json.loads(node.out) if node.code == 0 else None)
        about = nodes[0] or spec.get("node", {})
        return condition(request, nodes)._replace(
            accelerator=str(about.get("acceleratorType", "")), slices=count
        )
    except (ValueError, TypeError, AttributeError, LookupError):
        return Condition(State.UNKNOWN, reason="gcloud's answer cannot be understood")


def _complaint(queued: dict[str, Any]) -> list[str]:
    error = queued["state"].get("failedData", {}).get("error", {})
    words = [STATUSES.get(error.get("code"), ""), " ".join(error.get("message", "").split())]
    return [word for word in words if word]


def _expected(accelerator: str, otherwise: int) -> int:
    try:
        return slices.hosts(accelerator)
    except ValueError:  # a type that is newer than this file
        return max(otherwise, 1)


def _not_found(output: Output) -> bool:
    return output.code not in (0, None) and "NOT_FOUND" in output.error
