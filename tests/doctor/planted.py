"""Faults of a machine, planted in the process that has it; the others, and all around the fault, are real."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fdl.cli import beginning
from fdl.doctor import examination
from fdl.doctor.examination import Measuring
from fdl.doctor.facts import Host, Product
from fdl.doctor.judge import NEIGHBOURS_SHARE
from fdl.doctor.product import Load, multiplied, products
from fdl.doctor.surroundings import host_here


def plant(fault: str, *, mine: bool) -> None:
    """Plants a fault: "wrong" (one bit of the last device's result), "slow" (the last device computes 1 %
    slower than the threshold), "version", "bucket", "port". A command that trains takes this for a slice.
    """
    beginning.on_slice = lambda: True
    measure: dict[str, Callable] = {"products": rated} if fault == "slow" else {}
    if mine:
        measure |= {
            "wrong": {"products": functools.partial(products, one_bit_off)},
            "slow": {"products": functools.partial(rated, NEIGHBOURS_SHARE * 0.99)},
            "version": {"host": lambda place: changed(place, versions={"jax": "0.0.1"})},
            "bucket": {"host": lambda place: changed(place, bucket="Forbidden")},
            "port": {"host": lambda place: changed(place, port="10.0.0.2:8476 (timed out)")},
        }[fault]
    examination.Measuring = functools.partial(Measuring, **measure)  # pyright: ignore[reportAttributeAccessIssue]


def is_last(device: Any) -> bool:
    return device == jax.local_devices()[-1]


def one_bit_off(device: Any, first: np.ndarray, by: np.ndarray, load: Load) -> tuple[np.ndarray, float]:
    found, seconds = multiplied(device, first, by, load)
    found = np.array(found)
    found.view(np.uint8)[11, 7] ^= is_last(device)
    return found, seconds


def rated(last: float = 1.0) -> list[Product]:
    """Products at one speed, but for the last device's: CPUs have none that can be judged."""
    rates = {device.id: 1e12 * (last if is_last(device) else 1.0) for device in jax.local_devices()}
    return [one._replace(rate=rates[one.number]) for one in products()]


def changed(place: str | None, **fields) -> Host:
    host = host_here(place)
    versions = host.versions | fields.pop("versions", {})
    return host._replace(versions=versions, **fields)
