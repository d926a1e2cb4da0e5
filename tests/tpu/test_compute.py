"""A slice as a managed instance group: what gcloud is told, what a group's state means, and the whole way."""

import calendar
import json
import math
import shlex
import shutil
import subprocess

import pytest

from tests.tpu import fake_cloud
from tests.tpu.test_up import SWEEP, check, cloud, hasty, repository
from tpu import compute, gcloud, group, launch, slices
from tpu.cloud import describe
from tpu.condition import State
from tpu.gcloud import Place, Request
from tpu.world import Output, World, real

__all__ = ["cloud", "repository"]

PLACE = Place("sweep-1", "us-east5-b", "my-project", compute=True)
READY = PLACE._replace(vms=("sweep-1-a1", "sweep-1-b2"))
UP = ["up", "sweep-1", "--zone", "us-east5-b", "--accelerator", "tpu7x-16", "--spot", "--api", "compute"]
PROJECT = ["--project", "my-project"]


@pytest.mark.parametrize(
    ("accelerator", "kind", "count", "topology"),
    [
        ("v6e-1", "ct6e-standard-1t", 1, "1x1"),
        ("v6e-4", "ct6e-standard-4t", 1, "2x2"),
        ("v6e-8", "ct6e-standard-8t", 1, "2x4"),
        ("v6e-16", "ct6e-standard-4t", 4, "4x4"),
        ("v6e-256", "ct6e-standard-4t", 64, "16x16"),
        ("v5p-8", "ct5p-hightpu-4t", 1, "2x2x1"),
        ("v5p-32", "ct5p-hightpu-4t", 4, "2x2x4"),
        ("tpu7x-8", "tpu7x-standard-4t", 1, "2x2x1"),
        ("tpu7x-128", "tpu7x-standard-4t", 16, "4x4x4"),
    ],
)
def test_the_vms_of_a_slice(accelerator, kind, count, topology):
    assert compute.machine(accelerator) == (kind, count, topology)


def test_the_chips_of_a_topology_are_those_of_the_slice():
    for generation, shapes in slices.TOPOLOGIES.items():
        for chips, shape in shapes.items():
            assert math.prod(map(int, shape.split("x"))) == chips, (generation, shape)


def test_create_and_delete():
    policy, template, made = compute.create(PLACE, Request("tpu7x-16", "spot"))
    there = ["--region=us-east5", "--project=my-project"]
    assert policy == [
        "gcloud", "compute", "resource-policies", "create", "workload-policy", "sweep-1-b",
        "--type=HIGH_THROUGHPUT", "--accelerator-topology=2x2x2", *there, "--quiet",
    ]  # fmt: skip
    assert template == [
        "gcloud", "compute", "instance-templates", "create", "sweep-1-b",
        "--instance-template-region=us-east5", "--machine-type=tpu7x-standard-4t",
        "--image-family=ubuntu-accel-2404-amd64-tpu-tpu7x",
        "--image-project=ubuntu-os-accelerator-images", "--boot-disk-size=100GB", "--scopes=cloud-platform",
        "--maintenance-policy=TERMINATE", "--provisioning-model=SPOT", "--max-run-duration=43800s",
        "--instance-termination-action=DELETE",
        "--metadata=fdl-name=sweep-1,fdl-zone=us-east5-b,fdl-lifetime=43200,fdl-project=my-project,fdl-api=compute",
        f"--metadata-from-file=startup-script={gcloud.SCRIPT}", "--project=my-project", "--quiet",
    ]  # fmt: skip
    regional = "projects/my-project/regions/us-east5"
    assert made == [
        "gcloud", "compute", "instance-groups", "managed", "create", "sweep-1",
        f"--template={regional}/instanceTemplates/sweep-1-b", "--size=2",
        f"--workload-policy={regional}/resourcePolicies/sweep-1-b", "--target-size-policy-mode=bulk",
        "--default-action-on-vm-failure=do-nothing", "--description=tpu7x-16",
        "--zone=us-east5-b", "--project=my-project", "--quiet",
    ]  # fmt: skip
    template, made = compute.create(PLACE, Request("v6e-8"))  # one VM needs no policy
    assert "--provisioning-model=STANDARD" in template and not any("policy=projects" in word for word in made)
    assert compute.delete(PLACE)[4:6] == ["delete", "sweep-1"]
    assert [words[2:5] for words in compute.tidy(PLACE)] == [
        [kind, "delete", "sweep-1-b"] for kind in ("instance-templates", "resource-policies")
    ]
    assert gcloud.ssh(READY, 1, words=["a b"])[:5] == [
        "gcloud",
        "compute",
        "ssh",
        "sweep-1-b2",
        "--command='a b'",
    ]
    assert gcloud.scp(READY, 0, files=["f"], to="t")[2:5] == ["scp", "f", "sweep-1-a1:t"]


