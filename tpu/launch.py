"""The launcher: `python -m tpu.launch up NAME --zone Z --accelerator A -- sweep FILE --workdir gs://...`."""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tpu import condition, gcloud, job, worker
from tpu.archive import pack
from tpu.condition import ASKING, Condition, State
from tpu.flags import checked_budgets, checked_command, parser
from tpu.follow import Ending, Outcome, show, whole_lines
from tpu.gcloud import Place, Request
from tpu.rehearsal import rehearsal
from tpu.supervisor import POLL, Actions, Budgets, Clock, watch
from tpu.worker import Code
from tpu.world import World, each, real

FAILED, BAD_INPUT, STOPPED = 1, 2, 75
ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("tpu", "gs")
"""The project's extras that every worker needs."""
DELETING = 30
"""How often a slice is looked at while it is being deleted."""


def main(arguments: Sequence[str] | None = None, *, world: World | None = None, root: Path = ROOT) -> int:
    """Runs a command line; returns its exit code: fdl's own, 1, 2 for bad input, 75 where stopped."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    try:
        flags = parser().parse_args(words[:cut])
        return _execute(flags, words[cut + 1 :], world or real(), root)
    except KeyboardInterrupt:
        return _end(
            "stopped; the slice, if there is one, still runs and costs: see run, stop, delete", STOPPED
        )
    except ValueError as error:
        return _end(f"error: {error}", BAD_INPUT)
    except OSError as error:
        return _end(f"error: {error}", FAILED)


def _execute(flags: argparse.Namespace, words: Sequence[str], world: World, root: Path) -> int:
    place = gcloud.checked_place(flags.name, flags.zone, flags.project)
    asks = flags.command in ("create", "watch", "up")
    request = (
        gcloud.checked_request(flags.accelerator, flags.pricing, flags.runtime_version) if asks else None
    )
    if flags.command in ("run", "watch", "up"):
        words = checked_command(words, root)
    elif words:
        raise ValueError(f"{flags.command} takes no fdl command; got {words[0]!r} after --")
    if flags.dry_run:
        workers = gcloud.hosts(request.accelerator) if request else 1
        world = rehearsal(workers, exists=not asks, write=world.say)
    if request:
        if flags.command == "create":
            return _create(world, place, request)
        return _supervise(flags, world, place, request, words, root)
    if flags.command == "delete":
        return _delete(world, place)
    ready = condition.describe(world, place)
    if ready.state is not State.READY:
        raise OSError(f"the slice {place.name} is {ready.text()}; {_remedy(ready.state, place)}")
    if flags.command == "setup":
        with _packed(flags, root) as code:
            return _exit_code(world, job.install(world, place, ready.workers, code=code))
    if flags.command == "run":
        return _exit_code(world, _attempt(world, place, words, ready.workers))
    if flags.command == "stop":
        replies = each(world, partial(worker.stop, world, place), range(ready.workers))
        for index, reply in enumerate(replies):
            world.say(f"[{index}] {'stopped' if reply.code == 0 else f'failed: {reply.reason}'}")
        return FAILED if any(reply.code != 0 for reply in replies) else 0
    return _logs(world, place, ready.workers, flags.worker)


def _supervise(
    flags: argparse.Namespace,
    world: World,
    place: Place,
    request: Request,
    command: Sequence[str],
    root: Path,
) -> int:
    budgets = checked_budgets(flags)
    with _packed(flags, root) as code:

        def attempt(workers: int) -> Outcome:
            return job.install(world, place, workers, code=code) or _attempt(world, place, command, workers)

        actions = Actions(
            partial(condition.describe, world, place),
            lambda: _refusal(world, gcloud.create(place, request)),
            lambda: _refusal(world, gcloud.delete(place)),
            attempt,
        )
        try:
            ended = watch(actions, budgets, Clock(world.now, world.sleep), say=world.say)
        except OSError as error:
            if flags.command == "up":
                world.say(f"{error}; deleting the slice")  # now, as deleting may fail too
                _delete(world, place)
            raise OSError(error) from None
    if flags.command == "up":
        return max(ended, _delete(world, place))
    world.say(f"the slice {place.name} is still there, and costs: see delete")
    return ended


def _attempt(world: World, place: Place, command: Sequence[str], workers: int) -> Outcome:
    def alive() -> bool:
        return condition.describe(world, place).state in (State.READY, State.UNKNOWN)

    return job.attempt(world, place, workers, command=command, alive=alive)


def _create(world: World, place: Place, request: Request) -> int:
    """Asks once, as soon as there is no slice, and waits until it is ready."""
    told, asked, silent, most = "", False, 0, Budgets().silences
    found = condition.describe(world, place)
    while found.state is not State.READY:
        if found.state in (State.REFUSED, State.DEAD):
            raise OSError(f"the slice {place.name} is {found.text()}: delete it first")
        told = _tell(world, found, told)
        missing = found.state is State.ABSENT and asked
        silent = silent + 1 if missing or found.state is State.UNKNOWN else 0
        if silent > most:
            raise OSError(
                f"gave up after {most} looks in a row with no answer or no slice; the last: {found.text()}"
            )
        if found.state is State.ABSENT and not asked:
            refused, asked = _refusal(world, gcloud.create(place, request)), True
            if refused:
                raise OSError(f"refused: {refused}")
        world.sleep(POLL)
        found = condition.describe(world, place)
    world.say(f"the slice {place.name} is ready: {found.workers} workers")
    return 0


def _delete(world: World, place: Place) -> int:
    """Deletes, and waits until nothing is left that would cost."""
    told = ""
    for _ in range(DELETING):
        found = condition.describe(world, place)
        if found.state is State.ABSENT:
            world.say(f"the slice {place.name} is deleted")
            return 0
        if found.state is not State.LEAVING:
            refused = _refusal(world, gcloud.delete(place))
            if refused:
                world.say(f"deleting was refused: {refused}")
        told = _tell(world, found, told)
        world.sleep(POLL)
    raise OSError(f"the slice {place.name} could not be deleted, and costs: look at the console")


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
    with tempfile.TemporaryDirectory(prefix="fdl-tpu-") as folder:
        archive = Path(folder) / worker.CODE
        digest = pack(root, archive)
        yield Code(Path(__file__).with_name("run.sh"), archive, digest, (*EXTRAS, *flags.extra))


def _remedy(state: State, place: Place) -> str:
    if state is State.ABSENT:
        project = f" --project {place.project}" if place.project else ""
        return (
            f"create it first: python3 -m tpu.launch create {place.name} --zone {place.zone}{project} "
            "--accelerator A"
        )
    if state in (State.REFUSED, State.DEAD):
        return "it stays so: delete it and create it again, or see watch, which does both"
    return "wait, or see watch, which does"


def _refusal(world: World, words: Sequence[str]) -> str | None:
    done = world.run(words, ASKING)
    return None if done.code == 0 else done.reason()


def _exit_code(world: World, outcome: Outcome | None) -> int:
    if outcome is None or outcome.ending is Ending.FINISHED:
        return 0
    world.say(f"{outcome.ending.value}: {outcome.reason}")
    return BAD_INPUT if outcome.ending is Ending.BUSY else outcome.code


def _tell(world: World, found: Condition, told: str) -> str:
    text = f"the slice is {found.text()}"
    if text != told:
        world.say(text)
    return text


def _end(message: str, code: int) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
