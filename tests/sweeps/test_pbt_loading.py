"""A schedule in which arms changed, read from its files alone, at its end and before; and what is refused."""

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import fdl
from fdl.cli import budget
from fdl.cli.sinks import check_sinks, sinks
from fdl.cli.watch import board
from fdl.report.terminal import PLAIN
from fdl.sweeps import sweep
from fdl.sweeps.lineages import told_fields
from fdl.sweeps.schedule_loading import last_so_far
from fdl.sweeps.stored_runs import shown_arm
from fdl.train import Progress
from tests.searched import SEARCH, experiment
from tests.sweeps.test_pbt import DRAWN, PBT, SPACE
from tests.sweeps.test_schedule_loading import cut
from tests.sweeps.test_scheduled import LOSS, ONE_DEVICE
from tests.toy import Config

pytestmark = [pytest.mark.usefixtures("one_program"), pytest.mark.medium]


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> tuple[Path, fdl.Result]:
    """Its directory and what it gave; it was looked at while it ran, too."""
    directory, seen = tmp_path_factory.mktemp("kept") / "runs", []
    look = Progress(evaluated=lambda _: seen.append(last_so_far(directory, {})))
    result = sweep(experiment, SPACE, scheduler=PBT, workdir=directory, progress=look, **ONE_DEVICE)
    parts = [one for one in seen if one is not None]
    rows = [check_part(part, result) for part in parts]
    assert rows == [12, 24, 36, 48, 60]
    assert any(part.lineages for part in parts)
    return directory, result


def check_part(found: fdl.Result, result: fdl.Result) -> int:
    """How many rows of the end there are so far, and none else."""
    now, end = born(found.frame), born(result.frame)
    merged = now.merge(end, indicator=True)
    assert len(merged) == len(now) and (merged["_merge"] == "both").all()
    return len(now)


def check_alike(loaded: fdl.Result, result: fdl.Result) -> None:
    pd.testing.assert_frame_equal(loaded.frame, result.frame, check_exact=True)
    pd.testing.assert_frame_equal(loaded.failures, result.failures)
    pd.testing.assert_frame_equal(loaded.table(), result.table())
    assert loaded.lineages == result.lineages and loaded.fields == result.fields
    told = {**loaded.meta, "seconds": result.meta["seconds"], "name": ""}
    assert told == {**result.meta, "name": ""}


def born(frame: pd.DataFrame) -> pd.DataFrame:
    """Arms by the names that they began with, and nothing of what runs came to later."""
    return frame.assign(arm=frame["arm"].str.removeprefix("from ")).drop(columns="status")


def test_it_is_what_the_sweep_gave(kept):
    directory, result = kept
    loaded = fdl.load(directory)
    check_alike(loaded, result)
    assert len(result.lineages) > 3 and set(result.meta["configs"]) == set(result.runs()["arm"])
    with pytest.raises(ValueError, match="stopped arms or changed them cannot be joined"):
        fdl.load(directory, directory)