def lint(*commands: list[str]) -> list[dict]:
    """What the real gcloud's parser says of command lines."""
    found = []
    for words in commands:
        text = " ".join(["gcloud", *words[1:]])
        done = subprocess.run(
            ["gcloud", "meta", "lint-gcloud-commands", f"--command-string={text}"],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        found += json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_the_real_gcloud_knows_every_flag():
    *others, made = compute.create(PLACE, Request("tpu7x-16", "spot"))
    # SDK 528, of June 2025, has --target-size-policy-mode only in its alpha track; later ones without.
    made.insert(1, "alpha")
    page = (
        (launch.ROOT / "tpu/COMPUTE.md").read_text().replace("\\\n", " ").replace("MY-PROJECT", "my-project")
    )
    shown = [shlex.split(line) for line in page.splitlines() if line.startswith("gcloud ")]
    assert len(shown) == 6
    reach = [gcloud.ssh(READY, 0, words=["true"]), gcloud.scp(READY, 0, files=["a"], to="b")]
    asks = [compute.describe(PLACE), compute.list_vms(PLACE), compute.delete(PLACE), *compute.tidy(PLACE)]
    every = [*others, made, *reach, *asks, *shown]
    for words, said in zip(every, lint(*every), strict=True):
        assert said["success"], (words, said)
    assert not lint([*compute.delete(PLACE), "--no-such-flag"])[0]["success"]


def vm(status: str, action: str = "NONE", error: str = "", name: str = "x") -> dict:
    code, _, message = error.partition(" ")
    attempt = {"errors": {"errors": [{"code": code, "message": message}]}} if error else {}
    return {
        "instance": f"p/{name}",
        "instanceStatus": status,
        "currentAction": action,
        "lastAttempt": attempt,
    }


RUNS = vm("RUNNING")


@pytest.mark.parametrize(
    ("vms", "state", "reason"),
    [
        ([], State.WAITING, "no VM yet"),
        ([vm("PENDING", "CREATING")] * 2, State.WAITING, "no VM yet"),
        ([vm("", "CREATING", "ZONE_RESOURCE_POOL_EXHAUSTED not enough")] * 2, State.WAITING, "ZONE_RESOURCE"),
        (
            [vm("", "CREATING", "QUOTA_EXCEEDED Quota 'X' exceeded.")] * 2,
            State.REFUSED,
            "QUOTA_EXCEEDED: Quota",
        ),
        ([vm("STAGING", "CREATING")] * 2, State.MAKING, "0 of 2 VMs run"),
        ([RUNS, vm("STAGING", "CREATING")], State.MAKING, "1 of 2 VMs run"),
        ([RUNS, vm("RUNNING", "CREATING")], State.MAKING, "1 of 2"),
        ([vm("", "RECREATING")] * 2, State.MAKING, "0 of 2"),
        ([RUNS, RUNS], State.READY, "RUNNING"),
        ([RUNS], State.DEAD, "1 of 2 VMs are left"),
        ([RUNS, vm("STOPPING")], State.DEAD, "STOPPING"),
        ([RUNS, vm("TERMINATED")], State.DEAD, "TERMINATED"),
        ([RUNS, vm("RUNNING", "DELETING")], State.DEAD, "DELETING"),
        ([vm("RUNNING", "DELETING"), vm("STOPPING", "DELETING")], State.LEAVING, "DELETING"),
    ],
)
def test_the_condition_of_a_group(vms, state, reason):
    found = group.condition({"targetSize": 2, "description": "tpu7x-16"}, vms)
    assert found.state is state and found.reason.startswith(reason)
    assert (found.workers, found.accelerator) == (2 if state is State.READY else 0, "tpu7x-16")


def test_a_groups_vms_are_named_in_order():
    vms = [vm("RUNNING", name=name) for name in ("b", "a")]
    assert group.condition({"targetSize": 2}, vms).vms == ("a", "b")
    assert group.condition({"targetSize": 0}, []).state is State.DEAD


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ("ERROR: (x) No:\n - The resource 'z/instanceGroupManagers/sweep-1' was not found", State.ABSENT),
        ("ERROR: (x) No:\n - The resource 'projects/p/zones/b' was not found", State.UNKNOWN),
        ("ERROR: no network", State.UNKNOWN),
    ],
)  # fmt: skip
def test_only_a_group_that_is_said_to_be_missing_is_absent(error, state):
    world = real()._replace(run=lambda words, limit: Output(1, b"", error))
    found = describe(world, PLACE)
    assert found.state is state
    assert state is State.ABSENT or found.reason == " ".join(error.split())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (UP, "--api compute needs --project"),
        ([*UP, *PROJECT, "--slices", "2"], "--slices is not for --api compute"),
        ([*UP[:-1], "tpu", *PROJECT], "tpu7x-16 is only to be had with --api compute, or through GKE"),
        ([*UP[:5], "v4-8", *UP[6:], *PROJECT], "v4-8 is only to be had through the Cloud TPU API"),
        ([*UP[:5], "v5p-384", *UP[6:], *PROJECT], "which shape v5p-384 has"),
        ([*UP[:6], "--reserved", *UP[7:], *PROJECT], "--reserved is not for --api compute"),
    ],
)
def test_what_compute_engine_cannot_give(words, complaint, repository, capsys):
    assert launch.main([*words, *SWEEP], world=real(), root=repository) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.medium
