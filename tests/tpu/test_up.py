"""The whole way, from an empty project to results, through every kind of trouble, on a fake cloud."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tpu import fake_cloud, fake_rest, stubs
from tpu import gcloud, launch, refusal
from tpu.cloud import refused_by
from tpu.gcloud import Place, Request
from tpu.refusal import Kind
from tpu.world import World, execute

UP = ["up", "sweep-1", "--zone", "us-east5-b", "--accelerator", "v4-16", "--spot"]
SWEEP = [
    "--",
    "sweep",
    "experiments/stand_in.py",
    "--workdir",
    "gs://runs",
    "--note",
    "a b'c\"; touch ~/x $HOME",
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one experiment."""
    root = tmp_path / "repository"
    (root / "experiments").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("stand_in.py"), root / "experiments")
    (root / "pyproject.toml").write_text("[project]\noptional-dependencies = {tpu = [], gs = []}\n")
    subprocess.run(["git", "-c", "init.defaultBranch=main", "init", "--quiet", root], check=True)
    return root


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fake cloud that refuses once and takes one slice away, and its `gcloud`."""
    folder = tmp_path / "cloud"
    fake_cloud.make(folder, refuse=1, preempt=1)
    programs = stubs.write(folder, real_gcloud=False)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    yield folder
    fake_cloud.delete(folder)  # ends whatever runs


def hasty(said: list[str], pause: float = 0.05) -> World:
    """A world whose clock jumps, in which every wait is a `pause`."""
    lock, seconds = threading.Lock(), 0.0

    def sleep(duration: float) -> None:
        nonlocal seconds
        with lock:
            seconds += 3 * duration
        time.sleep(pause)

    tokens = iter(range(100))

    def run(words, limit):
        return execute(threading.Event(), words, limit)

    return World(run, lambda: seconds, sleep, lambda: f"attempt{next(tokens)}", said.append)


def undisturbed(tmp_path: Path, flags: list[str]) -> list[str]:
    """The states that the stand-in ends in when nothing happens."""
    (tmp_path / "still").mkdir()
    script = Path(__file__).with_name("stand_in.py")
    workers = [
        subprocess.Popen(
            [sys.executable, script, "--workdir", "gs://runs", "--undisturbed", *flags],
            env={**os.environ, "BUCKET": str(tmp_path / "still"), "TPU_WORKER_ID": worker},
            stdout=subprocess.DEVNULL,
        )
        for worker in "01"
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    return [(tmp_path / "still/runs" / f"state{worker}").read_text() for worker in "01"]


def check(folder: Path, tmp_path: Path, said: list[str], flags: list[str]) -> None:
    """That all happened, in this order, and nothing was lost or left."""
    assert fake_cloud.history(folder) == [
        "refused", "created", "preempted", "deleted", "created", "deleted",
    ]  # fmt: skip
    results = [(folder / "bucket/runs" / f"state{worker}").read_text() for worker in "01"]
    assert results == undisturbed(tmp_path, flags)
    assert not fake_cloud.processes(folder)
    text = "\n".join(said)
    assert "Quota limit" in text and "(1 of 20 quota refusals); next in 30 s" in text
    assert "the command crashed: worker 1 ended with exit code 1" in text
    assert "[1] worker 1 fails" in said  # its stderr, with the worker's number
    assert "(1 of 100 preemptions)" in text and any(
        lost in text for lost in ("SUSPENDED", "slice 1: PREEMPTED", "dead (TERMINATED)")
    )
    assert "the slice sweep-1 is deleted" in said
    starts = [line for line in said if "from step" in line]
    # The second start may be taken away before it is looked at.
    seen = {line.split(" with ")[0] for line in starts} - {"[0] from step 3", "[1] from step 3"}
    assert seen == {f"[{worker}] from step {step}" for worker in (0, 1) for step in (0, 6)}
    assert all(repr(SWEEP[-1]) in line for line in starts)  # spaces, quotes and ; arrive as they were
    # fdl's own account of its restarts begins with what the launcher did, where it is the same launcher's.
    told = [line for line in said if line.startswith("[1] restart ")]
    assert told[0] == "[1] restart None"
    assert re.fullmatch(r"\[1\] restart create=[1-9]\d*\.\d,set_up=\d+\.\d", told[-1])
    # After the failure on the same slice, then on another.
    assert "going on: set up in " in text and "going on: made again in " in text


@pytest.mark.medium
@pytest.mark.parametrize("slices", [1, 2])
def test_from_an_empty_project_to_results(slices, cloud, repository, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    said: list[str] = []
    flags = ["--slices", "2", "--env", "HF_TOKEN"] if slices > 1 else []
    words = [*UP[:5], "v4-8" if slices > 1 else "v4-16", *UP[6:], *flags, *SWEEP]
    assert launch.main(words, world=hasty(said), root=repository) == 0, said
    check(cloud, tmp_path, said, [])
    assert ("slice 1: PREEMPTED" in "\n".join(said)) == (slices > 1)


@pytest.fixture
def real_gcloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """A fake cloud like the other behind the real gcloud, and the requests for slices."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    folder = tmp_path / "cloud"
    fake_cloud.make(folder, refuse=1, preempt=1)
    programs = stubs.write(folder, real_gcloud=True)
    server, created = fake_rest.serve(folder)
    here = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": "fake",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_TPU": f"{here}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{here}/compute/v1/",
    }.items():
        monkeypatch.setenv(name, value)
    yield folder, created
    server.shutdown()
    fake_cloud.delete(folder)


