"""The supervisor: a slice that dies is deleted, made again and set up again, until the command has finished.

`decide` is a pure function from what is known and what Google Cloud says to what to do; `watch` does it.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from tpu import refusal
from tpu.condition import Condition, State
from tpu.follow import Ending, Outcome

POLL = 60.0
"""Seconds between two questions while Google Cloud works."""
HALF_MADE = 1800.0
"""Seconds after which a slice that is still being made counts as dead."""
FIRST_WAIT, LONGEST_WAIT = 30.0, 900.0
"""Seconds of the first back-off, which doubles with every trouble, and of the longest."""
HEALTHY = 1800.0
"""Seconds after which an attempt that ends is no part of a crash loop."""


class Busy(ValueError):
    """The slice runs another command: it is not ours to delete."""


class Budgets(NamedTuple):
    """How many troubles of each kind are borne."""

    preemptions: int = 100
    """slices that were taken away or died, in all"""
    unfit_slices: int = 5
    """slices that fdl doctor found unfit, in all"""
    crashes: int = 3
    """attempts in a row that failed soon, on a slice that is well"""
    quota_refusals: int = 20
    """requests in a row that Google Cloud refused for want of quota"""
    capacity_refusals: int = 100
    """requests in a row that it refused for want of capacity, or left waiting too long"""
    refusals: int = 20
    """requests in a row that it refused for a reason that may pass"""
    silences: int = 20
    """questions in a row that gcloud could not answer"""


class Actions(NamedTuple):
    """What the supervisor can do to a slice."""

    describe: Callable[[], Condition]
    create: Callable[[], str | None]
    """asks for it; the reason where that is refused"""
    delete: Callable[[], str | None]
    """the reason where that is refused"""
    attempt: Callable[[int], Outcome]
    """sets up so many workers and runs the command on them"""
    move: Callable[[], None] = lambda: None
    """goes to the next zone: all other actions are about the slice there from then on"""


class Clock(NamedTuple):
    """Time, in seconds."""

    now: Callable[[], float]
    sleep: Callable[[float], None]


class Memory(NamedTuple):
    """What the supervisor knows."""

    spent: Budgets = Budgets(0, 0, 0, 0, 0, 0, 0)
    streak: int = 0
    """troubles since the last healthy attempt"""
    doomed: bool = False
    """the slice is to go, whatever it says"""
    making_since: float | None = None
    failed: Outcome | None = None
    """how the last attempt failed, while it is not yet known whether the slice failed with it"""
    charged: bool = False
    """the last trouble was charged as a crash, though the slice's death may turn out to be the cause"""
    answered: bool = False
    """gcloud has been able to say what there is"""
    waiting_since: float | None = None
    refused: bool = False
    """the last request in this zone was: the next zone's turn comes as soon as this one has no slice"""


class Do(Enum):
    """What is to be done before the wait."""

    WAIT = "wait"
    CREATE = "create"
    DELETE = "delete"
    ATTEMPT = "attempt"
    MOVE = "move"
    GIVE_UP = "give up"


class Step(NamedTuple):
    """What to do, how long to wait then, and what to tell."""

    do: Do
    wait: float = 0.0
    reason: str = ""
    error: OSError | ValueError | None = None
    """what to give up with"""


def watch(
    actions: Actions,
    budgets: Budgets,
    clock: Clock,
    *,
    say: Callable[[str], None],
    zones: int = 1,
    patience: float = float("inf"),
) -> int:
    """Supervises until the command has finished; returns its exit code.

    Args:
      actions: what can be done to the slice.
      budgets: the troubles that are borne.
      clock: the time.
      say: prints a line.
      zones: in how many the slice may be made.
      patience: seconds that a request may wait for capacity.

    Raises:
      Busy: the slice runs another command.
      OSError: a budget is spent, or Google Cloud refuses for want of a permission; the message says why.
      ValueError: Google Cloud knows no such zone, type or image.
    """
    memory, told = Memory(), ""
    while True:
        condition = actions.describe()
        if condition.text() != told:
            say(f"the slice is {condition.text()}")
        told = condition.text()
        memory, step = decide(memory, condition, clock.now(), budgets=budgets, zones=zones, patience=patience)
        if step.do is Do.MOVE:
            actions.move()
            told = ""
        memory, step = _ask(actions, memory, step, budgets, say)
        if step.do is Do.ATTEMPT:
            began = clock.now()
            outcome = actions.attempt(condition.workers)
            say(f"the command {outcome.ending.value}" + (f": {outcome.reason}" if outcome.reason else ""))
            if outcome.ending in (Ending.FINISHED, Ending.HOPELESS):
                return outcome.code
            if outcome.ending is Ending.BUSY:
                raise Busy(outcome.reason)
            memory = failed(memory, outcome, clock.now() - began)
        if step.do is Do.GIVE_UP:
            raise step.error or OSError(step.reason)
        if step.reason:
            say(step.reason)
        if step.wait:
            clock.sleep(step.wait)


def _ask(
    actions: Actions, memory: Memory, step: Step, budgets: Budgets, say: Callable[[str], None]
) -> tuple[Memory, Step]:
    """Asks Google Cloud for what is to be made or deleted; what is known then, and the step that is left."""
    if step.do is Do.CREATE:
        say("asking for a slice")
        refused = actions.create()
        if refused:
            return _refuse(memory, f"refused: {refused}", Do.WAIT, budgets)
    if step.do is Do.DELETE:
        say("deleting the slice")
        refused = actions.delete()
        if refused:
            say(f"deleting was refused: {refused}")
    return memory, step


