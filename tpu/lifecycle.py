"""A slice's life: found, asked for, and deleted until nothing is left that would cost."""

from collections.abc import Sequence

from tpu import condition, gcloud, slices
from tpu.condition import ASKING, Condition, State
from tpu.gcloud import Place, Request
from tpu.supervisor import POLL, Budgets
from tpu.world import World

DELETING = 30
"""How often a slice is looked at while it is being deleted."""


def create(world: World, place: Place, request: Request) -> int:
    """Asks once, as soon as there is no slice, and waits until it is ready."""
    told, asked, silent, most = "", False, 0, Budgets().silences
    world.say(f"{request.accelerator}: {slices.hourly(request.accelerator)}")
    found = condition.describe(world, place)
    while found.state is not State.READY:
        if found.state in (State.REFUSED, State.DEAD):
            raise OSError(f"the slice {place.name} is {found.text()}: delete it first; {removal(place)}")
        told = tell(world, found, told)
        missing = found.state is State.ABSENT and asked
        silent = silent + 1 if missing or found.state is State.UNKNOWN else 0
        if silent > most:
            left = f"; it may yet come, and cost: {removal(place)}" if asked else ""
            raise OSError(
                f"gave up after {most} looks in a row with no answer or no slice; the last: "
                f"{found.text()}{left}"
            )
        if found.state is State.ABSENT and not asked:
            refused, asked = refusal(world, gcloud.create(place, request)), True
            if refused:
                raise OSError(f"refused: {refused}")
        world.sleep(POLL)
        found = condition.describe(world, place)
    world.say(f"the slice {place.name} is ready: {found.workers} workers")
    return 0


def delete(world: World, place: Place, accelerator: str = "") -> int:
    """Deletes, and waits until nothing is left that would cost.

    Raises:
      OSError: it is still there, or may be: with what it costs and the command that deletes it.
    """
    told, seen, last = "", False, ""
    for _ in range(DELETING):
        found = condition.describe(world, place)
        accelerator = found.accelerator or accelerator
        if found.state is State.ABSENT:
            there = f"the slice {place.name} is deleted"
            world.say(there if seen else f"there is no slice {place.name} in {place.zone}")
            return 0
        seen = seen or found.state is not State.UNKNOWN
        if found.state is not State.LEAVING:
            refused = refusal(world, gcloud.delete(place))
            if refused:
                last = f"; the last refusal: {refused}"
                world.say(f"deleting was refused: {refused}")
        told = tell(world, found, told)
        world.sleep(POLL)
    price = slices.hourly(accelerator)
    raise OSError(
        f"the slice {place.name} could not be deleted, and costs{f': {price}' if price else ''}{last}; "
        f"{removal(place)}"
    )


def command_line(verb: str, place: Place) -> str:
    """A command line of the launcher, for people."""
    project = f" --project {place.project}" if place.project else ""
    return f"python3 -m tpu.launch {verb} {place.name} --zone {place.zone}{project}"


def removal(place: Place) -> str:
    """How to delete a slice, for people."""
    return f"delete it: {command_line('delete', place)}"


def refusal(world: World, words: Sequence[str]) -> str | None:
    """Why Google Cloud did not do it, None where it did."""
    done = world.run(words, ASKING)
    return None if done.code == 0 else done.reason()


def tell(world: World, found: Condition, told: str) -> str:
    """Says what the slice is, where that is not what was told last."""
    text = f"the slice is {found.text()}"
    if text != told:
        world.say(text)
    return text
