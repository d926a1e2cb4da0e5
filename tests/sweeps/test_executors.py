"""Executors: which tasks workers are given, in which order, and what is refused."""

import contextlib
import json
import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fdl
from fdl.cli import main
from fdl.parallel.plan import Overrides
from fdl.serialization import to_json
from fdl.sweeps import Executor, Sweep, grid, sweep, worker
from fdl.sweeps.executor import DECIDE, Begin, Sent, Tell, pickled
from fdl.sweeps.on_processes import gpus, places
from fdl.sweeps.population import parted
from fdl.sweeps.worker import longest_first, work
from fdl.train import Progress, Saving
from fdl.train.folder import alone_in, held
from tests.sweeps.spread import chosen, experiment
from tests.toy import Config

STRUCTURES = grid(Config(), steps=(4, 12), lr=(0.01, 0.02, 0.03))


def here(given: list[str], workers: int = 2) -> Executor:
    """All workers are this process; `given` takes the tasks."""

    @contextlib.contextmanager
    def opened(message: bytes, tell: Tell) -> Iterator[Begin]:
        do = work(message)

        def begin(tasks: Sequence[str]) -> Iterator[tuple[str, Any]]:
            given.extend(tasks)
            return ((task, do(task, Progress(tell.say))) for task in tasks)

        yield begin

    return Executor(workers, opened)


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """Of a sweep of two structures by two workers: directory, table, tasks, and what was told."""
    given, told, folder = [], [], tmp_path_factory.mktemp("spread")
    progress = Progress(step=lambda *step: told.append(step))
    result = sweep(experiment, STRUCTURES, workdir=folder, executor=here(given), progress=progress)
    return folder, result.frame, given, told


@pytest.mark.medium
def test_one_worker_decides_and_the_longest_unit_is_first(spread):
    folder, frame, (decide, *units), told = spread
    sizes = [frame[frame["steps"] == steps]["arm"].nunique() for steps in (4, 12)]
    assert decide == DECIDE and sizes == [3, 3]
    steps = [steps_of(folder, name) for name in units]
    assert sorted(steps) == [
        4,
        12,
        12,
    ]  # 3 of 12 steps are three quarters of the work: two workers share them
    assert told[-1] == (48, 48, 0)


@pytest.mark.medium
def test_what_deciding_compiled_is_told_with_what_training_compiled(spread, tmp_path):
    """A worker finds most of its program in the cache, as another has compiled it; here no one else has."""
    sweep(experiment, grid(Config(), lr=(0.01, 0.02)), workdir=tmp_path)
    decided, told = compiled(tmp_path)
    assert decided == told and decided[0] > 0
    decided, told = compiled(spread[0])
    assert sorted(one > 0 for one in decided) == [False, True, True]
    assert all(whole >= one for one, whole in zip(decided, told, strict=True))
    assert sum(told) > sum(decided)


def compiled(folder: Path) -> tuple[list[float], list[float]]:
    """Of each unit the seconds of compiling where it was decided, and those that its report counts."""
    units = sorted(path.parent for path in folder.glob("units/*/unit.json"))
    decided, done = (
        [json.loads((unit / name).read_text()) for unit in units] for name in ("unit.json", "done.json")
    )
    return [one["compile_seconds"] for one in decided], [
        one["cost"].get("compile_seconds", 0.0) for one in done
    ]


@pytest.mark.medium
def test_the_table_is_that_of_one_process_and_what_is_finished_is_given_to_nobody(spread, tmp_path):
    folder, frame, _, _ = spread
    given: list[str] = []
    again = sweep(experiment, STRUCTURES, workdir=folder, executor=here(given)).frame
    assert not given
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    alone = sweep(experiment, STRUCTURES, workdir=tmp_path).frame
    pd.testing.assert_frame_equal(frame, alone, rtol=2e-5)


RATES = [0.001, 0.3, 0.002, 0.05, 0.004, 0.1, 0.008, 0.02]
HALVING: dict[str, Any] = {
    "scheduler": fdl.successive_halving(
        metric="validation/loss", better="lower", first=4, factor=2, run_on=0.0
    )
}
"""Of 8 arms 4, 2 and 1 go on, at steps 4, 8 and 16."""


