"""A slice's life: found, asked for, and deleted until nothing is left that would cost."""

from collections.abc import Sequence

from tpu import cloud, refusal, slices
from tpu.condition import Condition, State
from tpu.gcloud import Place, Request
from tpu.refusal import Kind
from tpu.supervisor import POLL, Budgets
from tpu.world import World

SETTLING = 15.0
"""Seconds after which a request that was not answered has come through or never will."""
DELETING = 30
"""How often a slice is looked at while it is being deleted."""


class Undeleted(OSError):
    """A slice could not be deleted, or it is not known whether it was."""


def find(world: World, places: Sequence[Place]) -> tuple[Place, Condition]:
    """In which of its zones a slice is, and its condition; the first zone where it is in none.

    Where it is not known whether it is in one, that one.

    Raises:
      ValueError: it is in several, or Google Cloud knows no such zone.
      OSError: Google Cloud refuses to say.
    """
    looks = [(place, cloud.describe(world, place)) for place in places]
    there = [place for place, found in looks if found.state not in (State.ABSENT, State.UNKNOWN)]
    if len(there) > 1:
        zones = " and in ".join(place.zone for place in there)
        raise ValueError(
            f"there is a slice {places[0].name} in {zones}; {removal(there[:1])}, or give one --zone"
        )
    for wanted in (
        lambda state: state not in (State.ABSENT, State.UNKNOWN),
        lambda state: state is State.UNKNOWN,
    ):
        for place, found in looks:
            if wanted(found.state):
                return place, found
    return looks[0]


def start(world: World, places: Sequence[Place]) -> Place:
    """Where to begin: in the zone that has the slice, or the first.

    Raises:
      ValueError, OSError: as `find`; or it stays unknown whether a zone has one.
    """
    if len(places) == 1:
        return places[0]
    place, found = find(world, places)
    for _ in range(Budgets().silences):
        if found.state is not State.UNKNOWN:
            return place
        check(found, place)
        world.sleep(POLL)
        place, found = find(world, places)
    raise OSError(f"whether there is a slice {place.name} in {place.zone} is {found.text()}")


def check(found: Condition, place: Place) -> None:
    """Raises where Google Cloud does not say how a slice is, and asking again cannot help."""
    error = refusal.final(found.reason) if found.state is State.UNKNOWN else None
    if error:
        raise type(error)(f"no answer about {place.zone}: {error}")


def create(world: World, places: Sequence[Place], request: Request, asked: set[Place]) -> int:
    """Asks once in each zone in turn, as soon as it has no slice, until one is ready.

    Args:
      world: the effects.
      places: a slice, in its zones.
      request: what to ask for.
      asked: takes the zone where there may be a slice that was asked for here.

    Raises:
      ValueError, OSError: it was refused, in the last zone or for good; or there is a dead slice.
    """
    say_terms(world, places, request)
    first = places.index(start(world, places))
    refused: str | None = ""
    for place in (*places[first:], *places[:first]):
        refused = _create(world, place, request, asked)
        if not refused:
            return 0
        world.say(f"refused in {place.zone}: {refused}")
    raise OSError(f"refused: {refused}")


def say_terms(world: World, places: Sequence[Place], request: Request) -> None:
    """Says what is asked for, where, what it costs and when it ends."""
    zones, price = (
        ", ".join(place.zone for place in places),
        slices.hourly(request.accelerator, request.slices),
    )
    world.say(f"{request.text()} in {zones}: {price}")
    hours = f"{request.lifetime / 3600:g} h"
    world.say(f"it deletes itself {hours} after its start (--lifetime), whatever runs there")


