"""`watch` and `up`: a slice is kept until its command has finished, in the zones that may have it."""

from collections.abc import Sequence

from tpu import condition, gcloud, job, lifecycle, slices
from tpu.condition import Condition, State
from tpu.follow import Outcome
from tpu.gcloud import Place, Request
from tpu.lifecycle import refused_by, removal
from tpu.supervisor import Actions, Budgets, Busy, Clock, watch
from tpu.worker import Code
from tpu.world import World


def keep_up(
    world: World,
    places: Sequence[Place],
    request: Request,
    *,
    command: Sequence[str],
    code: Code,
    budgets: Budgets,
    deletes: bool,
) -> int:
    """Makes a slice as often as that is needed to run a command on it; returns the command's exit code.

    Args:
      world: the effects.
      places: the slice, in each zone where it may be made; they are tried in turn.
      request: what to ask for.
      command: the words to run, the same on every worker.
      code: what goes to the workers.
      budgets: the troubles that are borne.
      deletes: whether to delete the slice at the end, whatever the end is.

    Raises:
      ValueError, OSError: as `supervisor.watch` and `lifecycle.start`.
    """
    price, others = slices.hourly(request.accelerator), ", ".join(place.zone for place in places)
    world.say(f"{request.accelerator} in {others}: {price}")
    at = places.index(lifecycle.start(world, places))
    left: set[Place] = set()
    seen = False

    def describe() -> Condition:
        nonlocal seen
        found = condition.describe(world, places[at])
        seen = seen or found.state not in (State.ABSENT, State.UNKNOWN)
        return found

    def create() -> str | None:
        nonlocal seen
        seen = True  # even where the answer is a refusal: it may be that only the answer was lost
        return refused_by(world, gcloud.create(places[at], request))

    def move() -> None:
        nonlocal at
        left.add(places[at])
        at = (at + 1) % len(places)
        world.say(f"going to {places[at].zone}")

    def attempt(workers: int) -> Outcome:
        # A request that seemed to be refused may have come through since.
        for other in left - {places[at]}:
            if condition.describe(world, other).state not in (State.ABSENT, State.LEAVING, State.UNKNOWN):
                world.say(f"deleting the slice in {other.zone}, which came late")
                refused_by(world, gcloud.delete(other))
        trouble = job.install(world, places[at], workers, code=code)
        return trouble or run(world, places[at], command, workers)

    actions = Actions(
        describe,
        create,
        lambda: refused_by(world, gcloud.delete(places[at])),
        attempt,
        move,
    )
    clock = Clock(world.now, world.sleep)
    try:
        ended = watch(actions, budgets, clock, say=world.say, zones=len(places), patience=request.queue)
    except Busy:
        raise
    except Exception as error:  # a fault of the launcher's own leaves no slice behind either
        if deletes and seen:
            world.say(f"{error}; deleting the slice")  # now, as deleting may fail too
            lifecycle.delete(world, places, request.accelerator)
        elif seen and isinstance(error, OSError):
            raise OSError(f"{error}; the slice may still be there, and cost; {removal(places)}") from None
        raise
    if deletes:
        return max(ended, lifecycle.delete(world, places, request.accelerator))
    world.say(f"the slice {places[at].name} is still there, and costs: {price}; {removal(places)}")
    return ended


def run(world: World, place: Place, command: Sequence[str], workers: int) -> Outcome:
    """Runs a command on all workers of a slice that is set up, or joins it."""

    def alive() -> bool:
        return condition.describe(world, place).state in (State.READY, State.UNKNOWN)

    return job.attempt(world, place, workers, command=command, alive=alive)
