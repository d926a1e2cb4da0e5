"""Searches in child processes, kills them at random instants, and starts them again.

    python -m tests.search_kill_driver DIRECTORY KILLS [asha]

With `asha` a scheduler leads the populations.
JAX is imported here but never used, so that a child that is forked is a process of its own.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import optuna

from fdl.sweeps import asha, search, space
from fdl.train import Saving
from tests.searched import SEARCH, Config, experiment


def allowed(config: Config) -> bool:
    return config.lr > 5e-3


ASHA = asha(metric="validation/loss", better="lower", first=4, factor=2, population=4)


def start(directory: Path) -> int:
    """Begins or resumes the search in a child process; its id."""
    child = os.fork()
    if child:
        return child
    found = search(
        experiment,
        space(SEARCH.config, lr=SEARCH.fields["lr"], noise=SEARCH.fields["noise"]).where(allowed),
        trials=12,
        population=4,
        members=4,
        judges=2,
        metric="validation/loss",
        better="lower",
        workdir=directory,
        saving=Saving(steps=2),
        scheduler=ASHA if "asha" in sys.argv else None,
    )
    told = {"trials": found.judged.meta["search"]["trials"], "lr": found.config.lr}
    rows = json.loads(found.judged.frame.drop(columns="link").to_json(double_precision=15))
    directory.with_suffix(".json").write_text(json.dumps({**told, "judged": rows}))
    os._exit(0)


def finished(directory: Path) -> dict[str, int]:
    """When each unit ended."""
    return {str(path): path.stat().st_mtime_ns for path in directory.glob("**/units/*/done.json")}


def main() -> None:
    directory, kills = Path(sys.argv[1]), int(sys.argv[2])
    os.waitpid(start(directory / "first"), 0)  # the others find its programs compiled
    began = time.monotonic()
    os.waitpid(start(directory / "undisturbed"), 0)
    whole = time.monotonic() - began
    dice, number = random.Random(0), 0
    seen: dict[str, int] = {}
    done: list[int] = []
    while len(done) < kills:
        folder = directory / f"killed-{number}"
        child = start(folder)
        time.sleep(dice.uniform(0.1, 0.9) * whole)
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1] != signal.SIGKILL:
            number += 1  # it had come to its end
            continue
        done.append(len(finished(folder)))
        seen = {**finished(folder), **seen}
    states = []
    for last in range(number + 1):
        folder = directory / f"killed-{last}"
        _, status = os.waitpid(start(folder), 0)
        assert status == 0
        (database,) = folder.glob("searches/*/trials.db")
        study = optuna.load_study(study_name=database.parent.name, storage=f"sqlite:///{database}")
        states.append([trial.state.name for trial in study.get_trials()])
    after = {path: Path(path).stat().st_mtime_ns for path in seen}
    print(json.dumps({"done": done, "kept": after == seen, "states": states}))


if __name__ == "__main__":
    main()
