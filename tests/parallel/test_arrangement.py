"""Meshes of devices: of one slice, of several, of a part of one."""

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest

from fdl.parallel.arrangement import arranged, spanning
from fdl.parallel.plan import AXES, Plan, mesh_of


@dataclasses.dataclass(frozen=True)
class Node:
    """A GPU of a node, as JAX shows it."""

    id: int
    slice_index: int
    platform: str = "gpu"
    device_kind: str = "GPU"


@dataclasses.dataclass(frozen=True)
class Chip:
    """A TPU chip of a slice, as JAX shows it."""

    id: int
    coords: tuple[int, int, int]
    slice_index: int = 0
    core_on_chip: int = 0
    platform: str = "tpu"
    device_kind: str = "TPU v6 lite"


def nodes(count, each):
    return [Node(node * each + place, node) for node in range(count) for place in range(each)]


def chips(width, height):
    return [Chip(y * width + x, (x, y, 0)) for y in range(height) for x in range(width)]


def factors(number, parts):
    divisors = [size for size in range(1, number + 1) if number % size == 0]
    return [sizes for sizes in itertools.product(divisors, repeat=parts) if math.prod(sizes) == number]


@pytest.mark.parametrize("count, each", [(1, 8), (2, 4), (3, 4), (4, 6)])
def test_every_mesh_of_nodes_has_each_gpu_once_and_spans_the_nodes_by_its_first_axes(count, each):
    devices = nodes(count, each)
    for shape in factors(count * each, 4):
        mesh = arranged(devices[::-1], shape)  # in whatever order they come
        assert mesh.shape == shape and {device.id for device in mesh.ravel()} == set(range(count * each))
        outer = spanning(shape, count)
        assert math.prod(outer) == count
        inner = [size // times for size, times in zip(shape, outer, strict=True)]
        for block in np.ndindex(*outer):
            part = mesh[tuple(slice(b * n, (b + 1) * n) for b, n in zip(block, inner, strict=True))]
            assert len({device.slice_index for device in part.ravel()}) == 1


@pytest.mark.parametrize(
    "shape, slices, outer",
    [((4, 8, 1, 1), 2, (2, 1, 1, 1)), ((3, 8, 4, 1), 4, (1, 4, 1, 1)), ((2, 6, 1, 1), 4, (2, 2, 1, 1)),
     ((1, 1, 32, 1), 2, (1, 1, 2, 1)), ((6, 1, 1, 2), 12, (6, 1, 1, 2))],
)  # fmt: skip
def test_members_and_rows_span_slices_rather_than_parameters(shape, slices, outer):
    assert spanning(shape, slices) == outer


def test_every_mesh_of_a_slice_is_built_and_neighbours_along_the_last_axis_are_linked():
    devices = chips(4, 4)
    for shape in factors(16, 4):
        mesh = arranged(devices, shape)
        assert mesh.shape == shape and len(set(mesh.ravel().tolist())) == 16
    for row in arranged(devices, (1, 4, 1, 4))[0, :, 0, :]:
        for one, other in itertools.pairwise(row):
            assert sum(abs(a - b) for a, b in zip(one.coords, other.coords, strict=True)) == 1


@pytest.mark.parametrize("count", [1, 3, 5, 6, 7, 13])
def test_a_part_of_a_slice_makes_a_mesh_also_where_it_is_no_box(count):
    for shape in ((count, 1, 1, 1), (1, count, 1, 1)):
        mesh = arranged(chips(4, 4)[:count], shape)
        assert mesh.shape == shape and len(set(mesh.ravel().tolist())) == count


def test_a_part_of_several_nodes_makes_a_mesh():
    mesh = arranged(nodes(2, 4)[:6], (2, 3, 1, 1))
    assert [device.id for device in mesh.ravel()] == list(range(6))


def test_a_mesh_of_other_sizes_is_refused():
    with pytest.raises(ValueError, match="a mesh of 2x2x1x1 does not fit 8 devices"):
        arranged(nodes(2, 4), (2, 2, 1, 1))


def test_a_run_lays_its_devices_out_so():
    count = len(jax.devices())
    mesh = mesh_of(Plan(1, "vmap", "scan", 1, data=count))
    assert mesh.axis_names == AXES and mesh.devices.shape == (1, count, 1, 1)
    assert mesh.devices.ravel().tolist() == jax.devices()