def test_from_an_empty_project_to_results(cloud, repository, tmp_path):
    said: list[str] = []
    words = [*UP, *PROJECT, *SWEEP]
    assert launch.main(words, world=hasty(said), root=repository) == 0, said
    check(cloud, tmp_path, said, [])
    assert not [path for path in (cloud / "regional").rglob("*") if path.is_file()]
    # What a group has left, which a worker deleted, is in nobody's way.
    for kind in ("instance-templates", "resource-policies"):
        (cloud / "regional" / kind / "sweep-1-b").touch()
    create = ["create", *UP[1:], *PROJECT]
    assert launch.main(create, world=hasty(said), root=repository) == 0, said
    assert said[-1] == "the slice sweep-1 is ready: 2 workers"
    assert launch.main(["delete", *UP[1:4], "--api", "compute", *PROJECT], world=hasty(said)) == 0
    assert fake_cloud.history(cloud)[-2:] == ["created", "deleted"]


def test_dry_run_names_every_command(repository):
    said: list[str] = []
    words = [*UP, *PROJECT, "--dry-run", *SWEEP]
    assert launch.main(words, world=real()._replace(say=said.append), root=repository) == 0
    assert not any(" tpus " in line for line in said)
    creates = [line for line in said if " create " in line]
    assert [line.split()[2] for line in creates] == [
        "resource-policies",
        "instance-templates",
        "instance-groups",
    ]
    assert sum(" start " in line for line in said) == 2


def test_costs():
    def answer(name: str, kind: str, status: str, model: str) -> dict:
        made = "2026-11-27T02:00:00.123-08:00"
        about = {"machineType": f"zones/z/machineTypes/{kind}", "scheduling": {"provisioningModel": model}}
        return {"name": name, "status": status, "creationTimestamp": made, **about}

    vms = [
        answer("a-1", "ct6e-standard-4t", "RUNNING", "SPOT"),
        answer("b-1", "tpu7x-standard-4t", "RUNNING", "STANDARD"),
        answer("c-1", "ct5p-hightpu-4t", "TERMINATED", "STANDARD"),
    ]
    said: list[str] = []
    at = float(calendar.timegm((2026, 11, 27, 12, 0, 0)))
    run = lambda words, limit: Output(0, json.dumps(vms).encode(), "")  # noqa: E731
    world = World(run, lambda: 0.0, lambda _: None, lambda: "", said.append, date=lambda: at)
    words = ["costs", "--zone", "us-east5-b", "--api", "compute", *PROJECT]
    assert launch.main(words, world=world) == 0
    assert said[0].startswith("a-1 in us-east5-b: ct6e-standard-4t spot, RUNNING, for 2.0 h, $10.80 an hour")
    assert "at the price that cloud.google.com" in said[1] and "not billed" in said[2]
    assert said[3].startswith("together: $10.80 an hour") and "1 more whose price" in said[3]


@pytest.mark.medium
def test_a_request_that_is_refused_leaves_nothing(cloud):
    said: list[str] = []
    assert launch.main(["create", *UP[1:], *PROJECT], world=hasty(said)) == 1
    assert fake_cloud.history(cloud) == ["refused"]
    assert not [path for path in (cloud / "regional").rglob("*") if path.is_file()]
    assert any("Quota limit" in line for line in said)
