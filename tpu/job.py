"""One attempt on all workers: set up, start or join, follow, leave nothing behind."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial

from tpu import refusal, worker
from tpu.follow import EVERY, Ending, Outcome, follow
from tpu.gcloud import Place
from tpu.refusal import Kind
from tpu.worker import Code, Poll, Reply, Task
from tpu.world import World, each

REACHING, AGAIN = 10, 3
"""How often a worker that does not answer is tried: one that may be starting, and one that did answer."""
SEEN = 65536
"""Bytes of a log that are shown where the launcher joins a running job."""


def install(world: World, place: Place, workers: int, *, code: Code) -> Outcome | None:
    """Copies the code and sets every worker up; None where all is well."""
    # One worker alone at first: gcloud may have to make the ssh key, which only one can do, and it gives the
    # key to each slice by itself.
    for first in range(0, workers, workers // place.slices):
        reply = _insist(world, partial(worker.reach, world, place, first), REACHING)
        if reply.code != 0:
            return _trouble({first: reply})

    def one(index: int) -> Reply:
        return _insist(world, lambda: worker.install(world, place, index, code=code), AGAIN)

    return _trouble(dict(enumerate(each(world, one, range(workers)))))


def attempt(world: World, place: Place, workers: int, *, task: Task, alive: Callable[[], bool]) -> Outcome:
    """Runs a command on all workers and follows it to its end.

    Where the same command runs on all of them, it is joined. Where it runs on some, it is ended and started
    anew on all: workers of different attempts would wait for each other forever.

    Args:
      world: the effects.
      place: the slice.
      workers: how many workers it has.
      task: what is to be done.
      alive: whether Google Cloud still counts the slice as ready; asked when a worker does not answer.
    """

    def look(index: int, offset: int) -> Poll | None:
        return worker.poll(world, place, index, offset=offset)

    def stop_all() -> None:
        each(world, lambda index: worker.stop(world, place, index), range(workers))

    seen = [one for one in each(world, lambda index: look(index, 0), range(workers)) if one]
    if len(seen) < workers:
        return Outcome(Ending.LOST, f"{workers - len(seen)} of {workers} workers do not answer")
    key = hashlib.sha256(json.dumps(list(task.command)).encode()).hexdigest()[:12]
    running = {one.job for one in seen if one.state == "running"}
    if any(not name.startswith(f"{key}-") for name in running):
        return Outcome(Ending.BUSY, "another command runs there; see the launcher's logs and stop")
    joined = len(running) == 1 and all(one.state == "running" for one in seen)
    if joined:
        job, offsets = running.pop(), [max(0, one.size - SEEN) for one in seen]
        task = task._replace(environment=None)
        world.say(f"{job} runs already: joined")
    else:
        if running:
            stop_all()
        job, offsets = f"{key}-{world.token()}", [0] * workers
    # Where it is joined, this only says anew what comes after it.
    trouble = None if joined and task.deletes is None else _start(world, place, workers, job, task)
    if trouble and not joined:
        stop_all()
        return trouble
    outcome = follow(world, look, job=job, offsets=offsets, alive=alive)
    if outcome.ending in (Ending.CRASHED, Ending.INTERRUPTED, Ending.HOPELESS, Ending.UNFIT):
        stop_all()
    return outcome


def _start(world: World, place: Place, workers: int, job: str, task: Task) -> Outcome | None:
    def one(index: int) -> Reply:
        return _insist(world, lambda: worker.start(world, place, index, job=job, task=task), AGAIN)

    return _trouble(dict(enumerate(each(world, one, range(workers)))))


def _insist(world: World, ask: Callable[[], Reply], tries: int) -> Reply:
    reply = ask()
    for _ in range(tries - 1):
        if reply.code is not None or _denied(reply):
            break
        world.say(f"a worker does not answer ({reply.reason}); trying again")
        world.sleep(EVERY)
        reply = ask()
    return reply


def _denied(reply: Reply) -> bool:
    """Whether a worker is there but refuses this account: another slice would be paid for in vain."""
    return reply.code is None and refusal.kind(reply.reason) is Kind.ACCESS


def _trouble(replies: Mapping[int, Reply]) -> Outcome | None:
    for index, reply in replies.items():
        if _denied(reply):
            remedy = "it must be allowed to log in to the VMs, see ssh in tpu/README.md"
            return Outcome(Ending.HOPELESS, f"worker {index} refuses this account: {reply.reason}; {remedy}")
        if reply.code is None:
            return Outcome(Ending.LOST, f"worker {index} does not answer: {reply.reason}")
        if reply.code == worker.BUSY:
            return Outcome(Ending.BUSY, f"worker {index}: {reply.reason}")
    for index, reply in replies.items():
        if reply.code:
            return Outcome(Ending.CRASHED, f"worker {index}: {reply.reason}")
    return None
