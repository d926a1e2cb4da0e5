"""Trains the toy as a scheduler leads in child processes, kills them, and starts them again.

    python -m tests.schedule_kill_driver DIRECTORY KILLS SCHEDULER

JAX is imported here but never used, so that a child that is forked is a process of its own.
"""

import functools
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import fdl
from fdl.train import Saving
from tests import toy
from tests.toy import Config

STEPS = 27 * 3_000
GOAL: dict[str, Any] = {"metric": "validation/loss", "better": "lower"}
SCHEDULERS = {
    "halving": fdl.successive_halving(first=STEPS // 27, **GOAL),
    "pbt": fdl.pbt(every=STEPS // 27 * 2, quantile=0.4, lr=fdl.log_uniform(0.001, 0.03), **GOAL),
}


def experiment(config: Config) -> fdl.Experiment:
    one = toy.experiment(config, every=STEPS // 27)
    return one._replace(evaluation={"validation": one.evaluation["test"]})


def start(directory: Path, scheduler: fdl.Scheduler) -> int:
    """Begins or resumes the sweep in a child process; its id."""
    child = os.fork()
    if child:
        return child
    steps = STEPS if scheduler.run_on else STEPS // 27 * 6  # where none leaves it takes longer
    space = fdl.grid(Config(steps=steps), lr=[0.001 * 1.5**index for index in range(9)], seeds=2)
    saving = Saving(steps=STEPS // 60)
    options = {"scheduler": scheduler, "mesh": {"population": 1}, "workdir": directory, "saving": saving}
    result = fdl.sweep(experiment, space, **options)
    told = {"stopped": result.stopped, "lineages": result.lineages, "rungs": result.meta["schedule"]["rungs"]}
    rows = result.frame.drop(columns="link").to_json(double_precision=15)
    directory.with_suffix(".json").write_text(json.dumps({**told, "rows": rows}))
    os._exit(0)


def _until_in_the_midst(folder: Path) -> None:
    """Waits for a checkpoint of a unit that goes on from another's end."""
    ended = saved = False
    while not (ended and saved):
        time.sleep(0.01)
        units = list(folder.glob("schedules/*/units/*"))
        left = [unit for unit in units if not (unit / "done.json").exists()]
        ended = len(left) < len(units)
        saved = any(path.name.isdigit() for unit in left for path in unit.glob("checkpoints/*"))


def main() -> None:
    directory, kills = Path(sys.argv[1]), int(sys.argv[2])
    begin = functools.partial(start, scheduler=SCHEDULERS[sys.argv[3]])
    if sys.argv[3] == "halving":  # which is killed by the clock
        os.waitpid(begin(directory / "first"), 0)  # the others find its programs compiled
    began = time.monotonic()
    os.waitpid(begin(directory / "undisturbed"), 0)
    whole = time.monotonic() - began
    dice, number = random.Random(0), 0
    done: list[tuple[int, bool]] = []
    while len(done) < kills:
        folder = directory / f"killed-{number}"
        child = begin(folder)
        if sys.argv[3] == "pbt":
            _until_in_the_midst(folder)
        else:
            time.sleep(dice.uniform(0.1, 0.9) * whole)
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1] != signal.SIGKILL:
            number += 1  # it had come to its end
            continue
        ended = len(list(folder.glob("schedules/*/units/*/done.json")))
        saved = any(path.name.isdigit() for path in folder.glob("schedules/*/units/*/checkpoints/*"))
        done.append((ended, saved))
    for last in range(number + 1):
        _, status = os.waitpid(begin(directory / f"killed-{last}"), 0)
        assert status == 0
    print(json.dumps(done))


if __name__ == "__main__":
    main()
