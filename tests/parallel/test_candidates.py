"""Which plans are tried, and which meshes are refused."""

import json
from typing import Any

import pytest

from fdl.parallel.candidates import candidates
from fdl.parallel.plan import (
    Overrides,
    Plan,
    check_mesh,
    is_other,
    on_slices,
    parse_mesh,
    plan_from,
    sizes_of,
    spans_of,
)


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize(
    ("count", "devices", "rows"),
    [(1, 1, 64), (1, 2, 64), (1, 8, 20), (1, 8, 7), (3, 8, 64), (5, 2, 64), (64, 8, 1)],
)
def test_no_candidate_takes_more_than_there_is(platform: str, count: int, devices: int, rows: int):
    plans = candidates(count, devices, platform, rows=rows)
    assert len(set(plans)) == len(plans)
    for plan in plans:
        assert plan.devices <= devices
        assert plan.members % plan.population == 0
        assert rows % (plan.data * plan.fsdp) == 0
        assert count <= plan.members < count + plan.population or plan.members == plan.population


@pytest.mark.parametrize(("rows", "data"), [(64, 8), (20, 5), (12, 6), (7, 7), (11, 1)])
def test_rows_are_split_over_as_many_devices_as_divide_them(rows: int, data: int):
    assert max(plan.data for plan in candidates(1, 8, "gpu", rows=rows)) == data
    assert candidates(1, 8, "gpu", rows=rows)[0].data == data, "a GPU's likeliest plan is the widest"
    assert all(plan.data == 1 for plan in candidates(1, 8, "cpu", rows=rows)), (
        "cores only where it is asked for"
    )


def test_parameters_are_split_only_as_a_last_resort():
    plans = candidates(1, 4, "gpu", rows=8)
    assert [plan.fsdp for plan in plans] == [1] * (len(plans) - 1) + [4]


def test_a_given_mesh_is_taken():
    mesh = {"population": 2, "data": 2, "tensor": 2}
    plans = candidates(6, 8, "gpu", rows=8, mesh=mesh, strategy="shard_map")
    assert {(p.population, p.data, p.fsdp, p.tensor, p.strategy) for p in plans} == {
        (2, 2, 1, 2, "shard_map")
    }
    assert {plan.across for plan in plans} == {"vmap", "map"}


def test_more_groups_than_members_are_refused():
    with pytest.raises(ValueError, match="population=4, but a program has 2"):
        candidates(2, 8, "cpu", mesh={"population": 4})


def test_a_mesh_is_read():
    assert parse_mesh("data=4,fsdp=2") == {"data": 4, "fsdp": 2}
    assert parse_mesh("data=4, tensor=2") == {"data": 4, "tensor": 2}
    mesh = parse_mesh("data=4,fsdp=2x4,tensor=1x2")
    assert mesh == {"data": 4, "fsdp": (2, 4), "tensor": (1, 2)}
    assert sizes_of(mesh) == {"data": 4, "fsdp": 8, "tensor": 2} and spans_of(mesh) == (1, 1, 2, 1)
    assert spans_of({"data": 4}) == spans_of({"data": (1, 4)}) == ()


OVER_SLICES = Plan(1, "map", "calls", data=4, fsdp=8, spans=(1, 1, 2, 1))


def test_what_spans_slices_is_in_the_plan_and_comes_back_from_a_file():
    mesh = {"data": 4, "fsdp": (2, 4)}
    assert {plan.spans for plan in candidates(1, 32, "gpu", mesh=mesh)} == {(1, 1, 2, 1)}
    assert parse_mesh(OVER_SLICES.mesh) == mesh and "(data=4, fsdp=2x4, jit)" in str(OVER_SLICES)
    stored = json.loads(json.dumps(OVER_SLICES._asdict()))
    assert plan_from(stored) == OVER_SLICES and hash(plan_from(stored)) == hash(OVER_SLICES)
    del stored["spans"]  # as earlier versions wrote it
    assert plan_from(stored) == OVER_SLICES._replace(spans=())


@pytest.mark.parametrize(
    ("mesh", "other"),
    [({"fsdp": (2, 4)}, False), ({"fsdp": 8}, True), ({"data": (2, 2)}, True), (None, False)],
)
def test_another_layout_over_slices_is_another_mesh(mesh, other):
    assert is_other(OVER_SLICES, Overrides(mesh=mesh)) is other


@pytest.mark.parametrize(
    ("plan", "slices", "spans"),
    [
        (OVER_SLICES, [16, 16], (1, 1, 2, 1)),
        (OVER_SLICES, [32], ()),  # on one slice
        (OVER_SLICES, [8, 8, 8, 8], ()),
        (OVER_SLICES, [20, 12], ()),
        (OVER_SLICES._replace(data=32, fsdp=1), [16, 16], ()),  # split otherwise, on other devices
        (OVER_SLICES._replace(spans=()), [16, 16], ()),
    ],
)
def test_a_stored_plan_spans_slices_only_where_they_are_as_many(plan, slices, spans):
    assert on_slices(plan, slices) == plan._replace(spans=spans)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("data", "expected an axis and a number"),
        ("data=x", "'data=x'"),
        ("", "''"),
        ("data=2,data=2", "twice"),
        ("data=2x", "as data=2x4: over 2 slices, and 4 devices within each"),
        ("data=2x2x2", "'data=2x2x2'"),
        ("data=2*4", r"'data=2\*4'"),
    ],
)
def test_what_is_no_mesh_is_refused(text: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        parse_mesh(text)


@pytest.mark.parametrize(
    ("mesh", "strategy", "problem"),
    [
        ({"rows": 2}, "jit", "no axis 'rows'; expected some of population, data, fsdp, tensor"),
        ({"data": 0}, "jit", "'data' has the size 0"),
        ({"data": 4, "fsdp": 4}, "jit", "data=4,fsdp=4 takes 16 devices, but there are 8"),
        ({"data": 2, "fsdp": 2}, "pmap", "pmap has the axis data alone"),
        ({"data": 2}, "gspmd", "no strategy 'gspmd'; expected jit, shard_map, pmap"),
        ({"data": (2, 0)}, "jit", "'data' has the size 2x0"),
        ({"data": (-2, -4)}, "jit", "'data' has the size -2x-4"),
        ({"data": (2, 2, 2)}, "jit", r"size \(2, 2, 2\); expected a whole number, as 8, or two, as \(2, 4\)"),
        ({"data": "8"}, "jit", "size '8'; expected a whole number"),
        ({"data": (4, 2)}, "jit", r"data=4x2 spans 4 slices, but the devices are of 2 \(of GPUs, nodes\)"),
        (
            {"data": (2, 2), "fsdp": (2, 1)},
            "jit",
            "data=2x2,fsdp=2x1 spans 4 slices, but the devices are of 2",
        ),
        ({"data": (1, 8)}, "jit", "data=1x8 spans 1 slice, but the devices are of 2"),
        ({"data": (2, 8)}, "jit", "data=2x8 takes 16 devices, but there are 8"),
    ],
)
def test_a_mesh_that_cannot_be_had_is_refused(mesh: Any, strategy: Any, problem: str):
    with pytest.raises(ValueError, match=problem):
        check_mesh(mesh, strategy=strategy, slices=[4, 4])


def test_a_mesh_over_slices_of_several_sizes_is_refused_where_it_says_which_axes_span_them():
    check_mesh({"data": 8}, strategy="jit", slices=[6, 2])
    with pytest.raises(
        ValueError, match="must be of one size, but they have 6, 2 devices; give each axis one"
    ):
        check_mesh({"data": (2, 4)}, strategy="jit", slices=[6, 2])
