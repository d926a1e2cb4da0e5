"""Devices as an array of a mesh's shape: the one way in which runs and plans lay a mesh out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.experimental import mesh_utils


def arranged(devices: Sequence[Any], shape: Sequence[int]) -> np.ndarray:
    """The devices as an array of a mesh's shape, neighbours along its last axes near one another.

    Those of several slices (TPUs linked to one another, GPUs of a node) are laid out such that the first
    axes span the slices, over the slower network, as far as their sizes allow: rather members or rows than
    parameters, which are sent more often. Within a slice axes take the chips' links as they are, several of
    them or a part of one where the sizes ask for it.

    Args:
      devices: as `jax.devices()`, or of slices that are not there.
      shape: the sizes of the mesh's axes, outermost first.

    Raises:
      ValueError: the sizes do not multiply to the devices.
    """
    if math.prod(shape) != len(devices):
        raise ValueError(
            f"a mesh of {_sizes(shape)} does not fit {len(devices)} devices; its sizes must multiply to that"
        )
    slices = _slices(devices)
    if len(slices) == 1:
        return _within(devices, shape)
    if len({len(slice) for slice in slices}) > 1:  # a part of the devices: no layout is better than another
        return np.asarray([device for slice in slices for device in slice], dtype=object).reshape(shape)
    outer = spanning(shape, len(slices))
    inner = [size // times for size, times in zip(shape, outer, strict=True)]
    parts = np.empty(outer, dtype=object)
    for place, slice in zip(np.ndindex(*outer), slices, strict=True):
        parts[place] = _within(slice, inner)
    return np.block(parts.tolist())


def spanning(shape: Sequence[int], slices: int) -> tuple[int, ...]:
    """Over how many slices each axis of a mesh goes. Their product is `slices`, as the sizes multiply to a
    multiple of it: each axis takes what it can of each prime factor."""
    outer, left = [], slices
    for size in shape:
        outer.append(math.gcd(size, left))
        left //= outer[-1]
    return tuple(outer)


def _slices(devices: Sequence[Any]) -> list[list[Any]]:
    """The devices of each slice, in the order of the slices' numbers."""
    found: dict[int, list[Any]] = {}
    for device in devices:
        found.setdefault(getattr(device, "slice_index", None) or 0, []).append(device)
    return [found[number] for number in sorted(found)]


def _within(devices: Sequence[Any], shape: Sequence[int]) -> np.ndarray:
    """The devices of one slice as an array of a shape."""
    if _is_box(devices):
        # Physical axes may be split: a mesh that shares links is slower, one that is refused is none.
        return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return np.asarray(devices, dtype=object).reshape(shape)


def _is_box(devices: Sequence[Any]) -> bool:
    """Whether TPU chips, by their coordinates, fill a box: only such JAX can arrange."""
    places = {tuple(getattr(device, "coords", ())) for device in devices}
    sides = [max(along) - min(along) + 1 for along in zip(*places, strict=True)]
    return len(places) == math.prod(sides) and not len(devices) % len(places)


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