@pytest.mark.medium
def test_workers_share_what_a_scheduler_lets_go_on(tmp_path):
    given: list[str] = []
    space = grid(Config(steps=20), lr=RATES)
    spread = sweep(chosen, space, workdir=tmp_path / "a", executor=here(given), **HALVING)
    alone = sweep(chosen, space, **HALVING)
    pd.testing.assert_frame_equal(spread.frame, alone.frame, rtol=2e-5)
    assert spread.meta["schedule"]["rungs"] == alone.meta["schedule"]["rungs"]
    assert given[0] == "plan 0 8" and len(given) == 8  # one of eight arms, then 4 and 4, 2 and 2, 1 and 1, 1
    units = [json.loads((tmp_path / "a" / task / "unit.json").read_text()) for task in given[1:]]
    assert [len(unit["members"]) for unit in units] == [4, 4, 2, 2, 1, 1, 1]


@pytest.mark.medium
@pytest.mark.parametrize("led", [{}, HALVING])
def test_workers_share_each_population_of_a_search(led, tmp_path):
    given: list[str] = []
    space = fdl.space(Config(steps=8), lr=fdl.log_uniform(1e-3, 0.3))
    asks = {"metric": "validation/loss", "better": "lower", "sampler": "random", **led}
    asks |= {"trials": 8, "population": 4, "judges": 2}
    spread = fdl.search(chosen, space, workdir=tmp_path / "a", executor=here(given), **asks)
    alone = fdl.search(chosen, space, **asks)
    assert spread.config == alone.config
    for found, wanted in ((spread.result, alone.result), (spread.judged, alone.judged)):
        pd.testing.assert_frame_equal(found.frame, wanted.frame, rtol=2e-5)
    units = {path.parent.name for path in (tmp_path / "a").rglob("units/*/unit.json")}
    assert {task.rpartition("/")[2] for task in given if not task.startswith(("plan ", DECIDE))} == units
    assert len(units) > 5  # each population's runs, and the judges', are of two workers
    again = fdl.search(chosen, space, workdir=tmp_path / "a", **asks)  # and one process goes on with them
    pd.testing.assert_frame_equal(again.judged.frame, spread.judged.frame, check_exact=True)