def _create(world: World, place: Place, request: Request, asked: set[Place]) -> str | None:
    """None once it is ready; why it was refused where another zone may do."""
    told, silent, most, began = "", 0, Budgets().silences, world.now()
    found = cloud.describe(world, place)
    while found.state is not State.READY:
        if place not in asked:
            check(found, place)
        if found.state is State.DEAD or (found.state is State.REFUSED and place not in asked):
            raise OSError(f"the slice {place.name} is {found.text()}: delete it first; {removal([place])}")
        told = tell(world, found, told)
        missing = found.state is State.ABSENT and place in asked
        silent = silent + 1 if missing or found.state is State.UNKNOWN else 0
        if silent > most:
            raise OSError(
                f"gave up after {most} looks in a row with no answer or no slice; the last: {found.text()}"
            )
        refused = None
        if found.state is State.ABSENT and place not in asked:
            asked.add(place)
            refused, began = cloud.create(world, place, request), world.now()
        elif found.state is State.REFUSED:
            refused = found.reason
        elif found.state is State.WAITING and place in asked and world.now() - began > request.queue:
            refused = f"no capacity within {request.queue} s"
        if refused:
            _leave(world, place)
            asked.discard(place)
            return _judged(refused)
        world.sleep(POLL)
        found = cloud.describe(world, place)
    world.say(f"the slice {place.name} is ready: {found.workers} workers")
    return None


def _leave(world: World, place: Place) -> None:
    """Leaves nothing of a request that was refused: it may be that only the answer was lost."""
    if cloud.describe(world, place).state is State.ABSENT:
        cloud.tidy(world, place)
    else:
        delete(world, [place])


def _judged(refused: str) -> str:
    """The refusal, where another zone may do; raises where none would."""
    error = refusal.final(refused)
    if error:
        raise error
    if refusal.kind(refused) is Kind.OTHER:
        raise OSError(f"refused: {refused}")
    return refused


def delete(
    world: World,
    places: Sequence[Place],
    request: Request | None = None,
    *,
    patient: bool = True,
    sure: bool = True,
) -> int:
    """Deletes in all zones, and waits until nothing is left that would cost.

    Args:
      world: the effects.
      places: a slice, in its zones.
      request: by which it was asked for, if that was now.
      patient: whether to ask again also where Google Cloud refuses to say how the slice is.
      sure: whether all requests for it have been answered: one that is on its way may yet come through.

    Raises:
      Undeleted: it is still there, or may be: with what it costs and the command that deletes it.
    """
    left = []
    for place in places:
        try:
            _delete(world, place, request, patient=patient, sure=sure)
        except (OSError, ValueError) as error:  # the others are to be deleted all the same
            left.append(str(error))
    if left:
        raise Undeleted("; ".join(left))
    return 0


def _delete(world: World, place: Place, request: Request | None, *, patient: bool, sure: bool) -> None:
    price = slices.hourly(request.accelerator, request.slices) if request else ""
    told, seen, last = "", False, ""
    for _ in range(DELETING):
        found = cloud.describe(world, place)
        price = slices.hourly(found.accelerator, found.slices) or price
        if not (patient or seen):
            check(found, place)
        if found.state is State.ABSENT and not (sure or seen):
            sure = True
            world.sleep(SETTLING)
            continue
        if found.state is State.ABSENT:
            there = f"the slice {place.name} is deleted"
            world.say(there if seen else f"there is no slice {place.name} in {place.zone}")
            cloud.tidy(world, place, world.say)
            return
        seen = seen or found.state is not State.UNKNOWN
        if found.state is not State.LEAVING:
            refused = cloud.delete(world, place)
            if refused:
                last = f"; the last refusal: {refused}"
                world.say(f"deleting was refused: {refused}")
        told = tell(world, found, told)
        world.sleep(POLL)
    raise Undeleted(
        f"the slice {place.name} could not be deleted, and costs{f': {price}' if price else ''}{last}; "
        f"{removal([place])}"
    )


def command_line(verb: str, places: Sequence[Place]) -> str:
    """A command line of the launcher, for people."""
    project = f" --project {places[0].project}" if places[0].project else ""
    zones = ",".join(place.zone for place in places)
    api = " --api compute" if places[0].compute else ""
    return f"python3 -m tpu.launch {verb} {places[0].name} --zone {zones}{project}{api}"


def removal(places: Sequence[Place]) -> str:
    """How to delete a slice, for people."""
    return f"delete it: {command_line('delete', places)}"


def tell(world: World, found: Condition, told: str) -> str:
    """Says what the slice is, where that is not what was told last."""
    text = f"the slice is {found.text()}"
    if text != told:
        world.say(text)
    return text
