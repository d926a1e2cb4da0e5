"""`run.sh` for real, in a home directory of its own, with a stub `uv`."""

import hashlib
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tpu import fake_cloud, stubs
from tpu.worker import Poll, understood

SCRIPT = Path(__file__).parents[2] / "tpu/run.sh"


class Vm:
    """A home directory on this machine."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "bin").parent.mkdir()
        stubs.write(home, real_gcloud=False)
        shutil.copy(SCRIPT, home / "fdl-run.sh")
        self.environment = {
            "HOME": str(home),
            "PATH": f"{home}/bin:/usr/bin:/bin",
            "FAKE_CLOUD": str(home),
            "FDL_LIBTPU_LOCKFILE": str(home / "libtpu_lockfile"),
        }

    def command(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", "fdl-run.sh", *words],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            timeout=30,
            check=False,
        )

    def poll(self, offset: int = 0) -> Poll:
        seen = understood(self.command("poll", str(offset)).stdout)
        assert seen
        return seen

    def wait(self, *states: str) -> Poll:
        until = time.monotonic() + 10
        while (seen := self.poll()).state not in states:
            assert time.monotonic() < until, f"the job is still {seen.state}"
            time.sleep(0.02)
        return seen

    def processes(self) -> list[int]:
        return fake_cloud.processes(self.home)


def packed(home: Path, text: str) -> str:
    """Puts a packed `code.txt` where the launcher copies it; returns its digest."""
    (home.parent / "code.txt").write_text(text)
    with tarfile.open(home / "fdl-code.tar.gz", "w:gz") as tar:
        tar.add(home.parent / "code.txt", "code.txt")
    return hashlib.sha256((home / "fdl-code.tar.gz").read_bytes()).hexdigest()


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Vm]:
    """A worker that is not set up."""
    machine = Vm(tmp_path / "home")
    yield machine
    for process in machine.processes():
        os.kill(process, signal.SIGKILL)


@pytest.fixture
def ready(vm: Vm) -> Vm:
    """A worker that is set up."""
    assert vm.command("setup", packed(vm.home, "one"), "tpu").returncode == 0
    return vm


def test_shellcheck():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_setup_is_done_once(vm):
    digest = packed(vm.home, "one")
    for _ in range(2):
        assert vm.command("setup", digest, "tpu", "text").stdout == b"fdl-tpu exit 0\n"
    synced = "sync --quiet --no-dev --python 3.12 --extra tpu --extra text\n"
    assert (vm.home / "synced").read_text() == synced
    assert (vm.home / "fdl-tpu/code/code.txt").read_text() == "one"
    vm.command("setup", packed(vm.home, "two"), "tpu", "text")
    assert (vm.home / "fdl-tpu/code/code.txt").read_text() == "two"
    assert (vm.home / "synced").read_text() == synced * 2


def test_setup_that_was_broken_off_is_done_again(vm):
    digest = packed(vm.home, "one")
    (vm.home / "uv-fails").touch()
    failed = vm.command("setup", digest, "tpu")
    assert failed.stdout == b"fdl-tpu exit 1\n" and b"no network" in failed.stderr
    assert vm.command("start", "j-1", "true").stdout.startswith(b"error: this worker is not set up")
    (vm.home / "uv-fails").unlink()
    assert vm.command("setup", digest, "tpu").returncode == 0
    assert len((vm.home / "synced").read_text().splitlines()) == 2


def test_code_that_did_not_arrive_whole(vm):
    digest = packed(vm.home, "one")
    with (vm.home / "fdl-code.tar.gz").open("ab") as file:
        file.truncate(50)
    failed = vm.command("setup", digest, "tpu")
    assert failed.stdout == b"error: the code did not arrive whole\nfdl-tpu exit 1\n"
    assert not (vm.home / "fdl-tpu/code").exists()


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 75", 75), ("kill -KILL $$", 137)])
def test_exit_code(ready, script, code):
    assert ready.poll() == Poll("-", "absent", None, 0, b"")
    assert ready.command("start", "j-1", "bash", "-c", f"echo out; echo err >&2; {script}").returncode == 0
    seen = ready.wait("ended")
    assert (seen.job, seen.code) == ("j-1", code)
    assert seen.log.splitlines()[:2] == [b"out", b"err"]
    assert ready.poll(4).log.splitlines()[0] == b"err"
    assert ready.poll(1000).log == b""


def test_words_arrive_as_they_are(ready):
    nasty = ["a b", "it's", '"', "; touch x", "$HOME", "*", ""]
    ready.command("start", "j-1", "python3", "-c", "import sys; print(sys.argv[1:])", *nasty)
    assert ready.wait("ended").log == f"{nasty}\n".encode()


def test_what_a_job_finds(ready):
    ready.command("start", "j-1", "bash", "-c", "pwd; echo $JAX_COORDINATOR_PORT $UV_PROJECT_ENVIRONMENT")
    home = ready.home
    assert ready.wait("ended").log.decode() == f"{home}/fdl-tpu/code\n8476 {home}/fdl-tpu/venv\n"


@pytest.mark.medium
def test_a_second_start_does_nothing(ready):
    count = f"echo once >>{ready.home}/count; sleep 100"
    for _ in range(2):
        assert ready.command("start", "j-1", "bash", "-c", count).stdout == b"fdl-tpu exit 0\n"
    ready.wait("running")
    other = ready.command("start", "k-1", "true")
    assert other.returncode == 3 and other.stdout.startswith(b"error: another command runs here")
    other = ready.command("setup", packed(ready.home, "two"), "tpu")
    assert other.returncode == 3 and other.stdout.startswith(b"error: a job with other code runs here")
    assert ready.poll().job == "j-1"
    assert ready.command("stop").returncode == 0
    assert ready.wait("ended").code == 143 and not ready.processes()
    # A repeated start of what has ended is a repetition; another name is another attempt.
    ready.command("start", "j-1", "bash", "-c", count)
    assert (ready.home / "count").read_text() == "once\n"
    ready.command("start", "j-2", "bash", "-c", f"echo once >>{ready.home}/count")
    ready.wait("ended")
    assert (ready.home / "count").read_text() == "once\nonce\n"


def test_stop_lets_the_command_save(ready):
    ready.command("start", "j-1", "bash", "-c", "trap 'echo saved; exit 75' TERM; echo up; sleep 100 & wait")
    while b"up" not in ready.poll().log:
        time.sleep(0.02)
    assert ready.command("stop").returncode == 0
    seen = ready.wait("ended")
    assert (seen.code, seen.log) == (75, b"up\nsaved\n")
    assert not ready.processes()


def test_left_overs_are_ended(ready):
    """Children that moved to another session, of a wrapper that was killed."""
    (ready.home / "libtpu_lockfile").touch()
    ready.command("start", "j-1", "bash", "-c", "setsid sleep 100 & sleep 100")
    assert not (ready.home / "libtpu_lockfile").exists()
    while len(ready.processes()) < 4:
        time.sleep(0.02)
    before = ready.processes()
    (wrapper,) = [p for p in before if b"fdl-run.sh\0work" in Path(f"/proc/{p}/cmdline").read_bytes()]
    os.kill(wrapper, signal.SIGKILL)
    assert ready.wait("lost").code is None
    ready.command("start", "j-2", "sleep", "100")
    ready.wait("running")
    assert not set(before) & set(ready.processes())
    assert ready.poll().job == "j-2"


def test_a_new_copy_of_the_script_disturbs_nothing(ready):
    ready.command("start", "j-1", "bash", "-c", "echo up; sleep 0.5; exit 5")
    (ready.home / "fdl-run.sh").write_text("exit 9\n" * 1000)
    time.sleep(0.7)
    shutil.copy(SCRIPT, ready.home / "fdl-run.sh")
    assert ready.wait("ended").code == 5


def test_an_unknown_command(vm):
    assert vm.command("fly").returncode == 2
