"""Halves the toy in child processes, kills them at random instants, and starts them again.

    python -m tests.schedule_kill_driver DIRECTORY KILLS

JAX is imported here but never used, so that a child that is forked is a process of its own.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import fdl
from fdl.train import Saving
from tests import toy
from tests.toy import Config

STEPS = 27 * 3_000
HALVING = fdl.successive_halving(metric="validation/loss", better="lower", first=STEPS // 27)


def experiment(config: Config) -> fdl.Experiment:
    one = toy.experiment(config, every=STEPS // 27)
    return one._replace(evaluation={"validation": one.evaluation["test"]})


def start(directory: Path) -> int:
    """Begins or resumes the sweep in a child process; its id."""
    child = os.fork()
    if child:
        return child
    space = fdl.grid(Config(steps=STEPS), lr=[0.001 * 1.5**index for index in range(9)], seeds=2)
    saving = Saving(steps=STEPS // 60)
    options = {"scheduler": HALVING, "mesh": {"population": 1}, "workdir": directory, "saving": saving}
    result = fdl.sweep(experiment, space, **options)
    told = {"stopped": result.stopped, "rungs": result.meta["schedule"]["rungs"]}
    rows = result.frame.drop(columns="link").to_json(double_precision=15)
    directory.with_suffix(".json").write_text(json.dumps({**told, "rows": rows}))
    os._exit(0)


def main() -> None:
    directory, kills = Path(sys.argv[1]), int(sys.argv[2])
    os.waitpid(start(directory / "first"), 0)  # the others find its programs compiled
    began = time.monotonic()
    os.waitpid(start(directory / "undisturbed"), 0)
    whole = time.monotonic() - began
    dice, number = random.Random(0), 0
    done: list[tuple[int, bool]] = []
    while len(done) < kills:
        folder = directory / f"killed-{number}"
        child = start(folder)
        time.sleep(dice.uniform(0.1, 0.9) * whole)
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1] != signal.SIGKILL:
            number += 1  # it had come to its end
            continue
        ended = len(list(folder.glob("schedules/*/units/*/done.json")))
        saved = any(path.name.isdigit() for path in folder.glob("schedules/*/units/*/checkpoints/*"))
        done.append((ended, saved))
    for last in range(number + 1):
        _, status = os.waitpid(start(directory / f"killed-{last}"), 0)
        assert status == 0
    print(json.dumps(done))


if __name__ == "__main__":
    main()
