"""Kill -9 workers at random instants: the table is that of one process, and nothing is trained twice."""

import contextlib
import importlib.util
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

import fdl
from fdl.sweeps import Executor, grid, on_ray, on_slurm, sweep
from fdl.sweeps.on_processes import Place, in_places
from fdl.train import Progress, Saving
from tests.sweeps.spread import chosen, experiment
from tests.toy import Config

RATES = (0.001, 0.002, 0.003)
CORES = sorted(os.sched_getaffinity(0))
SHARED = {"OMP_NUM_THREADS": "1"}


def three_processes(folder: Path) -> Executor:
    """A core each; where there are fewer, some share one."""
    del folder
    return in_places([Place(frozenset({CORES[n % len(CORES)]}), SHARED) for n in range(3)])


def ray_tasks(folder: Path) -> Executor:
    del folder
    return on_ray(2)


def slurm_jobs(folder: Path) -> Executor:
    return on_slurm(2, folder / "logs", cluster="local")


WORKER = ("fdl.sweeps.worker", signal.SIGKILL)
TIME_OUT = ("submitit.core._submit", signal.SIGUSR2)
KINDS = {
    "processes": (three_processes, 3, [WORKER, WORKER], "concurrent"),
    "slurm": (slurm_jobs, 2, [TIME_OUT, WORKER], "submitit"),
    "ray": (ray_tasks, 2, [("ray::done_by_ray", signal.SIGKILL)], "ray"),
}
"""An executor, how many trials it has, what is done to workers, and the library that it needs."""
HALVING = fdl.successive_halving(metric="validation/loss", better="lower", first=8000, factor=3, run_on=0.0)
"""Of three arms one goes on."""


@pytest.fixture(scope="module")
def alone_by_rungs(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return train(tmp_path_factory.mktemp("by_rungs"), None, len(RATES), scheduler=HALVING)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of one process."""
    return train(tmp_path_factory.mktemp("alone"), None, len(RATES))


def train(
    folder: Path,
    executor: Executor | None,
    trials: int,
    say: Callable[[str], None] = print,
    scheduler: fdl.Scheduler | None = None,
) -> pd.DataFrame:
    result = sweep(
        chosen if scheduler else experiment,
        grid(Config(steps=20_000), lr=RATES[:trials]),
        workdir=folder / "work",
        members=1,
        executor=executor,
        saving=Saving(steps=2000),
        progress=Progress(say),
        scheduler=scheduler,
    )
    return result.frame


@contextlib.contextmanager
def disturbed(folder: Path, signals: list[tuple[str, int]], dice: random.Random) -> Iterator[dict[str, list]]:
    """While it lasts, workers are sent signals at random instants after one has saved something; gives by
    `"sent"` how many, and by a unit's name when it ended."""
    seen: dict[str, list] = {"sent": []}
    over, waits = threading.Event(), [dice.uniform(0.0, 0.5) for _ in signals]

    def watch() -> None:
        while not over.wait(0.01):
            for path in units_in(folder, "done.json"):
                times = seen.setdefault(path.parent.name, [])
                if (at := path.stat().st_mtime_ns) not in times:
                    times.append(at)
            if len(seen["sent"]) < len(signals) and is_training(folder):
                name, number = signals[len(seen["sent"])]
                over.wait(waits[len(seen["sent"])])
                if found := of_us(name):
                    os.kill(dice.choice(found), number)
                    seen["sent"].append(name)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def is_training(folder: Path) -> bool:
    """Whether a unit has a checkpoint, and has not ended."""
    stored = [path.parent for path in units_in(folder, "unit.json")]
    units = [path for path in stored if not (path / "done.json").exists()]
    return any(path.name.isdigit() for unit in units for path in unit.glob("checkpoints/*"))


def units_in(folder: Path, file: str) -> list[Path]:
    """This file of every unit."""
    return [
        path for units in ("units", "schedules/*/units") for path in folder.glob(f"work/{units}/*/{file}")
    ]


def of_us(name: str) -> list[int]:
    """The processes below this one that are called so."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if name in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_workers_change_no_bit_and_nothing_is_trained_twice(kind, alone, tmp_path):
    make, trials, signals, library = KINDS[kind]
    if not importlib.util.find_spec(library):
        pytest.skip(f"{library} is not installed")
    lines: list[str] = []
    with disturbed(tmp_path, signals, random.Random(kind)) as seen:
        table = train(tmp_path, make(tmp_path), trials, lines.append)
    expected = alone[alone["lr"].isin(RATES[:trials])].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    assert len(seen.pop("sent")) == len(signals), lines
    assert len(seen) == trials and all(len(ends) == 1 for ends in seen.values())
    again: list[str] = []
    train(tmp_path, None, trials, again.append)
    assert "all of them are finished already" in again


@pytest.mark.slow
def test_workers_that_are_killed_between_rungs_change_no_bit(alone_by_rungs, tmp_path):
    lines: list[str] = []
    with disturbed(tmp_path, [WORKER, WORKER], random.Random(1)) as seen:
        table = train(tmp_path, three_processes(tmp_path), len(RATES), lines.append, HALVING)
    pd.testing.assert_frame_equal(table, alone_by_rungs, check_exact=True)
    assert len(seen.pop("sent")) == 2, lines
    assert len(seen) == 4 and all(len(ends) == 1 for ends in seen.values())  # three arms, and one goes on
