"""An all-reduce along every axis of the devices: how fast, and whether the sums are right.

The axes are those of the machine, not of a mesh: along one of a slice every chip sums with those in its row
alone, so that only the links in between are used, and each worker sees those of its own rows.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, PartitionSpec

from fdl.doctor.facts import Reduction
from fdl.parallel.distributed import process_id

LARGE, SMALL = 2**25, 2**10
"""Float32 numbers of each device, elsewhere than on CPUs and there: 128 MiB, 5 ms of a link of 50 GB/s."""
REPEATS = 5
"""Of which the fastest counts."""
RAMP = 251
"""Summed are whole numbers below this and a device's place: exact, as sums stay below 2 ** 24."""


def reductions() -> list[Reduction]:
    """What this process sees of the all-reduce along each axis; all processes must ask."""
    devices, axes = laid_out(jax.devices())
    if devices.size == 1:
        return []
    mesh = Mesh(devices, axes, axis_types=(AxisType.Auto,) * len(axes))
    return [_along(mesh, axis) for axis in axes]


def laid_out(devices: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The devices as an array along the axes of the machine that have more than one, and their names.

    TPU chips that fill a box: slices, then z, y and x of the chips' coordinates, then the cores of a chip.
    Others, and parts of a slice: workers, then the devices of each; or all in a row.
    """
    names, places = _boxes(devices)
    if not places:
        names, places = ("worker", "device"), {}
        seen: dict[int, int] = {}
        for device in devices:
            places[device.process_index, seen.setdefault(device.process_index, 0)] = device
            seen[device.process_index] += 1
    sides = [sorted(set(along)) for along in zip(*places, strict=True)]
    shape = tuple(len(side) for side in sides)
    if len(devices) != np.prod(shape):
        return np.asarray(devices, dtype=object), ("device",)
    found = np.empty(shape, dtype=object)
    for place, device in places.items():
        found[tuple(side.index(at) for side, at in zip(sides, place, strict=True))] = device
    wide = [axis for axis, size in enumerate(shape) if size > 1] or [len(shape) - 1]
    return found.reshape([shape[axis] for axis in wide]), tuple(names[axis] for axis in wide)


def _boxes(devices: Sequence[Any]) -> tuple[tuple[str, ...], dict[tuple[int, ...], Any]]:
    """The devices by slice, z, y, x and core, if they are TPUs that fill boxes; else nothing."""
    names = ("slice", "z", "y", "x", "core")
    if any(getattr(device, "platform", "") != "tpu" for device in devices):
        return names, {}
    places = {
        (getattr(one, "slice_index", None) or 0, *reversed(one.coords), getattr(one, "core_on_chip", 0)): one
        for one in devices
    }
    sides = [set(along) for along in zip(*places, strict=True)]
    whole = len(places) == len(devices) == np.prod([len(side) for side in sides])
    together = all(max(side) - min(side) + 1 == len(side) for side in sides[1:])
    return names, places if whole and together else {}


def _along(mesh: Mesh, axis: str) -> Reduction:
    on_cpu, size = mesh.devices.flat[0].platform == "cpu", mesh.shape[axis]
    run, sent = all_reduce(mesh, axis, SMALL if on_cpu else LARGE)
    best, wrong = float("inf"), jax.block_until_ready(run())
    for _ in range(REPEATS):
        began = time.perf_counter()
        wrong = jax.block_until_ready(run())
        best = min(best, time.perf_counter() - began)
    counts = {shard.device.id: int(np.asarray(shard.data).sum()) for shard in wrong.addressable_shards}
    return Reduction(
        process_id(),
        axis,
        size,
        {"slice": "network", "x": "links", "y": "links", "z": "links"}.get(axis, ""),
        tuple(sorted(number for number, count in counts.items() if count)),
        None if on_cpu else sent / best,
    )


def all_reduce(mesh: Mesh, axis: str, numbers: int) -> tuple[Any, float]:
    """The all-reduce as a function of nothing, which gives for each device how many of its sums are wrong,
    `[*mesh]`; and how many bytes a device sends, were it along a ring."""
    size, axes = mesh.shape[axis], mesh.axis_names
    step = int(np.prod([mesh.shape[name] for name in axes[axes.index(axis) + 1 :]], dtype=int))

    def count() -> jax.Array:
        ramp = jnp.arange(numbers) % RAMP
        place = lax.axis_index(axes)
        first = place - step * lax.axis_index(axis)
        found = lax.psum((ramp + place).astype(jnp.float32), axis)
        expected = size * (ramp + first) + step * (size * (size - 1) // 2)
        return jnp.sum(found != expected).reshape((1,) * len(axes))

    run = jax.jit(
        jax.shard_map(count, mesh=mesh, in_specs=(), out_specs=PartitionSpec(*axes), check_vma=False)
    )
    return run.lower().compile(), 2 * (size - 1) / size * 4 * numbers