@pytest.mark.parametrize(
    ("until", "rows", "decided"), [(4, 9, False), (4, 0, True), (8, 0, False), (12, 5, False), (16, 0, True)]
)
def test_what_runs_is_the_end_as_far_as_it_is(kept, tmp_path, until, rows, decided):
    """An arm has changed from where that was decided, and its rows have the fields that were in force."""
    directory, result = kept
    found = last_so_far(cut(directory, tmp_path / "copy", until, rows, decided=decided), {})
    assert found is not None
    assert check_part(found, result) == (rows if rows else 12) + 12 * (until // 4 - 1)
    last = until if decided else until - 1
    past = {arm: tuple(one for one in own if one.step <= last) for arm, own in result.lineages.items()}
    changed = {arm: own for arm, own in past.items() if len(own) > 1}
    names = lambda one: one.copied and one.copied.removeprefix("from ")  # noqa: E731
    told, expected = (
        {arm: [(one.step, names(one), one.fields) for one in own] for arm, own in lineages.items()}
        for lineages in (found.lineages, changed)
    )
    assert told == expected and bool(told) == (last >= 4)
    assert {name for name in found.runs()["arm"] if name.startswith("from ")} <= set(told)
    givers = {one.copied for own in found.lineages.values() for one in own} - {None}
    assert givers <= set(found.meta["configs"]) >= set(found.runs()["arm"])
    assert set(found.frame["status"]) == {"running"}
    console = Console(width=200)
    with console.capture() as shown:
        console.print(board(found, console), **PLAIN)
    text = shown.get()
    assert text.count("from lr=") == len(told) and ("copied another" in text) == bool(told), text


def test_an_arm_that_changed_is_used_with_the_config_that_it_ended_with(kept):
    directory, result = kept
    loaded = fdl.load(directory)
    for arm, changes in result.lineages.items():
        run = loaded.run(arm=arm, seed=1, experiment=experiment)
        assert (run.step, run.status) == (20, "finished")
        assert told_fields(run.config) == changes[-1].fields
        row = result.frame[(result.frame["arm"] == arm) & (result.frame["seed"] == 1)].iloc[-1]
        assert run.evaluate("test")["loss"] == pytest.approx(row["test/loss"], rel=1e-5)


def test_before_its_copy_has_begun_an_arm_has_its_own_state(kept, tmp_path):
    directory, _ = kept
    loaded = fdl.load(cut(directory, tmp_path / "copy", 4, 0, decided=True))
    for arm in loaded.lineages:
        run = loaded.run(arm=arm, seed=0, experiment=experiment)
        row = loaded.frame[(loaded.frame["arm"] == arm) & (loaded.frame["seed"] == 0)].iloc[-1]
        assert (run.step, run.config.lr) == (4, row["lr"])
        assert run.evaluate("test")["loss"] == pytest.approx(row["test/loss"], rel=1e-5)


def test_arms_that_are_the_same_run_from_somewhere_on_are_both_there(tmp_path):
    space = fdl.grid(Config(steps=20), lr=(0.01, 0.05, 0.1), seeds=1)
    twin = space.trials[1].config
    decide = lambda *_: [fdl.Next(0, twin, copy=1), fdl.Next(1), fdl.Next(2)]  # noqa: E731
    scheduler = fdl.Scheduler(**LOSS, rungs=(8, 12), decide=decide)
    result = sweep(experiment, space, scheduler=scheduler, members=1, workdir=tmp_path, **ONE_DEVICE)
    assert sum(one["steps"] for one in result.meta["programs"]) == 3 * 20 - 12
    check_alike(fdl.load(tmp_path), result)


def test_a_decision_without_the_state_that_it_copies_is_not_followed(kept, tmp_path):
    directory, _ = kept
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    for unit in copy.glob("schedules/*/units/*"):
        shutil.rmtree(unit) if '"until":8' in (unit / "unit.json").read_text().replace(" ", "") else None
    found = last_so_far(copy, {})
    assert found is not None and set(found.frame["step"]) == {4}
    assert {one.step for own in found.lineages.values() for one in own} == {0, 4}


def test_a_search_refuses_a_scheduler_that_changes_arms(tmp_path):
    how: dict[str, Any] = {"trials": 4, "population": 4, "workdir": tmp_path, "judges": 1, **ONE_DEVICE}
    search = functools.partial(fdl.search, experiment, SEARCH, **how)
    words = "search's scheduler changes arms, as .*one config from beginning to end"
    with pytest.raises(ValueError, match=words):
        search(scheduler=fdl.pbt(every=4, **LOSS, lr=DRAWN["lr"]))
    assert not list(tmp_path.glob("schedules/*"))

    def late(curves, configs, key):
        copy = None if curves.values[0, 0] == 1 else min(curves.waiting)  # the made-up curves begin with 1
        return [fdl.Next(arm, copy=copy) for arm in curves.waiting]

    with pytest.raises(ValueError, match=words):
        search(scheduler=fdl.Scheduler(**LOSS, rungs=(4,), decide=late))


def test_two_arms_that_would_be_called_alike_are_refused():
    one, other = fdl.grid(Config(steps=20), lr=(0.1, 0.2)).trials
    space = fdl.Sweep((one._replace(arm="a"), other._replace(arm="from a")))
    with pytest.raises(ValueError, match="there are the arms 'a' and 'from a'"):
        sweep(experiment, space, scheduler=PBT)


def test_what_has_a_run_for_each_config_is_refused(kept, tmp_path):
    _, result = kept
    with pytest.raises(ValueError, match="--tensorboard and --wandb have a run for each config"):
        check_sinks(str(tmp_path / "tb"), None, lambda: [*result.lineages])
    with sinks(str(tmp_path / "tb"), None, tmp_path) as keep:
        assert keep
        with pytest.raises(ValueError, match="What is trained is kept"):
            keep(result)
    assert not (tmp_path / "tb").exists()


def test_what_a_budget_leaves_is_told_by_the_names_of_the_sweep(kept):
    _, result = kept
    assert budget.unfinished(SPACE, result) == {}
    arm = next(iter(result.lineages))
    rest = result.where(arm=[name for name in result.runs()["arm"].unique() if name != arm])
    assert budget.unfinished(SPACE, rest) == {arm.removeprefix("from "): 2}


def test_an_ensemble_is_of_one_config(kept):
    """One seed of an arm goes on with what was decided, the other is not that far."""
    loaded = fdl.load(kept[0])
    arm = next(iter(loaded.lineages))
    assert loaded.ensemble(arm=arm, experiment=experiment).runs[1].seed == 1
    key = shown_arm(arm), 1
    behind = loaded.places[key]._replace(config=dict(loaded.places[key].config, lr=0.5))
    mixed = dataclasses.replace(loaded, places={**loaded.places, key: behind})
    with pytest.raises(ValueError, match="not all of its runs are that far"):
        mixed.ensemble(arm=arm, experiment=experiment)