def decide(
    memory: Memory, condition: Condition, now: float, *, budgets: Budgets, zones: int, patience: float
) -> tuple[Memory, Step]:
    """What is known now, and the next step.

    Args:
      memory: what was known.
      condition: what Google Cloud says.
      now: the time.
      budgets: the troubles that are borne.
      zones: in how many the slice may be made.
      patience: seconds that a request may wait for capacity.
    """
    state, reason = condition.state, condition.reason
    if state is State.UNKNOWN:
        # Once it did answer, a lost permission may be a login that has run out while a slice works well.
        error = None if memory.answered else refusal.final(f"no answer: {reason}")
        if error:
            return memory, Step(Do.GIVE_UP, error=error)
        return charge(memory, "silences", f"no answer: {reason}", Do.WAIT, budgets=budgets)
    memory = memory._replace(spent=memory.spent._replace(silences=0), answered=True)
    if state is not State.MAKING:
        memory = memory._replace(making_since=None)
    if state is not State.WAITING:
        memory = memory._replace(waiting_since=None)
    if state is State.ABSENT:
        return _absent(memory, budgets, zones)
    if state is State.LEAVING:
        return memory, Step(Do.WAIT, POLL)
    if memory.doomed:
        return memory, Step(Do.DELETE, POLL)
    memory = memory._replace(refused=False)
    if state is State.WAITING:
        since = now if memory.waiting_since is None else memory.waiting_since
        memory = memory._replace(waiting_since=since)
        if now - since <= patience:
            return memory, Step(Do.WAIT, POLL)
        return _refuse(memory, f"no capacity within {patience:.0f} s", Do.DELETE, budgets)
    if state is State.MAKING:
        since = now if memory.making_since is None else memory.making_since
        memory = memory._replace(making_since=since)
        if now - since <= HALF_MADE:
            return memory, Step(Do.WAIT, POLL)
        return _doom(memory, "preemptions", f"half-made for {HALF_MADE:.0f} s", budgets)
    if state is State.REFUSED:
        return _refuse(memory, reason, Do.DELETE, budgets)
    if state is State.DEAD:
        return _doom(memory, "preemptions", reason, budgets)
    return _ready(memory, budgets)


def failed(memory: Memory, outcome: Outcome, seconds: float) -> Memory:
    """What is known after an attempt of so many seconds failed."""
    memory = memory._replace(failed=outcome, charged=False)
    if seconds < HEALTHY:
        return memory
    return memory._replace(spent=memory.spent._replace(crashes=0), streak=0)


def charge(memory: Memory, kind: str, reason: str, do: Do, *, budgets: Budgets) -> tuple[Memory, Step]:
    """Takes a trouble from its budget: `do`, then a back-off; or the end, where nothing is left."""
    count, allowed = getattr(memory.spent, kind) + 1, getattr(budgets, kind)
    memory = memory._replace(
        spent=memory.spent._replace(**{kind: count}), streak=memory.streak + 1, charged=kind == "crashes"
    )
    name = kind.replace("_", " ")
    if count > allowed:
        return memory, Step(Do.GIVE_UP, 0.0, f"gave up after {allowed} {name}; the last: {reason}")
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(memory.streak - 1, 10))
    return memory, Step(do, wait, f"{reason} ({count} of {allowed} {name}); next in {wait:.0f} s")


def _absent(memory: Memory, budgets: Budgets, zones: int) -> tuple[Memory, Step]:
    gone = memory.failed and not memory.doomed
    memory = memory._replace(doomed=False, failed=None, charged=False)
    if gone:
        return charge(memory, "preemptions", "the slice is gone", Do.WAIT, budgets=budgets)
    if memory.refused and zones > 1:
        return memory._replace(refused=False), Step(Do.MOVE)
    return memory, Step(Do.CREATE, POLL)


def _refuse(memory: Memory, reason: str, do: Do, budgets: Budgets) -> tuple[Memory, Step]:
    """A refusal: what was refused is to go; what asking again cannot mend ends at once."""
    error = refusal.final(reason)
    if error:
        return memory, Step(Do.GIVE_UP, error=error)
    memory, kind = memory._replace(refused=True), refusal.kind(reason).value
    if do is Do.DELETE:
        return _doom(memory, kind, reason, budgets)
    return charge(memory, kind, reason, do, budgets=budgets)


def _ready(memory: Memory, budgets: Budgets) -> tuple[Memory, Step]:
    spent = memory.spent._replace(quota_refusals=0, capacity_refusals=0, refusals=0)
    memory = memory._replace(spent=spent)
    before, memory = memory.failed, memory._replace(failed=None)
    if before is None:
        return memory, Step(Do.ATTEMPT)
    if before.ending is Ending.LOST:
        return _doom(memory, "preemptions", before.reason, budgets)
    if before.ending is Ending.UNFIT:  # the same zone may give the same chips again: the next one's turn
        return _doom(memory._replace(refused=True), "unfit_slices", before.reason, budgets)
    kind = "crashes" if before.ending is Ending.CRASHED else "preemptions"
    return charge(memory, kind, before.reason, Do.WAIT, budgets=budgets)


def _doom(memory: Memory, kind: str, reason: str, budgets: Budgets) -> tuple[Memory, Step]:
    spent = memory.spent
    if memory.charged:  # the crash was the beginning of this
        spent = spent._replace(crashes=spent.crashes - 1)
    memory = memory._replace(spent=spent, doomed=True, failed=None)
    return charge(memory, kind, reason, Do.DELETE, budgets=budgets)
