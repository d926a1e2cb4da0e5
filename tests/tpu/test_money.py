"""Money: a slice is deleted whatever becomes of the output, and none is made that would be in vain."""

import contextlib
import dataclasses
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import pytest

from fdl.cli import COMMANDS
from fdl.cli.options import OPTIONS
from tests.tpu.test_launch import ABSENT, DELETE, PROJECT, READY, SUSPENDED, SWEEP, WHERE, scripted
from tpu import checks, launch, slices
from tpu.options import options_of
from tpu.world import Output, real

OWN = """SWEEP = 1


class Config:
    rate: float = 1.0
    skip: bool = True
    net: Net = Net()
    seeds: int = 3
"""
UP = ["up", *WHERE, "--accelerator", "v6e-16"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one experiment, a file that git ignores and a link to outside."""
    root = tmp_path / "repository"
    (root / "experiments").mkdir(parents=True)
    for name in ("experiments/one.py", "experiments/scratch.py", "../outside.py"):
        (root / name).write_text("SWEEP = 1\n")
    (root / "experiments/own.py").write_text(OWN)
    (root / "experiments/nothing.py").write_text("print(1)\n")
    (root / "experiments/wrong.py").write_text("def (:\n")
    (root / "experiments/notes.txt").write_text("SWEEP = 1\n")
    (root / "experiments/link.py").symlink_to("../../outside.py")
    (root / "experiments/same.py").symlink_to("one.py")
    (root / ".gitignore").write_text("scratch.py\n")
    (root / "pyproject.toml").write_text(PROJECT)
    subprocess.run(["git", "-c", "init.defaultBranch=main", "init", "--quiet", root], check=True)
    return root


def gcloud(done: list[str], *, deleting: Output | None = None) -> Callable[[Sequence[str], float], Output]:
    """A cloud in which everything succeeds at once, and what was done to its slice."""
    there, job = False, ""

    def run(words: Sequence[str], limit: float) -> Output:
        nonlocal there, job
        del limit
        if words[4] in ("create", "delete"):
            done.append(words[4])
            if words[4] == "delete" and deleting:
                return deleting
            there = words[4] == "create"
        if words[3:5] == ["queued-resources", "describe"]:
            return READY if there else ABSENT
        if words[3:5] == ["tpu-vm", "describe"]:
            return Output(0, b'{"state": "READY", "acceleratorType": "v6e-1", "networkEndpoints": [{}]}', "")
        command = next((word for word in words if word.startswith("--command=")), "")
        if " start " in command:
            job = next(word for word in command.split(" start ")[1].split() if word[:2] != "--")
        if " poll " in command:
            log = "p \u2014 ok\n".encode()
            state = f"fdl-tpu {job} ended 0 {len(log)} {len(log)}\n" if job else "fdl-tpu - absent - 0 0\n"
            return Output(0, state.encode() + (log if job else b"") + b"fdl-tpu exit 0\n", "")
        return Output(0, b"fdl-tpu exit 0\n", "")

    return run


def without_a_reader() -> IO[str]:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def closed() -> IO[str]:
    stream = open(os.devnull, "w")  # noqa: SIM115
    stream.close()
    return stream


def ascii_only() -> IO[str]:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


OUTPUTS: dict[str, Callable[[], IO[str] | None]] = {
    "gone": without_a_reader,
    "full": lambda: open("/dev/full", "w"),  # noqa: SIM115
    "closed": closed,
    "never there": lambda: None,
    "ascii": ascii_only,
}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("gives_up", [False, True])
def test_up_deletes_whatever_becomes_of_its_output(output, gives_up, root, monkeypatch, capfd):
    done: list[str] = []
    world = real()._replace(run=gcloud(done), sleep=lambda seconds: None)
    if gives_up:
        looks, done, _ = scripted([SUSPENDED, SUSPENDED, ABSENT])
        world = real()._replace(run=looks.run, sleep=lambda seconds: None)
    monkeypatch.setattr(sys, "stdout", OUTPUTS[output]())
    code = launch.main([*UP, "--preemptions", "0", *SWEEP], world=world, root=root)
    assert (code, done) == ((1, ["delete"]) if gives_up else (0, ["create", "delete"]))
    if output != "ascii":  # what cannot go there goes to standard error
        assert "the slice sweep-1 is deleted" in capfd.readouterr().err


def test_up_deletes_while_nobody_reads_its_output(root, monkeypatch):
    """As in `up ... | less`: the pipe is full, and who should read it waits for a key."""
    done: list[str] = []
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writer, "w"))
    world = real()._replace(run=gcloud(done), sleep=lambda seconds: None)
    codes: list[int] = []
    up = threading.Thread(target=lambda: codes.append(launch.main([*UP, *SWEEP], world=world, root=root)))
    up.start()
    for _ in range(1000):
        if done == ["create", "delete"]:
            break
        up.join(0.01)
    assert done == ["create", "delete"] and not codes
    os.set_blocking(reader, False)
    while up.is_alive():
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 65536)
        up.join(0.01)
    assert codes == [0]


def test_a_fault_of_the_launchers_own_leaves_no_slice(root, monkeypatch):
    done: list[str] = []
    world = real()._replace(run=gcloud(done), sleep=lambda seconds: None)

    def broken(*args: object, **flags: object) -> None:
        raise UnicodeError("a fault")

    monkeypatch.setattr(launch.job, "install", broken)
    launch.main([*UP, *SWEEP], world=world, root=root)
    assert done == ["create", "delete"]


@pytest.mark.parametrize("command", ["up", "delete"])
def test_what_could_not_be_deleted_is_said_last_with_its_price_and_the_command(command, root, capsys):
    done: list[str] = []
    run = gcloud(done, deleting=Output(None, b"", "ERROR: no memory for another process"))
    world = real()._replace(run=run, sleep=lambda seconds: None)
    run(["", "", "", "", "create"], 0)
    words = UP + SWEEP if command == "up" else ["delete", *WHERE]
    assert launch.main(words, world=world, root=root) == 1
    assert capsys.readouterr().err.endswith(
        f"error: the slice sweep-1 could not be deleted, and costs: {slices.hourly('v6e-1')}; "
        f"the last refusal: ERROR: no memory for another process; {DELETE}\n"
    )


def test_a_slice_that_never_was_is_not_said_to_be_deleted(root, capsys):
    world = real()._replace(run=gcloud([]))
    assert launch.main(["delete", *WHERE], world=world, root=root) == 0
    assert capsys.readouterr().out == "there is no slice sweep-1 in us-east5-b\n"


@pytest.mark.parametrize(
    "command",
    [
        "run experiments/own.py --rate=3 --no-skip --net.width 2 --seed -1",
        "sweep experiments/own.py --grid.rate 1 2 --config.seeds 3 --restart",
        "sweep experiments/nothing.py --grid.lr 1 2",
        "sweep experiments/star.py",
        "run experiments/nothing.py",
    ],
)
def test_a_file_whose_trials_are_said_elsewhere_is_run(command, root):
    (root / "experiments/star.py").write_text("from one import *\n")
    done: list[str] = []
    world = real()._replace(run=gcloud(done), sleep=lambda seconds: None)
    words = [*UP, "--", *command.split(), "--workdir", "gs://runs"]
    assert launch.main(words, world=world, root=root) == 0
    assert done == ["create", "delete"]


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize(
    ("flags", "command", "complaint"),
    [
        ([], "sweep ../outside.py --workdir gs://runs", "'../outside.py' is not in there"),
        ([], "sweep experiments/../../outside.py --workdir gs://runs", "is not in there"),
        ([], "sweep experiments/link.py --workdir gs://runs", "would not be on the slice"),
        ([], "run experiments/scratch.py --workdir gs://runs", "would not be on the slice"),
        ([], "sweep .git/config --workdir gs://runs", "no Python file"),
        ([], "sweep experiments/notes.txt --workdir gs://runs", "no Python file"),
        ([], "sweep experiments/wrong.py --workdir gs://runs", "experiments/wrong.py is not Python 3."),
        ([], "sweep experiments/one.py --workdir gs://", "--workdir is 'gs://'; expected gs://BUCKET/NAME"),
        ([], "sweep experiments/one.py --workdir gs:///runs", "--workdir is 'gs:///runs'"),
        ([], "sweep experiments/one.py --workdir=gs://Runs/a", "--workdir is 'gs://Runs/a'"),
        ([], "sweep experiments/one.py --workdir gs://runs --workdir a", "--workdir is 'a'"),
        ([], "report experiments/one.py", "fdl report needs --workdir gs://BUCKET/NAME"),
        ([], "sweap experiments/one.py", "there is no fdl command 'sweap'; did you mean 'sweep'?"),
        ([], "fly experiments/one.py", "there is no fdl command 'fly'; expected one of run, sweep"),
        ([], "run experiments/one.py experiments/same.py --workdir gs://runs", "takes one file"),
        ([], "sweep experiments/nothing.py --workdir gs://runs", "has no SWEEP, and --grid.FIELD is not"),
        ([], "run experiments/own.py --rat 3 --workdir gs://runs", "has no flag --rat; did you mean --rate?"),
        ([], "sweep experiments/own.py --grid.seed 1 2 --workdir gs://runs", "has no flag --grid.seed"),
        ([], "sweep experiments/own.py --seed 3 --workdir gs://runs", "did you mean --seeds?"),
        ([], "search experiments/one.py --workdir gs://runs", "experiments/one.py has no SEARCH: fdl search"),
        (["--slices", "999999"], "list", "--slices is 999999; expected 1 to 256"),
        (["--extra", "txt"], "list", "the project has no extra 'txt'; expected some of tpu, gs, text"),
        (["--accelerator", "v6e-48"], "list", "there is no 'v6e-48'"),
    ],
)
def test_nothing_is_created_for_what_would_be_in_vain(flags, command, complaint, dry, root, capsys):
    done: list[str] = []
    world = real()._replace(run=gcloud(done), sleep=lambda seconds: None)
    words = [*UP, *flags, *(["--dry-run"] if dry else []), "--", *command.split()]
    assert launch.main(words, world=world, root=root) == 2
    shown = capsys.readouterr()
    assert (shown.out, done) == ("", [])
    assert complaint in shown.err and shown.err.count("\n") == 1


def test_a_link_within_the_project_is_a_file_of_it(root):
    done: list[str] = []
    world = real()._replace(run=gcloud(done), sleep=lambda seconds: None)
    words = [*UP, "--", "sweep", "./experiments/same.py", "--workdir", "gs://my_runs.org/a b"]
    assert launch.main(words, world=world, root=root) == 0
    assert done == ["create", "delete"]


def test_fdls_commands_and_their_options():
    assert set(checks.COMMANDS) == set(COMMANDS)
    for name, kind in OPTIONS.items():
        assert options_of(name) == {field.name.replace("_", "-") for field in dataclasses.fields(kind)}
