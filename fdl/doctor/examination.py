"""The examination of all workers, in an order in which none waits for one that cannot come."""

import contextlib
import importlib.util
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax._src import hardware_utils

from fdl.doctor.cache import cache_of, listening
from fdl.doctor.facts import Cache, Device, Facts, Host, Product, Reduction
from fdl.doctor.judge import differing_versions
from fdl.doctor.product import products
from fdl.doctor.reduction import reductions
from fdl.doctor.surroundings import host_here
from fdl.parallel import abort
from fdl.parallel.distributed import from_all, several

DEADLINE = 300.0
"""Seconds after which devices that do not answer never will: a broken link hangs rather than fails. Compiling
and measuring should take less than a minute."""
UNFIT = "fdl doctor: unfit: "
"""Before what another slice would mend; the launcher (`tpu/follow.py`) knows it by this."""


class Measuring(NamedTuple):
    """What is measured of this process, as functions."""

    host: Callable[[str | None], Host] = host_here
    products: Callable[[], list[Product]] = products
    reductions: Callable[[], list[Reduction]] = reductions


def examine(place: str | None, measuring: Measuring | None = None) -> Facts:
    """Measures this worker, and hears what the others found; the same on all workers, which all must ask.

    Where versions differ nothing is run on devices: programs of several versions may wait for each other
    without end. Where devices are missing nothing is sent between them.

    Args:
      place: where results are to go, if that is known.
      measuring: in the place of the usual functions.
    """
    measure = measuring or Measuring()
    hosts = tuple(Host(**one) for one in from_all(measure.host(place)._asdict()))
    facts = Facts(hosts, place or "")
    if list(differing_versions(hosts)):
        return facts
    with listening() as events, answering():
        devices = tuple(Device(one.id, one.device_kind, one.process_index) for one in jax.devices())
        held = Counter(one.process for one in devices)
        multiplied = _gathered(Product, measure.products())
        uneven = len(set(held.values())) > 1 or len(held) < len(hosts)
        reduced = () if uneven else _gathered(Reduction, measure.reductions())
        caches = _gathered(Cache, [cache_of(events)])
    return facts._replace(devices=devices, products=multiplied, reductions=reduced, caches=caches)


def on_slice() -> bool:
    """Whether this process has TPUs, or is one of several that have GPUs: what costs many chips at once.

    JAX is not asked where there are none: on CPUs it must not begin before it is known how many devices a
    program takes (`fdl.train.runtime.make_room`).
    """
    tpus = hardware_utils.num_available_tpu_chips_and_device_id()[0] and importlib.util.find_spec("libtpu")
    gpus = several() and hardware_utils.has_visible_nvidia_gpu()
    platforms = jax.config.values["jax_platforms"] or ""
    if platforms.startswith("cpu") or not (tpus or gpus):
        return False
    return jax.default_backend() != "cpu"


@contextlib.contextmanager
def answering(seconds: float = DEADLINE, end: Callable[[str], None] | None = None) -> Iterator[None]:
    """Ends all processes where the body has not ended in time, as nothing else can.

    Args:
      seconds: how long it may take.
      end: in the place of the usual end.
    """
    reason = f"{UNFIT}a device did not answer within {seconds:g} s; make the slice again"
    timer = threading.Timer(seconds, end or _end, [reason])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(reason: str) -> None:
    abort.leave(reason, 1)
    print(reason, file=sys.stderr, flush=True)  # there are no others
    os._exit(1)


def _gathered(kind: Callable[..., Any], mine: list[Any]) -> tuple[Any, ...]:
    """What all workers found, as tuples of a kind."""
    found = (one for all in from_all([one._asdict() for one in mine]) for one in all)
    return tuple(kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in one.items()}) for one in found)
