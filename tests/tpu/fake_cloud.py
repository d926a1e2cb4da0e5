"""A stand-in for Google Cloud in a folder: `state.json`, a home directory for each worker, and a bucket.

Its VMs are folders of this machine, and ssh runs its command here. Standard library only: the stub programs
import it by its path.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORKERS = 2
BEING_MADE = ("WAITING_FOR_RESOURCES", "PROVISIONING")
"""What a request says before it is ACTIVE, a word each time it is asked for."""


def make(folder: Path, **state: Any) -> None:
    """An empty project.

    `refuse`: requests that are refused; `preempt`: slices that are taken away;
    `deny`: whether workers may not delete; `status`: of all answers.
    Of several slices only the last is taken away.
    """
    (folder / "bucket").mkdir(parents=True)
    begin = {
        "generation": 0,
        "queued": None,
        "looks": 0,
        "refuse": 0,
        "preempt": 0,
        "deny": False,
        "done": [],
        "slices": 1,
        "status": None,
    }
    (folder / "state.json").write_text(json.dumps({**begin, **state}))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[dict[str, Any]]:
    """The state, which nobody else reads or writes meanwhile.

    A slice is taken away once all its workers wait for that.
    """
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads((folder / "state.json").read_text())
        waiting = len(list((folder / "bucket").glob("*/waits*"))) == WORKERS
        if state["queued"] == "ACTIVE" and state["preempt"] and waiting:
            state["preempt"] -= 1
            state["done"].append("preempted")
            if state["slices"] == 1:
                state["queued"] = "SUSPENDED"
                _wipe(folder)
            else:
                state["queued"] = "HALF"
                _kill(processes(folder, f"HOME={home(folder, state['generation'], WORKERS - 1)}"))
        yield state
        (folder / "state.json").write_text(json.dumps(state))


def history(folder: Path) -> list[str]:
    """What has been done to the slice."""
    with opened(folder) as state:
        return state["done"]


def create(folder: Path, slices: int = 1) -> str | None:
    """Asks for slices, of which each has as many workers; the error, if any."""
    with opened(folder) as state:
        if state["queued"]:
            return "ALREADY_EXISTS: Resource already exists"
        if state["refuse"]:
            state["refuse"] -= 1
            state["done"].append("refused")
            return "RESOURCE_EXHAUSTED: Quota limit 'TPUV4sPerProjectPerZone' has been exceeded."
        state.update(queued="QUEUED", looks=0, generation=state["generation"] + 1, slices=slices)
        state["done"].append("created")
        return None


def look(folder: Path, number: int = 0) -> tuple[str | None, str | None]:
    """The states of the request and of the VMs of one of its slices."""
    with opened(folder) as state:
        if state["queued"] == "QUEUED":
            if state["looks"] < len(BEING_MADE):
                state["looks"] += 1
                return BEING_MADE[state["looks"] - 1], None
            state["queued"] = "ACTIVE"
            for worker in range(WORKERS):
                home(folder, state["generation"], worker).mkdir(parents=True)
        if state["queued"] == "HALF":
            return "ACTIVE", "PREEMPTED" if number == state["slices"] - 1 else "READY"
        node = {"ACTIVE": "READY", "SUSPENDED": "PREEMPTED"}.get(state["queued"])
        return state["queued"], node


def delete(folder: Path) -> None:
    """Deletes the slice, whatever it does."""
    with opened(folder) as state:
        if state["queued"]:
            state["done"].append("deleted")
        state["queued"] = None
        _wipe(folder)


def home(folder: Path, generation: int, worker: int) -> Path:
    """A worker's disk."""
    return folder / "vm" / str(generation) / str(worker)


def ssh(folder: Path, worker: int, command: str) -> int:
    """Runs a command on a worker, with this process's output; 255 where there is none."""
    with opened(folder) as state:
        if state["queued"] != "ACTIVE" and not (state["queued"] == "HALF" and worker < WORKERS - 1):
            return 255
        place = home(folder, state["generation"], worker)
    environment = {
        "HOME": str(place),
        "PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "FAKE_CLOUD": str(folder),
        "BUCKET": str(folder / "bucket"),
        "TPU_WORKER_ID": str(worker),
        "FDL_LIBTPU_LOCKFILE": str(place / "libtpu_lockfile"),
        "FDL_METADATA": "http://127.0.0.1:9",  # nobody is there
    }
    if "JAX_COORDINATOR_PORT" in os.environ:
        environment["JAX_COORDINATOR_PORT"] = os.environ["JAX_COORDINATOR_PORT"]
    return subprocess.run(["sh", "-c", command], env=environment, cwd=place, check=False).returncode


def scp(folder: Path, worker: int, file: str, to: str) -> int:
    """Copies a file to a worker."""
    with opened(folder) as state:
        if state["queued"] != "ACTIVE":
            return 255
        shutil.copyfile(file, home(folder, state["generation"], worker) / to)
    return 0


def processes(folder: Path, variable: str = "") -> list[int]:
    """What runs on the VMs, or on one of them: with this variable in its environment."""
    mark, found = (variable or f"FAKE_CLOUD={folder}").encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _kill(found: list[int]) -> None:
    for process in found:
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)


def _wipe(folder: Path) -> None:
    _kill(processes(folder))
    shutil.rmtree(folder / "vm", ignore_errors=True)
