"""`watch` and `up`: a slice is kept until its command has finished, in the zones that may have it."""

from collections.abc import Callable, Sequence

from tpu import cloud, condition, job, lifecycle, worker
from tpu.condition import Condition, State
from tpu.ending import Wish, guarded
from tpu.follow import Outcome
from tpu.gcloud import Place, Request
from tpu.supervisor import Actions, Budgets, Busy, Clock, watch
from tpu.worker import Again, Code, Task
from tpu.world import World, each

NEARLY = 600.0
"""Seconds before the end of its lifetime (at most a tenth of it) in which its loss counts as that end."""


def keep_up(
    world: World,
    places: Sequence[Place],
    request: Request,
    *,
    task: Task,
    code: Code,
    budgets: Budgets,
    wish: Wish,
) -> int:
    """Makes a slice as often as that is needed to run a command on it; returns the command's exit code.

    Args:
      world: the effects.
      places: the slice, in each zone where it may be made; they are tried in turn.
      request: what to ask for.
      task: the command to run.
      code: what goes to the workers.
      budgets: the troubles that are borne.
      wish: what is to become of the slice at the end.

    Raises:
      ValueError, OSError: as `supervisor.watch`, `lifecycle.start` and `lifecycle.delete`.
    """
    lifecycle.say_terms(world, places, request)
    ours = set[Place]()
    away: float | None = None  # since when no slice is ready
    attempts = 0

    def attempt(place: Place, ready: Condition) -> Outcome:
        nonlocal away, attempts
        created = 0.0 if away is None else world.now() - away
        if ready.slices != request.slices:
            had = f"{place.name} has another number of slices ({ready.slices}) than was asked for"
            raise Busy(f"{had} ({request.slices}): delete it, or take another name")
        # A request that seemed to be refused may have come through since.
        for other in ours - {place}:
            if cloud.describe(world, other).state not in (State.ABSENT, State.LEAVING, State.UNKNOWN):
                world.say(f"deleting the slice in {other.zone}, which came late")
                cloud.delete(world, other)
        place, began = condition.located(place, ready), world.now()
        trouble = job.install(world, place, ready.workers, code=code)
        if trouble:
            return trouble
        away, attempts = None, attempts + 1
        again = Again(created, world.now() - began) if attempts > 1 else None
        if again:
            made = f"made again in {again.create:.0f} s, " if again.create else ""
            world.say(f"going on: {made}set up in {again.set_up:.0f} s")
        return run(world, place, task._replace(deletes=not wish.keep, again=again), ready.workers)

    def work() -> int:
        actions = _actions(world, places, request, ours, attempt)

        def look() -> Condition:
            nonlocal away
            found = actions.describe()
            if found.state not in (State.READY, State.UNKNOWN) and away is None:
                away = world.now()
            return found

        clock, patience = Clock(world.now, world.sleep), request.queue
        looking = actions._replace(describe=look)
        return watch(looking, budgets, clock, say=world.say, zones=len(places), patience=patience)

    return guarded(
        world, places, request, wish, work=work, ours=lambda: bool(ours), kept=lambda: _keep(world, places)
    )


def _keep(world: World, places: Sequence[Place]) -> None:
    """Has the workers keep the slice after its command."""
    place, ready = lifecycle.find(world, places)
    if ready.state is State.READY:
        place = condition.located(place, ready)
        each(world, lambda index: worker.keep(world, place, index), range(ready.workers))


def _actions(
    world: World,
    places: Sequence[Place],
    request: Request,
    ours: set[Place],
    attempt: Callable[[Place, Condition], Outcome],
) -> Actions:
    """What can be done to the slice, in the zone whose turn it is; `ours` takes those where it may be."""
    at = places.index(lifecycle.start(world, places))
    since: float | None = None
    found = Condition(State.UNKNOWN)

    def describe() -> Condition:
        nonlocal since, found
        found = cloud.describe(world, places[at])
        if found.state not in (State.ABSENT, State.UNKNOWN):
            ours.add(places[at])
        if found.state is State.READY:
            since = world.now() if since is None else since
        elif found.state is not State.UNKNOWN:
            lived, since = 0.0 if since is None else world.now() - since, None
            if lived >= request.lifetime - min(NEARLY, request.lifetime / 10):
                raise OSError(
                    f"the slice's lifetime of {request.lifetime / 3600:g} h is over before the command is: "
                    "the same command goes on from its last checkpoint; a longer --lifetime lets it finish"
                )
        return found

    def create() -> str | None:
        ours.add(places[at])  # even where it is refused: it may be that only the answer is lost
        return cloud.create(world, places[at], request)

    def delete() -> str | None:
        return cloud.delete(world, places[at])

    def move() -> None:
        nonlocal at
        at = (at + 1) % len(places)
        world.say(f"going to {places[at].zone}")

    return Actions(describe, create, delete, lambda workers: attempt(places[at], found), move)


def run(world: World, place: Place, task: Task, workers: int) -> Outcome:
    """Runs a command on all workers of a slice that is set up, or joins it; see `job.attempt`."""

    def alive() -> bool:
        return cloud.describe(world, place).state in (State.READY, State.UNKNOWN)

    return job.attempt(world, place, workers, task=task, alive=alive)
