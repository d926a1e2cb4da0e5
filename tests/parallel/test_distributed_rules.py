"""What is decided about several processes without any."""

import jax
import pytest

from fdl.cli.flags import seat
from fdl.parallel import distributed
from fdl.parallel.distributed import Seat, seat_of
from fdl.parallel.plan import Overrides, Plan, on_all
from fdl.train import autotune
from fdl.train.autotune import Work, plans_for, unmeasured
from tests.toy import Config, experiment

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[001-002]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}


@pytest.mark.parametrize(
    ("given", "coordinator"),
    [
        ("10.0.0.2:99", "10.0.0.2:99"),
        ("10.0.0.2", "10.0.0.2:8476"),
        ("[::1]", "[::1]:8476"),
        ("[::1]:99", "[::1]:99"),
    ],
)
def test_the_port_is_8476_unless_another_is_given(monkeypatch, given, coordinator):
    monkeypatch.delenv("JAX_COORDINATOR_PORT", raising=False)
    assert seat_of(given, 1, 4) == Seat(coordinator, 1, 4)
    monkeypatch.setenv("JAX_COORDINATOR_PORT", "77")
    assert seat_of(given, 1, 4) == Seat(coordinator.replace("8476", "77"), 1, 4)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--coordinator", "h"], "--process-id and --processes missing"),
        (["--processes", "2", "--process-id", "0"], "--coordinator missing"),
        (
            ["--coordinator", "h", "--process-id", "2", "--processes", "2"],
            "--process-id is 2; expected 0 to 1",
        ),
        (["--coordinator", "h", "--process-id", "-1", "--processes", "2"], "--process-id is -1"),
        (["--coordinator", "h", "--process-id", "0", "--processes", "0"], "--processes is 0"),
        (["--coordinator", "h:x", "--process-id", "0", "--processes", "2"], "'h:x'; expected HOST:PORT"),
        (["--coordinator", ":8476", "--process-id", "0", "--processes", "2"], "expected HOST:PORT"),
        (["--coordinator", "h:70000", "--process-id", "0", "--processes", "2"], "expected HOST:PORT"),
        (["--processes", "two"], "invalid int value: 'two'"),
    ],
)
def test_flags_that_make_no_sense_are_one_line(words, complaint):
    with pytest.raises(ValueError) as error:
        seat(["experiment.py", "--lr", "0.1", *words])
    assert complaint in str(error.value) and "\n" not in str(error.value)


def test_without_flags_a_process_is_alone(monkeypatch):
    assert seat(["experiment.py", "--lr", "-0.1"]) is None
    assert not distributed.join(Seat("nowhere:1", 0, 1)), "one of one needs no others"
    assert not distributed.join(None)
    assert distributed.is_first() and not distributed.several()
    assert distributed.broadcast_from_first(lambda: (1, "a")) == (1, "a")
    assert distributed.heard(True) == [0] and distributed.heard(False) == []


def test_slurm_is_found_where_it_runs_several_processes(monkeypatch):
    assert distributed.surroundings() is None
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert distributed.surroundings() == "slurm"
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert distributed.surroundings() is None


@pytest.mark.parametrize(
    ("count", "devices", "rows", "members", "population", "data"),
    [
        (1, 8, 64, 1, 1, 8),  # one member's rows over all
        (8, 8, 64, 8, 8, 1),  # a device each
        (20, 8, 64, 24, 8, 1),  # several a device
        (2, 8, 64, 2, 2, 4),
        (3, 8, 64, 4, 2, 4),  # no device is left out, so two groups, and one member of padding
        (3, 8, 6, 4, 4, 2),  # six rows do not divide by 4, so four groups
        (3, 8, 7, 8, 8, 1),  # seven by nothing
        (5, 6, 6, 6, 3, 2),
    ],
)
def test_the_plan_of_several_processes_leaves_no_device_out(count, devices, rows, members, population, data):
    plan = unmeasured(count, devices, "tpu", rows=rows)
    assert (plan.members, plan.population, plan.data) == (members, population, data)
    assert plan.devices == devices and plan.members % plan.population == 0 and plan.members >= count


@pytest.mark.parametrize(
    ("mesh", "count", "population"),
    [({"data": 4}, 2, 2), ({"data": 2}, 5, 4), ({"data": 8}, 5, 1), ({"data": (2, 2)}, 2, 2)],
)
def test_a_mesh_that_is_given_goes_over_all_devices_in_groups_as_it_is_planned(
    monkeypatch, mesh, count, population
):
    devices = jax.devices()[:1] * 8
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(autotune, "several", lambda: True)
    keys = jax.random.split(jax.random.key(0), count)
    work = Work(experiment, experiment(Config()), [Config()] * count, keys, (), 10)
    (plan,) = plans_for(work, Overrides(mesh=mesh))
    assert (plan.population, plan.devices) == (population, 8) and bool(plan.spans) == (mesh["data"] == (2, 2))
    with pytest.raises(ValueError, match="takes 3 devices, but the 1 processes have 8"):
        plans_for(work, Overrides(mesh={"data": 3}))


@pytest.mark.parametrize(
    ("plan", "devices", "expected"),
    [
        (Plan(1, "map", "calls"), 8, Plan(1, "map", "calls", data=8)),
        (Plan(1, "map", "calls", data=2, fsdp=4), 8, Plan(1, "map", "calls", data=2, fsdp=4)),
        (Plan(1, "map", "calls", data=2, fsdp=4), 16, Plan(1, "map", "calls", data=4, fsdp=4)),
        (Plan(1, "map", "calls", data=2, fsdp=4), 4, Plan(1, "map", "calls", data=1, fsdp=4)),
        (Plan(6, "vmap", "scan", 3), 8, Plan(6, "vmap", "scan", 2, data=4)),
    ],
)
def test_a_stored_plan_goes_on_on_all_devices(plan, devices, expected):
    assert on_all(plan, devices) == expected