@pytest.mark.slow
def test_the_same_with_the_real_gcloud(real_gcloud, repository, tmp_path, monkeypatch):
    folder, created = real_gcloud
    with socket.socket() as free:
        free.bind(("localhost", 0))
        monkeypatch.setenv("JAX_COORDINATOR_PORT", str(free.getsockname()[1]))
    said: list[str] = []
    words = [*UP, *SWEEP[:-2], "--jax", *SWEEP[-2:]]
    assert launch.main(words, world=hasty(said, pause=1.0), root=repository) == 0, said
    check(folder, tmp_path, said, ["--jax"])
    asked = created[-1]
    assert "spot" in asked and "guaranteed" not in asked
    assert asked["queueingPolicy"] == {"validUntilDuration": "86400s"}
    node = asked["tpu"]["nodeSpec"][0]
    assert node["nodeId"] == "sweep-1"
    assert node["node"]["acceleratorType"] == "v4-16"
    assert node["node"]["runtimeVersion"] == "tpu-ubuntu2204-base"
    assert node["node"]["metadata"] == {
        "fdl-name": "sweep-1",
        "fdl-zone": "us-east5-b",
        "fdl-lifetime": "43200",
        "startup-script": (launch.ROOT / "tpu/run.sh").read_text(),
    }


@pytest.mark.slow
def test_what_the_real_gcloud_makes_of_the_rest(real_gcloud, tmp_path, monkeypatch):
    folder, created = real_gcloud
    said: list[str] = []
    world = hasty(said)
    place = Place("sweep-1", "us-east5-b")
    for status, kind in (
        ((400, "Accelerator type v6e-24 is not known"), Kind.INPUT),
        ((403, "Permission 'tpu.queuedResources.create' denied"), Kind.ACCESS),
        ((404, "Runtime version not found"), Kind.INPUT),
        ((429, "There is no more capacity in the zone"), Kind.CAPACITY),
        (None, Kind.QUOTA),
    ):
        with fake_cloud.opened(folder) as state:
            state["status"] = status
        refused = refused_by(world, gcloud.create(place, Request("v6e-16")))
        assert refused and refusal.kind(refused) is kind, refused
    # In a folder whose name has a comma, which gcloud takes for the beginning of another file.
    script = tmp_path / "a,b" / "run.sh"
    script.parent.mkdir()
    script.write_text("true\n")
    monkeypatch.setattr(gcloud, "SCRIPT", script)
    assert refused_by(world, gcloud.create(place, Request("v6e-16", slices=2))) is None
    spec = created[-1]["tpu"]["nodeSpec"][0]
    assert spec["multisliceParams"] == {"nodeCount": 2, "nodeIdPrefix": "sweep-1"} and "nodeId" not in spec
    assert spec["node"]["metadata"]["startup-script"] == "true\n"
    while fake_cloud.look(folder)[0] != "ACTIVE":
        pass
    assert launch.main(["costs", "--zone", "us-east5-b"], world=world) == 0
    assert "sweep-1 in us-east5-b: v4-16, READY, for " in said[0] and "$25.76 an hour" in said[0]
    assert len(said) == 2
