"""The launcher: `python -m tpu.launch up NAME --zone Z --accelerator A -- sweep FILE --workdir gs://...`."""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from tpu import gcloud, job, lifecycle, slices, worker
from tpu.archive import listed, pack
from tpu.checks import check_extras, checked_command
from tpu.condition import State, located
from tpu.costs import costs
from tpu.ending import STOPPED, Wish, guarded
from tpu.environment import carried, checked_environment
from tpu.flags import budgets, manifested, parser, wanted
from tpu.follow import Ending, Outcome, show, whole_lines
from tpu.gcloud import Place, Request
from tpu.lifecycle import command_line, removal
from tpu.manifest import jobset
from tpu.rehearsal import rehearsal
from tpu.upkeep import keep_up, run
from tpu.voice import write
from tpu.worker import Code, Task
from tpu.world import World, each, real

FAILED, BAD_INPUT = 1, 2
ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("tpu", "gs")
"""The project's extras that every worker needs."""


def main(arguments: Sequence[str] | None = None, *, world: World | None = None, root: Path = ROOT) -> int:
    """Runs a command line; returns its exit code: fdl's own, 1, 2 for bad input, 75 where stopped."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    outside = world or real()
    places = []
    try:
        flags = parser().parse_args(words[:cut])
        if flags.command == "manifest":
            return _manifest(flags, words[cut + 1 :], outside, root)
        name, compute = getattr(flags, "name", "any"), flags.api == "compute"
        places = gcloud.checked_places(name, flags.zone, flags.project, compute=compute)
        if world is None and not flags.dry_run and shutil.which("gcloud") is None:
            raise OSError("gcloud is not installed, or not on the PATH")
        code, message = _execute(flags, places, words[cut + 1 :], outside, root), ""
    except KeyboardInterrupt:
        code, message = STOPPED, "stopped; nothing was asked for"
        if places and words[0] != "costs":
            message = f"stopped; the slice, if there is one, still runs and costs; {removal(places)}"
    except ValueError as error:
        code, message = BAD_INPUT, f"error: {error}"
    except OSError as error:
        code, message = FAILED, f"error: {error}"
    with contextlib.suppress(KeyboardInterrupt):
        outside.heard()
    if message:
        write(" ".join(message.split()), error=True)
    return code


def _execute(
    flags: argparse.Namespace, places: Sequence[Place], words: Sequence[str], world: World, root: Path
) -> int:
    asks, runs = flags.command in ("create", "watch", "up"), flags.command in ("run", "watch", "up")
    copies = flags.command in ("setup", "watch", "up")
    request = wanted(flags) if asks else None
    if words and not runs:
        raise ValueError(f"{flags.command} takes no fdl command; got {words[0]!r} after --")
    files = frozenset(listed(root)) if runs or copies else frozenset()
    if copies:
        check_extras((*EXTRAS, *flags.extra), root, files)
    if runs:
        words = checked_command(words, root, files)
    variables = checked_environment(flags.env, os.environ) if runs else {}
    if flags.dry_run:
        named = (getattr(flags, "worker", None) or 0) + 1  # of a slice that is there, as many as are named
        workers, count = (slices.hosts(request.accelerator), request.slices) if request else (named, 1)
        zone = "" if asks else places[0].zone
        world = rehearsal(workers, slices=count, zone=zone, write=world.say)
    if request:
        if flags.command == "create":
            return _create(flags, world, places, request)
        borne, wish = budgets(flags), Wish(flags.keep, asks=flags.command == "watch")
        with _packed(flags, root) as code, carried(variables) as environment:
            return keep_up(
                world,
                places,
                request,
                task=Task(words, environment),
                code=code,
                budgets=borne,
                wish=wish,
            )
    if flags.command == "costs":
        return costs(world, places)
    if flags.command == "delete":
        return lifecycle.delete(world, places, patient=False)
    return _on_slice(flags, world, places, words, root)


def _manifest(flags: argparse.Namespace, words: Sequence[str], world: World, root: Path) -> int:
    """Prints a manifest; raises `ValueError` for bad input."""
    cluster = manifested(flags)
    command = checked_command(words, root, frozenset(listed(root)))
    if any("=" not in word for word in flags.env):
        raise ValueError("--env takes NAME=VALUE here: it is printed; give secrets by Kubernetes' own means")
    variables = checked_environment(flags.env, {})
    for line in json.dumps(jobset(cluster, command, variables), indent=2).splitlines():
        world.say(line)
    world.heard()
    return 0


def _create(flags: argparse.Namespace, world: World, places: Sequence[Place], request: Request) -> int:
    asked = set[Place]()
    return guarded(
        world,
        places,
        request,
        Wish(flags.keep, asks=True),
        work=lambda: lifecycle.create(world, places, request, asked),
        ours=lambda: bool(asked),
        made_to_last=True,
    )


def _on_slice(
    flags: argparse.Namespace, world: World, places: Sequence[Place], words: Sequence[str], root: Path
) -> int:
    """What is done on the workers of a slice that is there: setup, run, stop, logs."""
    place, ready = lifecycle.find(world, places)
    lifecycle.check(ready, place)
    if ready.state is not State.READY:
        raise OSError(f"the slice {place.name} is {ready.text()}; {_remedy(ready.state, places)}")
    place = located(place, ready)
    if flags.command == "setup":
        with _packed(flags, root) as code:
            return _exit_code(world, job.install(world, place, ready.workers, code=code))
    if flags.command == "run":
        with carried(checked_environment(flags.env, os.environ)) as environment:
            return _exit_code(world, run(world, place, Task(words, environment), ready.workers))
    if flags.command == "stop":
        replies = each(world, partial(worker.stop, world, place), range(ready.workers))
        for index, reply in enumerate(replies):
            world.say(f"[{index}] {'stopped' if reply.code == 0 else f'failed: {reply.reason}'}")
        return FAILED if any(reply.code != 0 for reply in replies) else 0
    return _logs(world, place, ready.workers, flags.worker)


def _logs(world: World, place: Place, workers: int, only: int | None) -> int:
    if only is not None and not 0 <= only < workers:
        raise ValueError(f"--worker is {only}; expected 0 to {workers - 1}")
    silent = 0
    for index in range(workers) if only is None else (only,):
        offset, size = 0, 1
        while offset < size:
            seen = worker.poll(world, place, index, offset=offset)
            if seen is None:
                world.say(f"[{index}] does not answer")
                silent += 1
                break
            lines = whole_lines(seen, offset) or seen.log
            show(world, index, lines)
            offset, size = offset + len(lines), seen.size
    return FAILED if silent else 0


@contextlib.contextmanager
def _packed(flags: argparse.Namespace, root: Path) -> Iterator[Code]:
    # Cleaning up may fail, and what comes after it is deleting.
    with tempfile.TemporaryDirectory(prefix="fdl-tpu-", ignore_cleanup_errors=True) as folder:
        archive = Path(folder) / worker.CODE
        digest = pack(root, archive)
        yield Code(Path(__file__).with_name("run.sh"), archive, digest, (*EXTRAS, *flags.extra))


def _remedy(state: State, places: Sequence[Place]) -> str:
    if state is State.ABSENT:
        return f"create it first: {command_line('create', places)} --accelerator A"
    if state in (State.REFUSED, State.DEAD):
        return "it stays so: delete it and create it again, or see watch, which does both"
    return "wait, or see watch, which does"


def _exit_code(world: World, outcome: Outcome | None) -> int:
    if outcome is None or outcome.ending is Ending.FINISHED:
        return 0
    world.say(f"{outcome.ending.value}: {outcome.reason}")
    return BAD_INPUT if outcome.ending is Ending.BUSY else outcome.code


def _stop(number: int, frame: object) -> NoReturn:
    """As Ctrl-C does. A terminal that closes says so twice, which must not stop what the first has begun."""
    del number, frame
    for again in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, signal.SIG_IGN)
    raise KeyboardInterrupt


def listen() -> None:
    """SIGTERM and SIGHUP, unless they are ignored as under nohup, do what Ctrl-C does."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, _stop)


if __name__ == "__main__":
    listen()
    sys.exit(main())
