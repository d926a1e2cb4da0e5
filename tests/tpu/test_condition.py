"""The condition of a slice: ready only when all of it is, absent only when Google Cloud says so."""

import json

import pytest

from tpu.condition import Condition, State, condition, describe
from tpu.gcloud import Place
from tpu.world import Output, World


def queued(name: str) -> dict:
    return {"state": {"state": name}}


def node(name: str, workers: int = 4, accelerator: str = "v5litepod-16") -> dict:
    return {"state": name, "acceleratorType": accelerator, "networkEndpoints": [{}] * workers}


@pytest.mark.parametrize(
    ("request_", "vms", "state"),
    [
        ("CREATING", None, State.WAITING),
        ("ACCEPTED", None, State.WAITING),
        ("WAITING_FOR_RESOURCES", None, State.WAITING),
        ("PROVISIONING", node("CREATING"), State.MAKING),
        ("ACTIVE", node("READY"), State.READY),
        ("ACTIVE", node("READY", 5, "v99-1"), State.READY),
        ("ACTIVE", node("CREATING"), State.MAKING),
        ("ACTIVE", node("REPAIRING"), State.MAKING),
        ("ACTIVE", None, State.MAKING),
        ("ACTIVE", node("READY", 3), State.MAKING),
        ("ACTIVE", node("READY", 0, ""), State.MAKING),
        ("ACTIVE", node("PREEMPTED"), State.DEAD),
        ("ACTIVE", node("TERMINATED"), State.DEAD),
        ("ACTIVE", node("STOPPED"), State.DEAD),
        ("ACTIVE", node("A_NEW_WORD"), State.DEAD),
        ("SUSPENDING", node("READY"), State.DEAD),
        ("SUSPENDED", None, State.DEAD),
        ("FAILED", None, State.REFUSED),
        ("DELETING", node("READY"), State.LEAVING),
        ("A_NEW_WORD", None, State.DEAD),
    ],
)
def test_condition(request_, vms, state):
    found = condition(queued(request_), [vms])
    assert found.state is state
    assert found.workers == (len(vms["networkEndpoints"]) if state is State.READY else 0)


def test_why_a_request_failed():
    failed = {"state": {"state": "FAILED", "failedData": {"error": {"message": "no\n capacity"}}}}
    assert condition(failed, [None]).reason == "FAILED: no capacity"
    failed["state"]["failedData"]["error"]["code"] = 8
    assert condition(failed, [None]).reason == "FAILED: RESOURCE_EXHAUSTED: no capacity"


@pytest.mark.parametrize(
    ("nodes", "state", "workers", "reason"),
    [
        ([node("READY"), node("READY")], State.READY, 8, "READY"),
        ([node("READY"), node("READY", 3)], State.MAKING, 0, "slice 1: READY, but with 3 of 4 workers"),
        ([None, node("READY")], State.MAKING, 0, "slice 0: ACTIVE, but without VMs"),
        ([node("CREATING"), node("PREEMPTED")], State.DEAD, 0, "slice 1: PREEMPTED"),
    ],
)
def test_several_slices_are_ready_together_and_lost_together(nodes, state, workers, reason):
    assert condition(queued("ACTIVE"), nodes) == Condition(state, workers, reason, slices=2)


def test_half_a_slice_is_named():
    assert condition(queued("ACTIVE"), [node("READY", 3)]).reason == "READY, but with 3 of 4 workers"


MISSING = Output(1, b"", "ERROR: (gcloud.x.describe) NOT_FOUND: Resource not found\n")
DENIED = Output(1, b"", "ERROR: (gcloud.x.describe) PERMISSION_DENIED: no\n")
ACTIVE = Output(0, json.dumps(queued("ACTIVE")).encode(), "")
READY = Output(0, json.dumps(node("READY")).encode(), "a warning")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([MISSING], Condition(State.ABSENT)),
        ([ACTIVE, READY], Condition(State.READY, 4, "READY", "v5litepod-16")),
        ([ACTIVE, MISSING], Condition(State.MAKING, 0, "ACTIVE, but without VMs")),
        ([DENIED], Condition(State.UNKNOWN, 0, "ERROR: (gcloud.x.describe) PERMISSION_DENIED: no")),
        ([ACTIVE, DENIED], Condition(State.UNKNOWN, 0, "ERROR: (gcloud.x.describe) PERMISSION_DENIED: no")),
        ([Output(None, b"", "")], Condition(State.UNKNOWN, 0, "no answer in time")),
        *(
            ([Output(0, odd, ""), READY], Condition(State.UNKNOWN, 0, "gcloud's answer cannot be understood"))
            for odd in (b"<html>", b"[]", b"null", b'{"state": []}', b"\xff")
        ),
    ],
)
def test_no_answer_is_never_taken_for_absent(answers, expected):
    left = iter(answers)
    world = World(lambda words, limit: next(left), lambda: 0.0, lambda s: None, lambda: "", lambda line: None)
    assert describe(world, Place("a", "us-east5-b")) == expected
