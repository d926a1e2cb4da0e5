"""Two processes, each with its part of the state on a disk of its own: all are killed, and start again."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parallel.hosts_driver import Ended
from tests.parallel.test_distributed import RUN, agrees, outcome

pytestmark = pytest.mark.slow

TWO: dict[str, Any] = {"processes": 2, "devices": 2}


def words(place: Path, *more: str) -> list[str]:
    """A run that is saved often on the disks in a place, and at step 25 in its directory."""
    near = ["--emergency", str(place / "near"), "--emergency-seconds", "0"]
    return [*RUN[:-1], "25", *near, *more]


def sealed(folder: Path) -> set[int]:
    """The steps of the checkpoints in a folder that are whole."""
    return {int(path.parent.name) for path in folder.glob("*/checksums.json")}


def newest(place: Path) -> tuple[int, str]:
    """Where a start should go on, and of which kind that checkpoint is."""
    (unit,) = (place / "run" / "units").iterdir()
    there = max(sealed(unit / "checkpoints"), default=0)
    (owner,) = (place / "near").iterdir()
    own = max(sealed(owner / "0") & sealed(owner / "1"), default=0)
    return (own, "of the emergency checkpoints") if own > there else (there, "of the directory")


@pytest.fixture(scope="module")
def undisturbed(play: Callable[..., Ended], tmp_path_factory) -> Path:
    """A run without any of it."""
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    ended = play([*RUN, "--mesh", "fsdp=4"], directory, **TWO)
    assert ended.codes == [0, 0], ended.errors
    return directory


@pytest.fixture(scope="module")
def killed(play: Callable[..., Ended], tmp_path_factory) -> Path:
    """Where all were killed with a checkpoint of step 25, and emergency checkpoints of step 40 or later."""
    place = tmp_path_factory.mktemp("killed")
    near, there = place / "near/*/*/40/checksums.json", place / "run/units/*/checkpoints/25/checksums.json"
    wait = {str(near): 2, str(there): 1}
    run = words(place, "--mesh", "fsdp=4")
    ended = play(run, place / "run", harm="blackout", victim=1, step=41, awaits=wait, **TWO)
    assert ended.codes == [-9, -9], ended.errors
    step, kind = newest(place)
    assert step >= 40 and kind == "of the emergency checkpoints"
    return place


def equal(directory: Path, other: Path) -> None:
    """Not a bit differs."""
    (rows, state), (other_rows, other_state) = outcome(directory), outcome(other)
    assert rows == other_rows
    for one, same in zip(state, other_state, strict=True):
        np.testing.assert_array_equal(one, same)


def test_all_killed_at_any_time_it_goes_on_from_the_newest_and_not_a_bit_differs(play, undisturbed, tmp_path):
    step, victim = random.randrange(3, 57), random.randrange(2)
    run = words(tmp_path, "--mesh", "fsdp=4")
    ended = play(run, tmp_path / "run", harm="blackout", victim=victim, step=step, **TWO)
    assert ended.codes == [-9, -9], step
    at, kind = newest(tmp_path)
    again = play(run, tmp_path / "run", **TWO)
    assert again.codes == [0, 0], (step, again.errors)
    assert not at or f"going on from step {at}, {kind}" in again.errors[0], (step, victim)
    equal(tmp_path / "run", undisturbed)
    assert not list((tmp_path / "near").iterdir()), "none is left of a run that has ended"


def test_where_none_is_whole_on_both_all_go_on_from_the_directory(play, undisturbed, killed, tmp_path):
    """Of the newest one process has lost its part, and of the one before the other's is damaged."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    (owner,) = (tmp_path / "near").iterdir()
    before, last = sorted(sealed(owner / "0") & sealed(owner / "1"))
    shutil.rmtree(owner / "1" / str(last))
    arrays = owner / "0" / str(before) / "arrays"
    content = bytearray(arrays.read_bytes())
    content[-1] ^= 1
    arrays.write_bytes(content)
    again = play(words(tmp_path), tmp_path / "run", **TWO)
    assert again.codes == [0, 0], again.errors
    said = again.errors[0]
    assert f"of step {last}: process 1: has no" in said
    assert f"of step {before}: process 0: arrays does not agree with its checksum" in said
    assert "going on from step 25, of the directory" in said
    equal(tmp_path / "run", undisturbed)


def test_another_number_of_processes_goes_on_from_the_directory(play, undisturbed, killed, tmp_path):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    again = play(words(tmp_path), tmp_path / "run", devices=2)
    assert again.codes == [0], again.errors
    assert "process 0: is of process 0 of 2" in again.errors[0]
    assert "going on from step 25, of the directory" in again.errors[0]
    agrees(tmp_path / "run", undisturbed)
