"""A schedule read from its files alone, at its end and at every moment before: `fdl.load`, `so_far`."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import fdl
from fdl.sweeps import asha, sweep
from fdl.sweeps.schedule_folder import last_schedule
from fdl.sweeps.schedule_loading import last_so_far
from fdl.train.folder import read_sealed, write_sealed
from tests.searched import experiment
from tests.sweeps.test_scheduled import HALVING, LOSS, ONE_DEVICE, SPACE
from tests.toy import Config

pytestmark = [pytest.mark.usefixtures("one_program"), pytest.mark.medium]


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> tuple[Path, fdl.Result]:
    directory = tmp_path_factory.mktemp("kept") / "runs"
    return directory, sweep(experiment, SPACE, scheduler=HALVING, workdir=directory, **ONE_DEVICE)


def cut(directory: Path, copy: Path, until: int, rows: int, *, decided: bool) -> Path:
    """A copy as it was when the unit up to a rung had measured so many rows, or, if 0, had just ended: before
    or after it was decided who goes on."""
    place = last_schedule(Path(shutil.copytree(directory, copy)))
    assert place
    for unit in place.glob("units/*"):
        segment = (read_sealed(unit / "unit.json", of=unit.name, fix="") or {})["segment"]
        if segment["until"] == until and rows:
            (unit / "done.json").unlink()
            lines = (unit / "metrics.jsonl").read_bytes().splitlines(keepends=True)
            (unit / "metrics.jsonl").write_bytes(b"".join(lines[:rows]) + lines[rows][:9])
        if segment["until"] > until:
            shutil.rmtree(unit)
    for path in place.glob("decisions/*.json"):
        if int(path.stem.partition("-")[2]) >= until + (decided and not rows):
            path.unlink()
    return copy


def test_it_is_what_the_sweep_gave(kept):
    directory, result = kept
    loaded = fdl.load(directory)
    assert loaded.frame.equals(result.frame) and loaded.stopped == result.stopped
    told = {**loaded.meta, "seconds": result.meta["seconds"]}
    assert told == {**result.meta, "name": "runs"} and loaded.fields == result.fields
    with pytest.raises(ValueError, match="a scheduler stopped arms or changed them cannot"):
        fdl.load(directory, directory)


def test_an_arm_that_came_to_its_end_can_be_used_and_one_that_was_stopped_not(kept):
    directory, result = kept
    loaded, going = fdl.load(directory), result.table()["arm"].tolist()
    assert len(going) == 2
    for arm in going:
        run = loaded.run(arm=arm, seed=1, experiment=experiment)
        last = result.last()
        expected = last[(last["arm"] == arm) & (last["seed"] == 1)].iloc[0]
        assert (run.step, run.status) == (20, "finished")
        assert run.evaluate("test")["loss"] == pytest.approx(expected["test/loss"], rel=1e-5)
    arm, step = next(iter(result.stopped.items()))
    with pytest.raises(ValueError, match=f"the scheduler stopped {arm} at step {step}, so it has no result"):
        loaded.run(arm=arm, seed=0, experiment=experiment)
    with pytest.raises(ValueError, match="4 runs are meant; give arm="):
        loaded.run(experiment=experiment)


@pytest.mark.parametrize(
    ("until", "rows", "decided", "left", "running"),
    [(4, 9, False, 0, 9), (4, 0, False, 0, 18), (4, 0, True, 4, 10), (8, 0, False, 4, 10),
     (16, 5, False, 6, 6), (16, 0, True, 7, 4), (20, 0, True, 7, 0)],
)  # fmt: skip
def test_what_runs_is_the_end_as_far_as_it_is(kept, tmp_path, until, rows, decided, left, running):
    """Nothing else is read: every row is one of the end, and arms have left where that was decided."""
    directory, result = kept
    copy = cut(directory, tmp_path / "copy", until, rows, decided=decided)
    found = last_so_far(copy, {})
    assert found is not None
    columns = [name for name in result.frame.columns if name != "status"]
    merged = found.frame[columns].merge(result.frame[columns], indicator=True)
    assert len(merged) == len(found.frame) and (merged["_merge"] == "both").all()
    expected = {arm: step for arm, step in result.stopped.items() if step < until + (decided and not rows)}
    assert len(expected) == left and found.stopped == expected
    runs = found.frame.drop_duplicates(["arm", "seed"])
    assert (runs["status"] == "running").sum() == running
    told = found.meta["schedule"]
    whole = result.meta["schedule"]
    assert told["rungs"] == whole["rungs"][: len(told["rungs"])]
    assert told["left"].items() <= whole["left"].items() and set(found.stopped) <= set(told["left"])
    assert (told["saved"] is None) == (running > 0) and (told["lost"] is None) == (running > 0)
    if not running:
        assert told == whole and found.frame.equals(result.frame)
    assert fdl.load(copy).frame.equals(found.frame)


def test_what_was_read_is_read_once(kept, monkeypatch):
    directory, result = kept
    finished = {}
    first = last_so_far(directory, finished)
    assert first is not None and len(finished) == len(result.meta["programs"])
    monkeypatch.setattr("fdl.sweeps.schedule_loading.stored_unit", None)
    again = last_so_far(directory, finished)
    assert again is not None and again.frame.equals(first.frame)


def test_populations_and_failed_runs_come_too(tmp_path):
    space = fdl.grid(Config(steps=20), noise=(0.0, 1e30, 0.01, 0.02), seeds=1)
    scheduler = asha(first=4, factor=2, population=2, run_on=0.0, **LOSS)
    result = sweep(experiment, space, scheduler=scheduler, workdir=tmp_path, **ONE_DEVICE)
    loaded = fdl.load(tmp_path)
    assert loaded.frame.equals(result.frame) and loaded.meta["schedule"] == result.meta["schedule"]
    pd.testing.assert_frame_equal(loaded.failures, result.failures)
    for unit in (tmp_path / "schedules").glob("*/units/*"):
        told = read_sealed(unit / "unit.json", of=unit.name, fix="") or {}
        if told["members"][0]["config"]["noise"] > 0.005:  # those of the second population
            shutil.rmtree(unit)
    found = last_so_far(tmp_path, {})
    assert found is not None and set(found.runs()["arm"]) < set(result.runs()["arm"])
    assert found.meta["schedule"]["saved"] is None


def test_of_several_schedules_one_is_named(kept, tmp_path):
    directory, result = kept
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    place = last_schedule(copy)
    assert place
    other = Path(shutil.copytree(place, place.with_name("0123")))
    about = read_sealed(other / "schedule.json", of=place.name, fix="") or {}
    write_sealed(other / "schedule.json", about, of="0123")
    with pytest.raises(ValueError, match=f"give one of {other}, {place} \\(led last\\)$"):
        fdl.load(copy)
    assert fdl.load(place).frame.equals(result.frame) and fdl.load(other).meta["schedule"]["name"] == "0123"
    shutil.rmtree(other)
    few = fdl.grid(Config(steps=20), lr=(0.1,), seeds=2)
    plain = sweep(experiment, few, workdir=copy, **ONE_DEVICE)
    with pytest.raises(ValueError, match=f"give one of {copy / 'units'}, {place} \\(led last\\)$"):
        fdl.load(copy)
    assert fdl.load(copy / "units").frame.equals(plain.frame)
    assert fdl.load(place).frame.equals(result.frame)
    (place / "schedule.json").write_text("{}")
    with pytest.raises(ValueError, match="remove that file and give the sweep's command again"):
        fdl.load(place)
