"""A slice in one of several zones: found, tried in turn, and left nowhere."""

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tpu.test_launch import PROJECT, SWEEP
from tpu import launch
from tpu.world import Output, World, real

ZONES = ["sweep-1", "--zone", "us-east5-b,us-west1-c,us-central1-a"]
A, B, C = ZONES[-1].split(",")
NO_CAPACITY = 'ERROR: (gcloud.x) There is no more capacity in the zone "x"'
UP = ["up", *ZONES, "--accelerator", "v6e-1"]


class Cloud:
    """Slices in zones, on a clock that only waits on paper. What is asked for is there at the next look."""

    def __init__(self, **slices: str) -> None:
        self.slices = {zone.replace("_", "-"): state for zone, state in slices.items()}
        self.refusals: dict[str, list[str]] = {}
        self.late: list[str] = []
        """zones in which a request that was refused comes through all the same, once"""
        self.done: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.job, self.seconds = "", 0.0

    def world(self) -> World:
        return World(self.run, lambda: self.seconds, self.sleep, lambda: "t", self.said.append, at_once=1)

    def sleep(self, duration: float) -> None:
        self.seconds += duration

    def run(self, words: Sequence[str], limit: float) -> Output:
        del limit
        zone = next(word.partition("=")[2] for word in words if word.startswith("--zone="))
        if words[4] in ("create", "delete"):
            self.done.append((words[4], zone))
        if words[4] == "create":
            if self.refusals.get(zone):
                return Output(1, b"", self.refusals[zone].pop(0))
            self.slices[zone] = "ACTIVE"
        if words[4] == "delete":
            self.slices.pop(zone, None)
        if words[3:5] == ["queued-resources", "describe"]:
            state = self.slices.get(zone)
            return Output(0, f'{{"state": {{"state": "{state}"}}}}'.encode(), "") if state else MISSING
        if words[3:5] == ["tpu-vm", "describe"]:
            return Output(0, b'{"state": "READY", "networkEndpoints": [{}]}', "")
        command = next((word for word in words if word.startswith("--command=")), "")
        if command:
            assert zone in self.slices
        if " start " in command:
            self.job = next(word for word in shlex.split(command)[3:] if word[:2] != "--")
            for late in self.late:
                self.slices[late] = "ACTIVE"
        if " poll " in command:
            state = f"{self.job} ended 0" if self.job else "- absent -"
            return Output(0, f"fdl-tpu {state} 0 0\nfdl-tpu exit 0\n".encode(), "")
        return Output(0, b"fdl-tpu exit 0\n", "")


MISSING = Output(1, b"", "ERROR: NOT_FOUND")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one experiment."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/one.py").write_text("SWEEP = 1\n")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    subprocess.run(["git", "-c", "init.defaultBranch=main", "init", "--quiet", tmp_path], check=True)
    return tmp_path


@pytest.mark.parametrize("command", ["up", "create"])
def test_zones_are_tried_in_turn_and_nothing_is_left(command, root):
    cloud = Cloud()
    cloud.refusals = {A: [NO_CAPACITY], B: ["ERROR: Quota limit 'x' has been exceeded."]}
    words = [command, *UP[1:], *(SWEEP if command == "up" else [])]
    assert launch.main(words, world=cloud.world(), root=root) == 0
    assert cloud.done == [("create", A), ("create", B), ("create", C)] + [("delete", C)] * (command == "up")
    assert list(cloud.slices) == ([] if command == "up" else [C])


def test_the_zones_come_round_again(root):
    cloud = Cloud()
    cloud.refusals = {A: [NO_CAPACITY] * 2, B: [NO_CAPACITY] * 2, C: [NO_CAPACITY]}
    assert launch.main([*UP, *SWEEP], world=cloud.world(), root=root) == 0
    assert [zone for verb, zone in cloud.done if verb == "create"] == [A, B, C, A, B, C]


def test_a_request_that_waits_in_one_zone_is_deleted_before_another_is_asked(root):
    cloud = Cloud(**{A.replace("-", "_"): "WAITING_FOR_RESOURCES"})
    assert launch.main([*UP, *SWEEP], world=cloud.world(), root=root) == 0
    assert cloud.done == [("delete", A), ("create", B), ("delete", B)]
    assert cloud.slices == {} and cloud.seconds >= 1800


def test_what_came_late_in_a_zone_that_was_left_is_deleted(root):
    cloud = Cloud()
    cloud.refusals, cloud.late = {A: ["no answer in time"]}, [A]
    assert launch.main([*UP, *SWEEP], world=cloud.world(), root=root) == 0
    assert ("delete", A) in cloud.done and cloud.slices == {}


def test_a_refusal_that_is_final_ends_all_zones_and_leaves_nothing(root, capsys):
    cloud = Cloud()
    cloud.refusals = {A: [NO_CAPACITY], B: ["ERROR: (gcloud.x) INVALID_ARGUMENT: no v6e here"]}
    assert launch.main([*UP, *SWEEP], world=cloud.world(), root=root) == 2
    assert [verb for verb, _ in cloud.done] == ["create", "create"] and cloud.slices == {}
    assert cloud.seconds < 600
    shown = capsys.readouterr().err
    assert "no v6e here; asking again cannot help" in shown and shown.count("\n") == 1


@pytest.mark.parametrize(
    "words", [[*UP, *SWEEP], ["run", *ZONES, *SWEEP], ["setup", *ZONES], ["logs", *ZONES], ["stop", *ZONES]]
)
def test_a_slice_is_found_in_its_zone(words, root):
    cloud = Cloud(**{B.replace("-", "_"): "ACTIVE"})
    assert launch.main(words, world=cloud.world(), root=root) == 0
    assert not any(verb == "create" for verb, _ in cloud.done)


def test_a_name_in_two_zones_is_nobodys_guess(root, capsys):
    cloud = Cloud(**{zone.replace("-", "_"): "ACTIVE" for zone in (A, C)})
    assert launch.main([*UP, *SWEEP], world=cloud.world(), root=root) == 2
    assert f"there is a slice sweep-1 in {A} and in {C}; delete it" in capsys.readouterr().err
    assert cloud.done == []
    assert launch.main(["delete", *ZONES], world=cloud.world(), root=root) == 0
    assert cloud.slices == {}


@pytest.mark.parametrize("command", ["up", "create", "run", "delete"])
@pytest.mark.parametrize(
    ("reason", "code"), [("INVALID_ARGUMENT: no such zone", 2), ("PERMISSION_DENIED: not you", 1)]
)
def test_a_zone_that_google_cloud_refuses_to_speak_of_ends_at_once(command, reason, code, root, capsys):
    def run(words, limit):
        return Output(1, b"", f"ERROR: (gcloud.x) {reason}") if f"--zone={C}" in words else MISSING

    def sleep(duration):
        raise AssertionError("it waits")

    world = real()._replace(run=run, sleep=sleep)
    request = ["--accelerator", "v6e-1"] if command in ("up", "create") else []
    words = [command, *ZONES, *request, *(SWEEP if command in ("up", "run") else [])]
    assert launch.main(words, world=world, root=root) == (1 if command == "delete" else code)
    shown = capsys.readouterr().err
    assert C in shown and f"{reason}; asking again cannot help" in shown and shown.count("\n") == 1
