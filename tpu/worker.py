"""One worker of a slice: what the launcher asks of `run.sh` there, and what it understands of the answers."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tpu import gcloud
from tpu.gcloud import Place
from tpu.world import World

SCRIPT, CODE, ENVIRONMENT = "fdl-run.sh", "fdl-code.tar.gz", "fdl-env"
"""Their names in a worker's home directory."""
REACHING, COPYING, SETTING_UP, STARTING, POLLING, STOPPING = 60.0, 600.0, 3600.0, 120.0, 60.0, 180.0
"""Seconds after which an answer does not come any more."""
BUSY = 3
"""`run.sh` ends with this where something else runs."""
HEADER = re.compile(rb"fdl-tpu (\S+) (absent|running|ended|lost) (-|\d+) (\d+) (\d+)\n")
WHOLE = b"fdl-tpu exit 0\n"
"""What follows the log in an answer that was not broken off."""
ENDING = re.compile(rb"^fdl-tpu exit (\d+)$", re.MULTILINE)


class Code(NamedTuple):
    """What goes to a worker."""

    script: Path
    """`run.sh`"""
    archive: Path
    """the packed code"""
    digest: str
    """its SHA-256"""
    extras: tuple[str, ...]
    """of the project: what is installed besides its dependencies"""


class Reply(NamedTuple):
    """How a command on a worker ended; `code` is None where ssh failed rather than the command."""

    code: int | None
    reason: str


class Poll(NamedTuple):
    """A look at a worker."""

    job: str
    """the last job's name, or `-`"""
    state: str
    """absent, running, ended, or lost (it stopped without an exit code)"""
    code: int | None
    size: int
    """bytes of its log"""
    log: bytes
    """the log from the offset that was asked for, or a part of that"""


def reach(world: World, place: Place, worker: int) -> Reply:
    """Whether ssh works. Where it never did, gcloud makes the key first, which only one may do at a time."""
    done = world.run(gcloud.ssh(place, worker, words=["true"]), REACHING)
    return Reply(0 if done.code == 0 else None, done.reason())


def install(world: World, place: Place, worker: int, *, code: Code) -> Reply:
    """Copies the code and makes its environment; makes nothing where that was done."""
    for file, name in ((code.script, SCRIPT), (code.archive, CODE)):
        done = world.run(gcloud.scp(place, worker, files=[str(file)], to=name), COPYING)
        if done.code != 0:
            return Reply(None, done.reason())
    return _ask(world, place, worker, ["setup", code.digest, *code.extras], SETTING_UP)


class Again(NamedTuple):
    """What it took until a command could be started again, in seconds."""

    create: float
    """from when no slice was seen to be ready to when one was; 0 where the old one still is"""
    set_up: float


class Task(NamedTuple):
    """A command, and what belongs to it."""

    command: Sequence[str]
    """its words, the same on every worker"""
    environment: Path | None = None
    """a file with its variables, `NAME=VALUE` and a zero byte each; where it is joined it keeps its own"""
    deletes: bool | None = None
    """the workers delete their slice once it has ended for good, also when the launcher is gone by then;
    None: they do not, or, where it is joined, what was said before holds"""
    again: Again | None = None
    """what was done so that it can go on, for fdl's account of its restarts"""


def start(world: World, place: Place, worker: int, *, job: str, task: Task) -> Reply:
    """Starts a command, detached. Where it was started before, that says anew what comes after it."""
    flags = ["--delete"] if task.deletes else []
    if task.environment:
        flags.append("--env")
        done = world.run(gcloud.scp(place, worker, files=[str(task.environment)], to=ENVIRONMENT), COPYING)
        if done.code != 0:
            return Reply(None, done.reason())
    command = [*_told(task.again), *task.command]
    return _ask(world, place, worker, ["start", *flags, job, *command], STARTING)


def _told(again: Again | None) -> list[str]:
    """How fdl is told of it; see `fdl.train.restart`."""
    return ["env", f"FDL_RESTART=create={again.create:.1f},set_up={again.set_up:.1f}"] if again else []


def stop(world: World, place: Place, worker: int) -> Reply:
    """Ends what runs: it may save first."""
    return _ask(world, place, worker, ["stop"], STOPPING)


def keep(world: World, place: Place, worker: int) -> Reply:
    """Takes back that the slice is deleted after its command."""
    return _ask(world, place, worker, ["keep"], REACHING)


def poll(world: World, place: Place, worker: int, *, offset: int) -> Poll | None:
    """A look at a worker and at its log from byte `offset`; None where it does not answer."""
    done = world.run(gcloud.ssh(place, worker, words=["bash", SCRIPT, "poll", str(offset)]), POLLING)
    return understood(done.out)


def understood(out: bytes) -> Poll | None:
    """The first whole answer to a poll: gcloud may have said the command several times."""
    for found in HEADER.finditer(out):
        end = found.end() + int(found[5])
        log = out[found.end() : end]
        if out[end:].startswith(WHOLE):
            code = None if found[3] == b"-" else int(found[3])
            return Poll(found[1].decode(), found[2].decode(), code, int(found[4]), log)
    return None


def _ask(world: World, place: Place, worker: int, words: Sequence[str], seconds: float) -> Reply:
    done = world.run(gcloud.ssh(place, worker, words=["bash", SCRIPT, *words]), seconds)
    ends = ENDING.findall(done.out)
    if not ends or done.code is None:
        return Reply(None, done.reason())
    lines = done.out.decode(errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return Reply(int(ends[-1]), errors[-1] if errors else done.reason())
