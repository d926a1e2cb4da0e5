"""Which plans are tried, and which meshes are refused."""

import pytest

from fdl.parallel.candidates import candidates
from fdl.parallel.plan import check_mesh, parse_mesh


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


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("data", "expected an axis and a number"),
        ("data=x", "'data=x'"),
        ("", "''"),
        ("data=2,data=2", "twice"),
    ],
)
def test_what_is_no_mesh_is_refused(text: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        parse_mesh(text)


@pytest.mark.parametrize(
    ("sizes", "strategy", "problem"),
    [
        ({"rows": 2}, "jit", "no axis 'rows'; expected some of population, data, fsdp, tensor"),
        ({"data": 0}, "jit", "'data' has the size 0"),
        ({"data": 4, "fsdp": 4}, "jit", "data=4,fsdp=4 takes 16 devices, but there are 8"),
        ({"data": 2, "fsdp": 2}, "pmap", "pmap has the axis data alone"),
        ({"data": 2}, "gspmd", "no strategy 'gspmd'; expected jit, shard_map, pmap"),
    ],
)
def test_a_mesh_that_cannot_be_had_is_refused(sizes: dict[str, int], strategy: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        check_mesh(sizes, strategy=strategy, available=8)
