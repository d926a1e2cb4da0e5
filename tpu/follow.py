"""Following a job on all workers to its end: the logs, line by line, and how it ended."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from tpu.worker import Poll
from tpu.world import World, each

EVERY = 15.0
"""Seconds between two looks at the workers."""
MISSES = 5
"""Looks in a row that a worker may leave unanswered."""
GRACE_FAILED, GRACE_DONE = 60.0, 900.0
"""Seconds that the others have to end too, once a worker failed or was done. fdl itself takes 15."""
LINE = 65536
"""Bytes without an end of line that are shown as a line."""
HOPELESS = {2: "bad input", 3: "a loss was not finite"}
"""Exit codes of fdl after which the same command would end the same way."""
INTERRUPTED = (75, 128 + 15)
"""Exit codes of a program that SIGTERM ended: 75 where fdl saved first."""


UNFIT = b"fdl doctor: unfit: "
"""What fdl prints before what another slice would mend; it ends with exit code 1 then."""


class Ending(Enum):
    """How an attempt ended."""

    FINISHED = "finished"
    HOPELESS = "ended"
    CRASHED = "crashed"
    INTERRUPTED = "was interrupted"
    LOST = "lost a worker"
    UNFIT = "found the slice unfit"
    BUSY = "is busy"


class Outcome(NamedTuple):
    """How an attempt ended, and why; `code` is fdl's exit code where that is an answer."""

    ending: Ending
    reason: str = ""
    code: int = 1


def follow(
    world: World,
    look: Callable[[int, int], Poll | None],
    *,
    job: str,
    offsets: Sequence[int],
    alive: Callable[[], bool],
) -> Outcome:
    """Shows what all workers print, and waits until all have ended.

    Args:
      world: the effects.
      look: of a worker and an offset in its log; None where it does not answer.
      job: what should run there.
      offsets: how much of each worker's log has been shown.
      alive: whether Google Cloud still counts the slice as ready; asked when a worker does not answer.
    """
    position, misses = list(offsets), [0] * len(offsets)
    codes: dict[int, int | None] = {}
    first_end, unfit = 0.0, ""
    while len(codes) < len(offsets):
        waiting = [index for index in range(len(offsets)) if index not in codes]
        behind = False
        for index, seen in zip(
            waiting, each(world, lambda index: look(index, position[index]), waiting), strict=True
        ):
            misses[index] = 0 if seen else misses[index] + 1
            if seen is None:
                continue
            lines = whole_lines(seen, position[index]) if seen.job == job else b""
            show(world, index, lines)
            unfit = unfit or unfit_in(lines)
            position[index] += len(lines)
            rest = seen.job == job and position[index] < seen.size
            behind |= rest and len(lines) > 0
            if seen.job != job or (seen.state != "running" and not rest):
                first_end = first_end if codes else world.now()
                codes[index] = seen.code if seen.job == job else None
        if max(misses) and not alive():
            return Outcome(Ending.LOST, "the slice is not ready any more")
        if max(misses) >= MISSES:
            return Outcome(Ending.LOST, f"worker {misses.index(max(misses))} does not answer")
        grace = GRACE_FAILED if any(codes.values()) or None in codes.values() else GRACE_DONE
        if codes and len(codes) < len(offsets) and world.now() - first_end > grace:
            return verdict({index: codes.get(index) for index in range(len(offsets))}, unfit)
        if len(codes) < len(offsets) and not behind:
            world.sleep(EVERY)
    return verdict(codes, unfit)


def whole_lines(seen: Poll, offset: int) -> bytes:
    """What of a poll's log ends in a line's end, or will never have one."""
    if seen.state != "running" and offset + len(seen.log) >= seen.size:
        return seen.log
    end = seen.log.rfind(b"\n") + 1
    return seen.log[: end or (len(seen.log) if len(seen.log) >= LINE else 0)]


def show(world: World, index: int, lines: bytes) -> None:
    """Prints a part of a worker's log, the worker before each line."""
    for line in lines.decode(errors="replace").splitlines():
        world.say(f"[{index}] {line}")


def unfit_in(lines: bytes) -> str:
    """What a part of a log says to be wrong with the slice; nothing where it says nothing."""
    found = next((line for line in lines.splitlines() if UNFIT in line), b"")
    return found.partition(UNFIT)[2].decode(errors="replace")


def verdict(codes: dict[int, int | None], unfit: str = "") -> Outcome:
    """How an attempt ended, from the exit codes of its workers, None where one has none, and from what they
    said to be wrong with the slice."""
    for index, code in codes.items():
        if code in HOPELESS:
            return Outcome(
                Ending.HOPELESS, f"worker {index} ended with exit code {code}, {HOPELESS[code]}", code
            )
    if unfit and any(code not in (0, *INTERRUPTED) for code in codes.values()):
        return Outcome(Ending.UNFIT, unfit)
    for index, code in codes.items():
        if code not in (0, None, *INTERRUPTED):
            return Outcome(Ending.CRASHED, f"worker {index} ended with exit code {code}")
    for index, code in codes.items():
        if code is None:
            return Outcome(Ending.CRASHED, f"worker {index} has no exit code")
    for index, code in codes.items():
        if code:
            return Outcome(Ending.INTERRUPTED, f"worker {index} was interrupted, exit code {code}")
    return Outcome(Ending.FINISHED, code=0)
