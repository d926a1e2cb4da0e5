"""The all-reduce: the machine's axes, right sums, and a wrong one of a single device."""

import itertools
from types import SimpleNamespace

import jax
import pytest
from jax import lax

from fdl.doctor import reduction
from fdl.doctor.reduction import laid_out, reductions


def tpus(*shape: int, cores: int = 1, slices: int = 1) -> list[SimpleNamespace]:
    """Chips that fill boxes, in an order that is none."""
    found = [
        SimpleNamespace(platform="tpu", coords=at, core_on_chip=core, slice_index=slice, process_index=0)
        for slice, core, at in itertools.product(
            range(slices), range(cores), itertools.product(*map(range, shape))
        )
    ]
    return found[::-1]


def gpus(*held: int) -> list[SimpleNamespace]:
    return [
        SimpleNamespace(platform="gpu", process_index=n) for n, count in enumerate(held) for _ in range(count)
    ]


@pytest.mark.parametrize(("devices", "shape", "axes"), [
    (tpus(4, 2, 1), (2, 4), ("y", "x")),
    (tpus(2, 2, 4), (4, 2, 2), ("z", "y", "x")),
    (tpus(2, 1, 1, cores=2, slices=3), (3, 2, 2), ("slice", "x", "core")),
    (tpus(4, 2, 1)[:7], (7,), ("device",)),
    (gpus(8, 8), (2, 8), ("worker", "device")),
    (gpus(1, 1, 1), (3,), ("worker",)),
    (gpus(4), (4,), ("device",)),
    (gpus(1), (1,), ("device",)),
    (gpus(2, 1), (3,), ("device",)),
])  # fmt: skip
def test_the_axes_are_those_of_the_machine(devices, shape, axes):
    found, names = laid_out(devices)
    assert (found.shape, names) == (shape, axes)
    assert len({id(device) for device in found.flat}) == len(devices)


def test_neighbours_in_the_array_are_neighbours_in_the_slice():
    found, _ = laid_out(tpus(4, 2, 1))
    assert [device.coords for device in found[1]] == [(x, 1, 0) for x in range(4)]


def test_sums_are_right_and_a_wrong_one_is_told(monkeypatch):
    (found,) = reductions()
    numbers = [device.id for device in jax.devices()]
    assert found == (0, "device", len(numbers), "", (), None)
    right = lax.psum

    def wrong(x, axis):
        here = lax.axis_index(axis) == len(numbers) - 1
        return right(x, axis).at[7].add(here.astype(x.dtype))

    monkeypatch.setattr(reduction.lax, "psum", wrong)
    assert reductions()[0].wrong == (numbers[-1],)


def test_one_device_has_nobody_to_sum_with(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: gpus(1))
    assert reductions() == []
