"""Variables of the workers' command arrive as they are, and are shown to nobody."""

import subprocess
from pathlib import Path

import pytest

from tests.tpu.test_launch import SWEEP
from tests.tpu.test_run_sh import ready, vm
from tests.tpu.test_zones import Cloud, root
from tpu import launch, worker
from tpu.environment import carried, checked_environment
from tpu.world import real

__all__ = ["ready", "root", "vm"]

SECRET = "hf_s3cret"
NASTY = {
    "LINES": "a\nb\n\n",
    "SHELL_CODE": "$(touch INJECTED) `touch INJECTED`; touch INJECTED; 'a' \"b\" \\",
    "LIBTPU_INIT_ARGS": "--xla_a=1 --xla_b=2",
    "EMPTY": "",
    "SPACES": "  a  ",
    "BYTES": "\udcff\u00e9",
    "EQUALS": "a=b=c",
    "lower": "x",
}


def test_values_come_from_the_word_or_from_here():
    here = {"FDL_DATA": "gs://data", "HF_TOKEN": SECRET}
    given = ["A=1", "HF_TOKEN", "FDL_DATA=gs://mine", "A=2=3", "EMPTY="]
    assert checked_environment(given, here) == {
        "A": "2=3", "HF_TOKEN": SECRET, "FDL_DATA": "gs://mine", "EMPTY": ""
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        (f"={SECRET}", "--env number 2 has no name"),
        (f"1A={SECRET}", "--env number 2 has no name"),
        (f"A B={SECRET}", "--env number 2 has no name"),
        (SECRET, "--env number 2 is not set here"),  # a value by mistake
        ("HF_TOKEN", "--env HF_TOKEN is not set here; export it"),
        (f"FDL_TPU_ROOT={SECRET}", "--env FDL_TPU_ROOT is set by the launcher itself"),
        (f"A={SECRET * 20000}", "--env A is longer than 131071 bytes"),
    ],
)
def test_what_is_wrong_is_said_without_the_value(word, complaint, root, capsys):
    words = ["up", "sweep-1", "--zone", "us-east5-b", "--accelerator", "v6e-1", "--env", "B=1", "--env", word]
    assert launch.main([*words, *SWEEP], world=Cloud().world(), root=root) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err and SECRET not in shown.err + shown.out and shown.err.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "watch", "run"])
@pytest.mark.parametrize("dry", [False, True])
def test_values_are_in_no_command_and_in_nothing_that_is_said(command, dry, root, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    said, ran, carried_there = [], [], []
    cloud = Cloud(us_east5_b="ACTIVE")
    cloud.said = said

    def run(words, limit):
        ran.append(list(words))
        if words[4] == "scp" and words[6] == f"sweep-1:{worker.ENVIRONMENT}":
            carried_there.append(Path(words[5]).read_bytes())
            assert Path(words[5]).stat().st_mode & 0o777 == 0o600
        return cloud.run(words, limit)

    request = [] if command == "run" else ["--accelerator", "v6e-1"]
    words = [
        command,
        "sweep-1",
        "--zone",
        "us-east5-b",
        *request,
        "--env",
        "HF_TOKEN",
        "--env",
        f"B={SECRET}",
    ]
    world = real()._replace(say=said.append) if dry else cloud.world()._replace(run=run)
    assert launch.main([*words, *(["--dry-run"] if dry else []), *SWEEP], world=world, root=root) == 0
    assert SECRET not in str(said) + str(ran) and (said or ran)
    if not dry:
        assert carried_there == [f"HF_TOKEN={SECRET}\0B={SECRET}\0".encode()]
        starts = [one for one in ran if any(" start " in word for word in one)]
        assert starts and all(" --env " in str(one) for one in starts)


def test_variables_arrive_as_they_are_and_nobody_else_reads_them(ready):
    with carried(NASTY) as path:
        assert path
        (ready.home / worker.ENVIRONMENT).write_bytes(path.read_bytes())
    show = (
        f"import os; print([os.environ[name] for name in {list(NASTY)}], os.environ['JAX_COORDINATOR_PORT'])"
    )
    wait = "import time; time.sleep(1)"
    assert ready.command("start", "--env", "j-1", "python3", "-c", f"{show}; {wait}").returncode == 0
    lines = [Path(f"/proc/{process}/cmdline").read_bytes() for process in ready.processes()]
    assert lines and not any(b"xla_a" in line or b"touch" in line for line in lines)
    assert not (ready.home / worker.ENVIRONMENT).exists()
    assert ready.wait("ended").log.decode() == f"{list(NASTY.values())} 8476\n"
    left = subprocess.run(["grep", "-rl", "xla_a", ready.home], capture_output=True, text=True, check=False)
    assert left.stdout.split() == [f"{ready.home}/fdl-tpu/jobs/j-1/log"]  # what the command itself printed
    assert not list(ready.home.rglob("INJECTED"))


def test_variables_are_for_one_job_only(ready):
    (ready.home / worker.ENVIRONMENT).write_bytes(b"A=1\0")
    ready.command("start", "--env", "j-1", "bash", "-c", "echo $A")
    assert ready.wait("ended").log == b"1\n"
    ready.command("start", "j-2", "bash", "-c", "echo ${A-none}")
    assert ready.wait("ended").log == b"none\n"
    missing = ready.command("start", "--env", "j-3", "true")
    assert missing.stdout == b"error: the environment did not arrive\nfdl-tpu exit 1\n"