@pytest.mark.medium
def test_a_schedule_that_workers_began_goes_on_in_this_process_bit_for_bit(tmp_path, monkeypatch):
    space, real, told = grid(Config(steps=20), lr=RATES), worker._train, []

    def stopped(*given: Any) -> None:
        told.append(given)
        if len(told) == 5:
            raise KeyboardInterrupt
        real(*given)

    whole = sweep(chosen, space, workdir=tmp_path / "whole", executor=here([]), **HALVING)
    monkeypatch.setattr(worker, "_train", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep(chosen, space, workdir=tmp_path / "b", executor=here([]), **HALVING)
    again = sweep(chosen, space, workdir=tmp_path / "b", **HALVING)
    pd.testing.assert_frame_equal(again.frame, whole.frame, check_exact=True)
    assert len(told) == 5 and again.meta["schedule"]["name"] == whole.meta["schedule"]["name"]


@pytest.mark.medium
def test_what_a_worker_finds_wrong_is_said_by_the_leading_process(spread, tmp_path):
    with pytest.raises(ValueError, match="population=64 takes 64 devices"):
        sweep(experiment, STRUCTURES, workdir=tmp_path, executor=here([]), mesh={"population": 64})
    folder, *_ = spread
    name = next(folder.glob("units/*")).name
    other = pickled(sent(grid(Config(), lr=(0.5,)), other_experiment, folder), None, PLACE)
    with pytest.raises(ValueError, match=f"the unit {name} is not one of this experiment as"):
        work(other)(name, Progress())


def other_experiment(config: Config) -> Any:
    return experiment(config)  # of another code


PLACE = {"cwd": ".", "path": []}


def sent(space: Sweep, build: Any, folder: Any) -> Sent:
    trials = [(one.arm, to_json(one.config), one.seed) for one in space.trials]
    return Sent(build, Config, str(folder), trials, [], Overrides(), Saving(), 1, "fdl")


def steps_of(folder: Any, name: str) -> int:
    told = json.loads((folder / "units" / name / "unit.json").read_text())
    return told["members"][0]["config"]["steps"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a closure": ({"experiment": lambda config: experiment(config)}, "cannot be sent to other processes"),
    "no directory": ({"workdir": None}, "an executor needs a workdir"),
    "a profile": ({"profile": True}, "profile is of a sweep that this process trains"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_other_processes_cannot_do_is_refused_before_anything_is_written(case, tmp_path):
    wrong, words = WRONG[case]
    asked = {"experiment": experiment, "workdir": tmp_path / "work", "executor": here([]), **wrong}
    build = asked.pop("experiment")
    with pytest.raises(ValueError, match=words):
        sweep(build, STRUCTURES, **asked)
    if "profile" not in asked:
        space = fdl.space(Config(), lr=fdl.uniform(0.0, 1.0))
        with pytest.raises(ValueError, match=words):
            fdl.search(build, space, trials=2, metric="validation/loss", better="lower", **asked)
    assert not (tmp_path / "work").exists()


FLAGS = {
    "workers of this process": (["--workers", "2"], "--workers 2 needs --executor processes or ray or slurm"),
    "no number of workers": (["--executor", "processes"], "--executor processes needs --workers"),
    "more than cores": (["--executor", "processes", "--workers", "9999"], "9999 workers, but there"),
    "none": (["--executor", "processes", "--workers", "0"], "workers is 0; expected at least 1"),
    "minutes of processes": (
        ["--executor", "processes", "--minutes", "5"],
        "--minutes 5 needs --executor slurm",
    ),
    "no such executor": (["--executor", "condor"], "condor"),
    "no Slurm": (["--executor", "slurm", "--workers", "2"], "there is no Slurm here"),
}


@pytest.mark.parametrize("command", ["sweep", "search"])
@pytest.mark.parametrize("case", FLAGS)
def test_flags_that_make_no_executor_are_one_line(case, command, tmp_path, monkeypatch, capsys):
    words, expected = FLAGS[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    (tmp_path / "file.py").write_text(
        '"""Q?"""\nfrom tests.toy import Config, experiment\nimport fdl\n'
        "SWEEP, SEARCH = fdl.grid(Config()), fdl.space(Config(), lr=fdl.uniform(0.0, 1.0))\n"
    )
    assert main([command, "file.py", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert expected in error
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"file.py"}


def test_cores_and_gpus_are_dealt_so_that_no_two_workers_share_one():
    found = places(3, list(range(8)), ["0", "1", "2", "3", "4", "5", "6"])
    assert [sorted(place.cores) for place in found] == [[0, 1], [2, 3], [4, 5]]
    assert [one.environment["CUDA_VISIBLE_DEVICES"] for one in found] == ["0,1", "2,3", "4,5"]
    assert {one.environment["OMP_NUM_THREADS"] for one in found} == {"2"}
    with pytest.raises(ValueError, match="2 workers, but there is 1 GPU;"):
        places(2, [0, 1], ["0"])
    assert gpus({"CUDA_VISIBLE_DEVICES": "3,5"}) == ["3", "5"] and gpus({"CUDA_VISIBLE_DEVICES": ""}) == []


def test_units_are_in_the_order_of_how_long_they_take():
    units = [("a", 100, 1.0), ("b", 10, 20.0), ("c", 30, math.nan), ("d", 400, 0.5)]
    assert longest_first(units) == [("c", 30), ("b", 10), ("d", 400), ("a", 100)]
    assert longest_first([("a", 1, math.nan), ("b", 2, math.nan)]) == [("b", 2), ("a", 1)]


def test_trials_are_parted_in_their_order():
    trials: Any = list(range(10))
    assert [len(part) for part in parted(trials, 4, even=True)] == [3, 3, 4]
    assert [len(part) for part in parted(trials, 4, even=False)] == [4, 4, 2]
    assert [one for part in parted(trials, 4, even=True) for one in part] == trials


def test_the_second_command_for_a_directory_says_who_holds_it(tmp_path):
    with (
        held(tmp_path, {"lr": 1}),
        pytest.raises(ValueError, match=r"in use by process \d+ on .*since 2.*UTC"),
        held(tmp_path, {"lr": 1}),
    ):
        pass


def test_the_second_worker_of_a_unit_waits_for_the_first(tmp_path):
    said, order, first = [], [], threading.Event()

    def say(line: str) -> None:
        said.append(line)
        first.set()

    def second() -> None:
        with alone_in(tmp_path, say=say):
            order.append("second")

    with alone_in(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        assert first.wait(60)
        order.append("first")
    thread.join()
    assert order == ["first", "second"] and "is in use by process" in said[0] and len(said) == 1
