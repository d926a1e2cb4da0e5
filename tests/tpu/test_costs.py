"""What costs: only numbers that are known."""

import calendar
import json

from tpu import launch
from tpu.world import Output, World

NOW = calendar.timegm((2026, 11, 27, 12, 0, 0))
PLACE = "projects/p/locations/us-east5-b"


def node(name: str, kind: str, state: str, made: str, **more: object) -> dict:
    return {
        "name": f"{PLACE}/nodes/{name}",
        "acceleratorType": kind,
        "state": state,
        "createTime": made,
        **more,
    }


NODES = [
    node(
        "a", "v6e-16", "READY", "2026-11-27T10:00:00.123456789Z", queuedResource=f"{PLACE}/queuedResources/a"
    ),
    node("b", "v5p-8", "REPAIRING", "2026-11-27T11:30:00Z", schedulingConfig={"spot": True}),
    node("c", "v4-8", "PREEMPTED", "2026-11-26T12:00:00Z"),
    node("d", "v3-8", "READY", "2026-11-27T11:00:00Z"),
    node("e", "v6e-1", "READY", "yesterday"),
]
REQUESTS = [
    {"name": f"{PLACE}/queuedResources/a", "state": {"state": "ACTIVE"}},
    {
        "name": f"{PLACE}/queuedResources/f",
        "createTime": "2026-11-27T09:00:00Z",
        "state": {"state": "WAITING_FOR_RESOURCES"},
        "spot": {},
        "tpu": {"nodeSpec": [{"node": {"acceleratorType": "v6e-4"}}]},
    },
]


def test_costs():
    said: list[str] = []

    def run(words, limit):
        if "--zone=us-west1-c" in words:
            return Output(1, b"", "ERROR: (gcloud.x) PERMISSION_DENIED: not you")
        return Output(0, json.dumps(NODES if "tpu-vm" in words else REQUESTS).encode(), "a warning")

    world = World(run, lambda: 0.0, lambda s: None, lambda: "", said.append, date=lambda: NOW)
    assert launch.main(["costs", "--zone", "us-east5-b,us-west1-c"], world=world) == 1
    assert said == [
        "a in us-east5-b: v6e-16, READY, for 2.0 h, $43.20 an hour, $86.40 so far",
        "b in us-east5-b: v5p-8 spot, REPAIRING, for 0.5 h, $16.80 an hour, $8.40 so far",
        "c in us-east5-b: v4-8, PREEMPTED, for 24.0 h, not billed",
        "d in us-east5-b: v3-8, READY, for 1.0 h, at the price that cloud.google.com/tpu/pricing says",
        "e in us-east5-b: v6e-1, READY, since when is not known, $2.70 an hour",
        "f (a request) in us-east5-b: v6e-4 spot, WAITING_FOR_RESOURCES, for 3.0 h, not billed",
        "together: $62.70 an hour, $94.80 so far, at the on-demand list prices of 2025 in the US, "
        "from creation on; spot costs less; 2 more whose price or age this launcher does not know",
        "us-west1-c does not answer: ERROR: (gcloud.x) PERMISSION_DENIED: not you",
    ]
