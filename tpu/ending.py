"""The one place where a slice ends: all that ends the launcher leads here, where it asks or deletes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tpu import lifecycle, slices
from tpu.gcloud import Place, Request
from tpu.lifecycle import Undeleted, removal
from tpu.supervisor import Busy
from tpu.world import World

STOPPED = 75
"""Exit code after Ctrl-C, SIGTERM or SIGHUP."""


class Wish(NamedTuple):
    """What is to become of the slice at the end."""

    keep: bool = False
    """leave it to its lifetime"""
    asks: bool = True
    """ask, where a person is at the terminal, also when all went well"""


def guarded(
    world: World,
    places: Sequence[Place],
    request: Request,
    wish: Wish,
    *,
    work: Callable[[], int],
    ours: Callable[[], bool],
    kept: Callable[[], None] = lambda: None,
    made_to_last: bool = False,
) -> int:
    """Does the work, then ends the slice; returns the work's exit code, 75 where that was stopped.

    Args:
      world: the effects.
      places: the slice, in its zones.
      request: what was asked for.
      wish: what is to become of the slice.
      work: what is to be done.
      ours: whether there may be a slice that this work has asked for, or runs on.
      kept: is done where a person keeps the slice after work that went well.
      made_to_last: the slice is to outlive work that went well.

    Raises:
      lifecycle.Undeleted: the slice could not be deleted; or as the work.
    """
    try:
        code = work()
        if not made_to_last and not _end(world, places, request, wish, sure=True) and not wish.keep:
            kept()
        return code
    except (Busy, Undeleted):  # it runs another command; all has been tried
        raise
    except (KeyboardInterrupt, Exception) as error:
        if not ours():
            raise
        stopped = isinstance(error, KeyboardInterrupt)
        world.resume()
        world.say("stopped" if stopped else f"{error}")  # now, as deleting may fail too
        _end(world, places, request, wish._replace(asks=wish.asks or stopped), sure=False)
        if stopped:
            return STOPPED
        raise


def _end(world: World, places: Sequence[Place], request: Request, wish: Wish, *, sure: bool) -> bool:
    """Whether it deleted the slice."""
    name, price = places[0].name, slices.hourly(request.accelerator, request.slices)
    keep = wish.keep
    if wish.asks and not keep:
        keep = world.ask(f"delete the slice {name} ({price})? [Y/n]") in ("n", "no")
    if keep:
        hours = f"{request.lifetime / 3600:g} h"
        world.say(
            f"the slice {name} is kept, and costs: {price}; it deletes itself {hours} after its start, or "
            f"soon after a command that is left to run; {removal(places)}"
        )
        return False
    world.say(f"deleting the slice {name}")
    lifecycle.delete(world, places, request, sure=sure)
    return True
