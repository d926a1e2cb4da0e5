"""Devices as an array of a mesh's shape: the one way in which runs and plans lay a mesh out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.experimental import mesh_utils


def arranged(devices: Sequence[Any], shape: Sequence[int], spans: Sequence[int] = ()) -> np.ndarray:
    """The devices as an array of a mesh's shape, neighbours along its last axes near one another.

    Those of several slices are laid out such that some axes span the slices, over the slower network: those
    that `spans` says, else the first ones as far as their sizes allow, rather members or rows than
    parameters, which are sent more often. Within a slice axes take the chips' links as they are, several of
    them or a part of one where the sizes ask for it.

    Args:
      devices: as `jax.devices()`, or of slices that are not there.
      shape: the sizes of the mesh's axes, outermost first.
      spans: over how many slices each axis goes, a divisor of its size; as `spanning` has it if empty.

    Raises:
      ValueError: the sizes do not multiply to the devices, or the spans not to slices of one size.
    """
    if math.prod(shape) != len(devices):
        raise ValueError(
            f"a mesh of {_sizes(shape)} does not fit {len(devices)} devices; its sizes must multiply to that"
        )
    slices = _slices(devices)
    if spans:
        check_spans(spans, slice_sizes(devices), _sizes(shape))
    if len(slices) == 1:
        return _within(devices, shape)
    if len({len(slice) for slice in slices}) > 1:  # a part of the devices: no layout is better than another
        return np.asarray([device for slice in slices for device in slice], dtype=object).reshape(shape)
    outer = tuple(spans) or spanning(shape, len(slices))
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


def check_spans(spans: Sequence[int], slices: Sequence[int], mesh: str) -> None:
    """Whether axes that go over so many slices each fit the slices.

    Args:
      spans: over how many slices each axis goes.
      slices: how many devices each slice has.
      mesh: as the user gave it, for the message.

    Raises:
      ValueError: there are more or fewer slices, or they differ in size.
    """
    if (wanted := math.prod(spans)) != len(slices):
        raise ValueError(
            f"the mesh {mesh} spans {wanted} slice{'s' if wanted > 1 else ''}, but the devices are of "
            f"{len(slices)} (of GPUs, nodes); what stands before each x must multiply to that"
        )
    if len(set(slices)) > 1:
        raise ValueError(
            f"the mesh {mesh} spans slices, which must be of one size, but they have "
            f"{', '.join(map(str, slices))} devices; give each axis one number, as data=8"
        )


def slice_sizes(devices: Sequence[Any]) -> list[int]:
    """How many devices each slice has."""
    return [len(slice) for slice in _slices(devices)]


def slice_of(device: Any) -> int:
    """The number of the slice that a device is in: the devices of one are linked by a faster network.

    JAX says it as `slice_index`. TPUs of one slice share it, and GPUs and CPUs of one machine, whether one
    process drives them all or each has its own: XLA tells machines apart by their kernels' boots. GPUs whose
    links go beyond a machine get it from `JAX_PARTITION_INDEX` in their processes' environments. Where JAX
    says nothing, as of CPUs of a machine that hides its boot, a process's devices count as a slice, but
    all TPUs as one.
    """
    found = getattr(device, "slice_index", None)
    if found is None and device.platform != "tpu":
        return device.process_index
    return found or 0


def _slices(devices: Sequence[Any]) -> list[list[Any]]:
    """The devices of each slice, in the order of the slices' numbers."""
    found: dict[int, list[Any]] = {}
    for device in devices:
        found.setdefault(slice_of(device), []).append(device)
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
