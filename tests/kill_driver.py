"""Trains the toy in child processes, kills them at random instants, and starts them again.

    python -m tests.kill_driver DIRECTORY MEMBERS KILLS

JAX is imported here but never used, so that a child that is forked is a process of its own.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from fdl.sweeps import grid, sweep
from fdl.train import Saving
from tests.toy import Config, experiment

STEPS = 90_000
ROWS, SAVES = 30, 24


def start(directory: Path, members: int) -> int:
    """Begins or resumes the sweep in a child process; its id."""
    child = os.fork()
    if child:
        return child
    rates = [0.001 + 0.001 * index for index in range(members)]
    space = grid(Config(steps=STEPS), lr=rates)
    build = lambda config: experiment(config, every=STEPS // ROWS)  # noqa: E731
    sweep(build, space, workdir=directory, saving=Saving(steps=STEPS // SAVES))
    os._exit(0)


def main() -> None:
    directory, members, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    began = time.monotonic()
    os.waitpid(start(directory / "undisturbed", members), 0)
    whole = time.monotonic() - began
    dice, instants, number = random.Random(members), [], 0
    while len(instants) < kills:
        folder = directory / f"killed-{number}"
        child, wait = start(folder, members), dice.uniform(0.0, whole)
        deadline = time.monotonic() + wait
        finished = 0
        while time.monotonic() < deadline and not finished:
            finished, _ = os.waitpid(child, os.WNOHANG)
            time.sleep(0.002)
        if finished:
            number += 1
            continue
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        saved = [path for path in folder.glob("units/*/checkpoints/*") if path.name.isdigit()]
        saving = list(folder.glob("units/*/checkpoints/*tmp*"))
        begun = any(folder.glob("units/*/unit.json"))
        instants.append("save" if saving else "step" if saved else "start" if begun else "compile")
    for last in range(number + 1):
        _, status = os.waitpid(start(directory / f"killed-{last}", members), 0)
        assert status == 0
    print(json.dumps(instants))


if __name__ == "__main__":
    main()
