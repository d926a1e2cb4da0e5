"""What is asked of Google Cloud about a slice, by the Cloud TPU API or by Compute Engine's."""

import json
from collections.abc import Callable, Sequence

from tpu import compute, condition, gcloud, group
from tpu.condition import ASKING, Condition, State
from tpu.gcloud import Place, Request
from tpu.world import World

REMOVING = 900.0
"""Seconds that gcloud may take to delete a group: it waits for its VMs."""


def describe(world: World, place: Place) -> Condition:
    """How a slice is. No answer is UNKNOWN, never ABSENT: nothing is made or deleted upon it."""
    return _group(world, place) if place.compute else condition.describe(world, place)


def create(world: World, place: Place, request: Request) -> str | None:
    """Asks for a slice; why that was refused, None where it was not."""
    if not place.compute:
        return refused_by(world, gcloud.create(place, request))
    tidy(world, place)  # what an earlier request has left may be of another kind
    for words in compute.create(place, request):
        refused = refused_by(world, words)
        if refused:
            return refused
    return None


def delete(world: World, place: Place) -> str | None:
    """Asks for a slice to be deleted; why that was refused, None where it was not."""
    if place.compute:
        return refused_by(world, compute.delete(place), REMOVING)
    return refused_by(world, gcloud.delete(place))


def tidy(world: World, place: Place, say: Callable[[str], None] = lambda line: None) -> None:
    """Deletes what a slice that is gone has left; it costs nothing, so it may stay where that is refused."""
    for words in compute.tidy(place) if place.compute else ():
        refused = refused_by(world, words)
        if refused and not _missing(refused):
            say(f"left, at no cost: {words[2]} {words[4]}: {refused}")


def refused_by(world: World, words: Sequence[str], limit: float = ASKING) -> str | None:
    """Why Google Cloud did not do it, None where it did."""
    done = world.run(words, limit)
    return None if done.code == 0 else done.reason()


def _group(world: World, place: Place) -> Condition:
    found = world.run(compute.describe(place), ASKING)
    if found.code not in (0, None) and _missing(found.error, f"instanceGroupManagers/{place.name}"):
        return Condition(State.ABSENT)
    vms = world.run(compute.list_vms(place), ASKING) if found.code == 0 else found
    if vms.code != 0:
        return Condition(State.UNKNOWN, reason=vms.reason())
    try:
        return group.condition(json.loads(found.out), json.loads(vms.out))
    except (ValueError, TypeError, AttributeError, LookupError):
        return Condition(State.UNKNOWN, reason="gcloud's answer cannot be understood")


def _missing(error: str, what: str = "") -> bool:
    """Whether Compute Engine has no such thing: an unknown project or zone is another matter."""
    return f"{what}' was not found" in error
