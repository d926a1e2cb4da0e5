"""The condition of a slice that is a managed instance group, from what is said of the group and its VMs."""

from collections.abc import Sequence
from typing import Any

from tpu import refusal
from tpu.condition import Condition, State
from tpu.refusal import Kind

MAKING = ("PROVISIONING", "STAGING", "REPAIRING")
"""What a VM may say that will run."""
UNDER_WAY = ("RECREATING", "RESTARTING", "REFRESHING")
"""What is done to a VM that will run again: Compute Engine mends slices by itself, unless they are spot."""
NOT_YET = ("", "PENDING")
"""What a VM says that waits for capacity."""


def condition(group: dict[str, Any], vms: Sequence[dict[str, Any]]) -> Condition:
    """The condition of a group with these managed instances.

    They are ready only all together. A group is made as a whole, so one that runs with fewer has lost some.
    """
    size = int(group["targetSize"])
    kind = str(group.get("description", ""))
    found = _found(size, vms)
    names = tuple(sorted(one["instance"].rpartition("/")[2] for one in vms))
    ready = found.state is State.READY
    return found._replace(accelerator=kind, workers=size if ready else 0, vms=names if ready else ())


def _found(size: int, vms: Sequence[dict[str, Any]]) -> Condition:
    statuses = [one.get("instanceStatus", "") for one in vms]
    actions = [one.get("currentAction", "NONE") for one in vms]
    running = sum(
        status == "RUNNING" and action in ("NONE", "VERIFYING")
        for status, action in zip(statuses, actions, strict=True)
    )
    if size == 0:
        return Condition(State.DEAD, reason="it is to have no VMs")
    if vms and all(action == "DELETING" for action in actions):
        return Condition(State.LEAVING, reason="DELETING")
    for status, action in zip(statuses, actions, strict=True):
        if action in ("DELETING", "ABANDONING") or status not in ("RUNNING", *MAKING, *NOT_YET):
            return Condition(State.DEAD, reason=action if action != "NONE" else status)
    if running == size == len(vms):
        return Condition(State.READY, reason="RUNNING")
    if running and len(vms) < size:
        return Condition(State.DEAD, reason=f"{len(vms)} of {size} VMs are left")
    if any(status not in NOT_YET for status in statuses) or any(action in UNDER_WAY for action in actions):
        return Condition(State.MAKING, reason=f"{running} of {size} VMs run")
    complaint = _complaint(vms)
    # For capacity it goes on waiting by itself.
    if complaint and refusal.kind(complaint) is not Kind.CAPACITY:
        return Condition(State.REFUSED, reason=complaint)
    return Condition(State.WAITING, reason=complaint or "no VM yet")


def _complaint(vms: Sequence[dict[str, Any]]) -> str:
    """What Compute Engine said when it last tried to make a VM."""
    for one in vms:
        for error in one.get("lastAttempt", {}).get("errors", {}).get("errors", []):
            return " ".join(f"{error.get('code', '')}: {error.get('message', '')}".split())
    return ""
