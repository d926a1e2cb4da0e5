"""`fdl doctor` on simulated devices, of one process and of two: all agree on what is wrong, and end so."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parallel.hosts_driver import Ended

pytestmark = pytest.mark.medium

ROOT = Path(__file__).parents[2]
Play = Callable[..., Ended]
SLOW = ["multiplies matrices at 0.891 TFLOP/s; expected 90% or more of the others' median, 1.00 TFLOP/s"]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Plays a scenario of the driver, whose processes share what they import."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_FLAGS", "JAX_", "SLURM_", "NPROC"))}
    env |= {"FDL_CACHE": str(tmp_path_factory.mktemp("cache")), "COLUMNS": "200"}
    command = [sys.executable, "-m", "tests.parallel.hosts_driver"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env
    ) as driver:
        assert driver.stdin and driver.stdout
        stdin, stdout = driver.stdin, driver.stdout

        def one(*words: str, **scenario: Any) -> Ended:
            folder = str(tmp_path_factory.mktemp("folder"))
            print(json.dumps({"words": words, "folder": folder, **scenario}), file=stdin, flush=True)
            return Ended(**json.loads(stdout.readline()))

        yield one
        stdin.close()


def told(ended: Ended) -> Any:
    """What process 0 says in JSON; gloo writes before it."""
    return json.loads(ended.out[0].splitlines()[-1])


def test_one_process_of_four_devices(play, tmp_path):
    ended = play("doctor", "--json", "--workdir", str(tmp_path / "runs" / "x"), devices=4)
    assert ended.codes == [0], ended.errors
    found = told(ended)
    assert found["findings"] == []
    assert len({one["digest"] for one in found["products"]}) == 1 and len(found["products"]) == 4
    (along,) = found["reductions"]
    assert (along["axis"], along["size"], along["wrong"]) == ("device", 4, [])
    assert found["hosts"][0]["bucket"] == "" and found["caches"][0]["works"] is True
    assert list(tmp_path.iterdir()) == []
    again = told(play("doctor", "--json", devices=4))
    (cache,) = again["caches"]
    assert cache["hits"] == cache["asked"] > 0


@pytest.mark.parametrize(("fault", "said"), [
    ("wrong", ["fdl doctor: unfit: device 3 of worker 0 (", "computed a wrong product", "on 3 devices"]),
    ("slow", ["fdl doctor: unfit: device 3 of worker 0 (", *SLOW]),
])  # fmt: skip
def test_a_device_of_four_is_named(play, fault, said):
    ended = play("doctor", devices=4, planted=fault)
    assert ended.codes == [1]
    (line,) = ended.errors[0].splitlines()
    assert all(part in line for part in said), line


def test_two_processes_that_are_well(play):
    ended = play("doctor", "--json", processes=2, devices=2)
    assert ended.codes == [0, 0], ended.errors
    found = told(ended)
    assert "findings" not in ended.out[1] and found["findings"] == []
    assert [(one["process"], one["axis"]) for one in found["reductions"]] == [
        (0, "worker"), (0, "device"), (1, "worker"), (1, "device")
    ]  # fmt: skip
    assert len({one["digest"] for one in found["products"]}) == 1 and len(found["products"]) == 4
    assert [host["port"] for host in found["hosts"]] == ["", ""]


@pytest.mark.parametrize(("fault", "said"), [
    ("wrong", ["fdl doctor: unfit: device ", "of worker 1 (", "computed a wrong product", "on 3 devices"]),
    ("slow", ["fdl doctor: unfit: device ", "of worker 1 (", *SLOW]),
    ("version", ["error: jax is ", "on worker 0 (", "0.0.1 on worker 1 ("]),
    ("bucket", ["error: worker 1 (", "could not write, read and delete"]),
    ("port", ["error: worker 1 (", "could not reach the coordinator at 10.0.0.2:8476 (timed out)"]),
])  # fmt: skip
def test_both_of_two_processes_end_by_a_fault_of_one(play, fault, said):
    ended = play("doctor", processes=2, devices=2, planted=fault, victim=1)
    assert ended.codes == [1, 1]
    (line,) = ended.errors[0].splitlines()
    assert all(part in line for part in said), line
    assert ended.errors[1] == ""
    assert ("nothing was run on devices" in ended.out[0]) == (fault == "version")


def test_a_command_that_trains_begins_with_it(play, tmp_path):
    words = ["run", "tests/parallel/hosts_experiment.py", "--steps", "60", "--workdir", str(tmp_path / "x")]
    ended = play(*words, processes=2, devices=2, planted="wrong", victim=1)
    assert ended.codes == [1, 1]
    first, *rest = ended.errors[0].splitlines()
    assert first.startswith("fdl doctor: unfit: device ")
    assert "nothing was trained: 1 finding above; --no-doctor trains all the same" in rest[0]
    assert not (tmp_path / "x").exists()
