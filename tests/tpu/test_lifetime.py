"""A slice ends by itself: after its command, after its lifetime; also when no launcher is there any more."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tpu import fake_cloud, fake_rest
from tests.tpu.test_run_sh import Vm, packed

CURL = """#!/bin/sh
echo "$@" >>"$HOME/curls"
exec {curl} "$@"
"""


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Vm]:
    """A worker of a slice that is there, set up, with a metadata server and an API."""
    machine = Vm(tmp_path / "home")
    fake_cloud.make(machine.home, queued="ACTIVE", generation=1)
    (machine.home / "bin/curl").write_text(CURL.format(curl=shutil.which("curl")))
    (machine.home / "bin/curl").chmod(0o755)
    server, _ = fake_rest.serve(machine.home)
    here = f"http://127.0.0.1:{server.server_port}"
    machine.environment |= {
        "FDL_METADATA": f"{here}/metadata", "FDL_TPU_API": f"{here}/v2", "FDL_GRACE": "1", "FDL_PAUSE": "1"
    }  # fmt: skip
    assert machine.command("setup", packed(machine.home, "one"), "tpu").returncode == 0
    yield machine
    server.shutdown()
    for process in machine.processes():
        os.kill(process, signal.SIGKILL)


def history(vm: Vm, *, seconds: float = 10.0) -> list[str]:
    """What has been done to the slice, once it is deleted or so much time is over."""
    until = time.monotonic() + seconds
    while not (done := fake_cloud.history(vm.home)) and time.monotonic() < until:
        time.sleep(0.05)
    return done


@pytest.mark.medium
@pytest.mark.parametrize("code", [0, 2, 3])
def test_a_command_that_is_over_for_good_takes_its_slice_along(vm, code):
    assert vm.command("start", "--delete", "j-1", "bash", "-c", f"exit {code}").returncode == 0
    assert history(vm) == ["deleted"]
    assert not vm.processes()
    curls = (vm.home / "curls").read_text()
    assert "queuedResources/sweep-1?force=true" in curls and fake_rest.TOKEN not in curls


@pytest.mark.medium
def test_a_group_of_compute_engine_is_deleted_there(vm, monkeypatch):
    monkeypatch.setitem(fake_rest.METADATA, "instance/attributes/fdl-api", "compute")
    vm.environment["FDL_COMPUTE_API"] = vm.environment["FDL_TPU_API"].replace("/v2", "/compute/v1")
    assert vm.command("start", "--delete", "j-1", "true").returncode == 0
    assert history(vm) == ["deleted"]
    curls = (vm.home / "curls").read_text()
    assert "compute/v1/projects/fake/zones/us-east5-b/instanceGroupManagers/sweep-1" in curls
    assert "queuedResources" not in curls and fake_rest.TOKEN not in curls


@pytest.mark.slow
def test_what_may_go_on_keeps_its_slice(vm):
    for job, flags, script in (
        ("j-1", ["--delete"], "exit 1"),
        ("j-2", ["--delete"], "exit 75"),
        ("j-3", [], "exit 0"),
        ("j-4", ["--delete"], "sleep 0.5"),  # is followed by another
    ):
        vm.command("start", *flags, job, "bash", "-c", script)
        vm.wait("ended")
    vm.command("start", "--delete", "j-5", "true")
    assert vm.command("keep").returncode == 0  # somebody says so after it has ended
    time.sleep(1.5)
    vm.command("start", "--delete", "k-1", "sleep", "2")
    assert vm.command("start", "k-1", "sleep", "2").returncode == 0  # who joins it says anew: keep
    vm.wait("ended")
    assert history(vm, seconds=2.5) == []


@pytest.mark.slow
def test_a_worker_that_may_not_delete_says_so_before_the_command_and_goes_on_trying(vm):
    with fake_cloud.opened(vm.home) as state:
        state["deny"] = True
    vm.command("start", "--delete", "j-1", "true")
    assert b"warning: this worker cannot delete its slice (HTTP 403)" in vm.wait("ended").log
    until = time.monotonic() + 10
    while b"cannot be deleted from here (HTTP 403)" not in vm.poll().log and time.monotonic() < until:
        time.sleep(0.05)
    with fake_cloud.opened(vm.home) as state:
        state["deny"] = False
    assert history(vm) == ["deleted"]


@pytest.mark.medium
def test_a_lifetime_ends_with_the_command_saved_and_the_slice_deleted(vm):
    saves = f"trap 'echo saved >{vm.home}/saved; exit 75' TERM; sleep 100 & wait"
    vm.command("start", "j-1", "bash", "-c", saves)
    assert vm.command().returncode == 0  # as the VM's startup script
    assert history(vm) == ["deleted"]
    assert (vm.home / "saved").read_text() == "saved\n"
    deadline = (vm.home / "fdl-tpu/deadline").read_text()
    vm.command()  # the VM starts again
    time.sleep(0.5)
    assert (vm.home / "fdl-tpu/deadline").read_text() == deadline
