"""Meshes of devices: of one slice, of several, of a part of one."""

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest

from fdl.parallel.arrangement import arranged, slice_of, slice_sizes, spanning
from fdl.parallel.plan import AXES, Plan, mesh_of


@dataclasses.dataclass(frozen=True)
class Node:
    """A GPU of a node, as JAX shows it."""

    id: int
    slice_index: int
    process_index: int = 0
    platform: str = "gpu"
    device_kind: str = "GPU"


@dataclasses.dataclass(frozen=True)
class Bare:
    """A device of which JAX does not say in which slice it is."""

    id: int
    process_index: int
    platform: str


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


def spans_slices(mesh, outer):
    """Whether each block of a mesh that is cut in so many along each axis is of one slice, all of another."""
    inner = [size // times for size, times in zip(mesh.shape, outer, strict=True)]
    blocks = [
        mesh[tuple(slice(b * n, (b + 1) * n) for b, n in zip(block, inner, strict=True))]
        for block in np.ndindex(*outer)
    ]
    found = [{device.slice_index for device in block.ravel()} for block in blocks]
    return all(len(one) == 1 for one in found) and len(set.union(*found)) == len(blocks)


@pytest.mark.parametrize("count, each", [(1, 8), (2, 4), (3, 4), (4, 6)])
def test_every_mesh_of_nodes_has_each_gpu_once_and_spans_the_nodes_as_told(count, each):
    devices = nodes(count, each)
    for shape in factors(count * each, 4):
        told = [
            outer
            for outer in factors(count, 4)
            if all(size % times == 0 for size, times in zip(shape, outer, strict=True))
        ]
        for spans in ((), *told):
            mesh = arranged(devices[::-1], shape, spans)  # in whatever order they come
            assert mesh.shape == shape and {device.id for device in mesh.ravel()} == set(range(count * each))
            outer = spans or spanning(shape, count)
            assert math.prod(outer) == count and spans_slices(mesh, outer)


def test_a_node_is_one_whether_a_process_drives_all_its_gpus_or_each_its_own():
    # As Slurm numbers tasks with `--distribution=cyclic`: process 0 on node 0, 1 on node 1, 2 on node 0.
    devices = [Node(id=place, slice_index=place % 2, process_index=place) for place in range(8)]
    assert slice_sizes(devices) == [4, 4]
    for shape, spans in (((1, 2, 4, 1), ()), ((1, 2, 4, 1), (1, 1, 2, 1)), ((1, 8, 1, 1), (1, 2, 1, 1))):
        assert spans_slices(arranged(devices, shape, spans), spans or (1, 2, 1, 1))


@pytest.mark.parametrize(
    "device, number",
    [(Node(5, 1, 3), 1), (Chip(5, (0, 0, 0), 2), 2), (Bare(5, 3, "gpu"), 3), (Bare(5, 3, "cpu"), 3),
     (Bare(5, 3, "tpu"), 0)],
)  # fmt: skip
def test_a_process_counts_as_a_slice_where_jax_does_not_say(device, number):
    assert slice_of(device) == number


def test_chips_of_two_slices_are_neighbours_within_and_parameters_span_the_slices_where_told():
    devices = [
        *chips(4, 4),
        *(dataclasses.replace(chip, id=chip.id + 16, slice_index=1) for chip in chips(4, 4)),
    ]
    mesh = arranged(devices, (1, 4, 8, 1), (1, 1, 2, 1))
    assert spans_slices(mesh, (1, 1, 2, 1))
    for row in mesh[0, :, :4, 0]:
        for one, other in itertools.pairwise(row):
            assert sum(abs(a - b) for a, b in zip(one.coords, other.coords, strict=True)) == 1


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


@pytest.mark.parametrize(
    "devices, shape, spans, problem",
    [(nodes(2, 4), (2, 2, 1, 1), (), "a mesh of 2x2x1x1 does not fit 8 devices"),
     (nodes(2, 4), (1, 8, 1, 1), (1, 4, 1, 1), "spans 4 slices, but the devices are of 2"),
     (nodes(2, 4)[:6], (1, 6, 1, 1), (1, 2, 1, 1), "must be of one size, but they have 4, 2 devices")],
)  # fmt: skip
def test_a_mesh_that_does_not_fit_is_refused(devices, shape, spans, problem):
    with pytest.raises(ValueError, match=problem):
        arranged(devices, shape, spans)


def test_a_run_lays_its_devices_out_so():
    count = len(jax.devices())
    mesh = mesh_of(Plan(1, "vmap", "scan", 1, data=count))
    assert mesh.axis_names == AXES and mesh.devices.shape == (1, count, 1, 1)
    assert mesh.devices.ravel().tolist() == jax.devices()
