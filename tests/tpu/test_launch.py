"""The command line: what it refuses, what it would do, what it copies."""

import ast
import shlex
import subprocess
import sys
import threading
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from tpu import launch
from tpu.world import Output, World, each, execute, real

WHERE = ["sweep-1", "--zone", "us-east5-b"]
DELETE = "delete it: python3 -m tpu.launch delete sweep-1 --zone us-east5-b"
CREATE = ["create", *WHERE, "--accelerator", "v4-8"]
SWEEP = ["--", "sweep", "experiments/one.py", "--workdir", "gs://runs/it's; rm -rf ~"]


PROJECT = """[project]
optional-dependencies = {tpu = [], gs = [], text = []}
"""
ABSENT, SILENT = Output(1, b"", "ERROR: NOT_FOUND"), Output(1, b"", "ERROR: no network")
READY, LEAVING, SUSPENDED = (
    Output(0, b'{"state": {"state": "%s"}}' % state, "") for state in (b"ACTIVE", b"DELETING", b"SUSPENDED")
)


def scripted(conditions: Sequence[Output], **answers: Output) -> tuple[World, list[str], list[str]]:
    """A world where gcloud says these of a request, one a look; what was done and what was said there."""
    said: list[str] = []
    done: list[str] = []
    looks = iter(conditions)

    def run(words: Sequence[str], limit: float) -> Output:
        del limit
        if words[3:5] == ["queued-resources", "describe"]:
            return next(looks)
        if words[3:5] == ["tpu-vm", "describe"]:
            return Output(0, b'{"state": "READY", "networkEndpoints": [{}]}', "")
        done.append(words[4])
        return answers.get(words[4], Output(0, b"", ""))

    return World(run, lambda: 0.0, lambda seconds: None, lambda: "", said.append), done, said


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one experiment."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/one.py").write_text("SWEEP = 1\n")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    subprocess.run(["git", "-c", "init.defaultBranch=main", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def test_the_extras_of_the_workers_are_the_projects():
    project = tomllib.loads((launch.ROOT / "pyproject.toml").read_text())["project"]
    assert set(launch.EXTRAS) <= set(project["optional-dependencies"])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "COMMAND"),
        (["fly", *WHERE], "invalid choice: 'fly'"),
        (["up", *WHERE, *SWEEP], "--accelerator"),
        (["up", *WHERE, "--accelerator", "v5e-16", *SWEEP], "that chip is called v5litepod-16"),
        (["up", *WHERE, "--accelerator", "v4-8", "--spot", "--reserved", *SWEEP], "not allowed with"),
        (["up", *WHERE, "--accelerator", "v4-8", "--crashes", "x", *SWEEP], "invalid int value: 'x'"),
        (
            ["up", *WHERE, "--accelerator", "v4-8", "--preemptions", "-1", *SWEEP],
            "error: --preemptions is -1; expected 0 or more\n",
        ),
        (["watch", *WHERE, "--accelerator", "v4-8", "--crashes=-2", *SWEEP], "--crashes is -2; expected 0"),
        (["up", *WHERE, "--accelerator", "v4-8", "--refusals=-1", *SWEEP], "--refusals is -1; expected 0"),
        (["up", *WHERE, "--accelerator", "v4-8", "--runtime-version", "a b", *SWEEP], "--runtime-version is"),
        (["delete", "Sweep", "--zone", "us-east5-b"], "NAME is 'Sweep'"),
        (["delete", "sweep-1"], "--zone"),
        (["delete", *WHERE, "--", "run"], "takes no fdl command"),
        (["run", *WHERE], "expected an fdl command after --"),
        (["run", *WHERE, "--", "sweep"], "needs an experiment's file"),
        (
            ["run", *WHERE, "--", "sweep", "experiments/two.py", "--workdir", "gs://a"],
            "needs an experiment's file",
        ),
        (["run", *WHERE, "--", "run", "experiments/one.py"], "needs --workdir gs://BUCKET/NAME"),
        (
            ["run", *WHERE, "--", "run", "experiments/one.py", "--workdir=runs"],
            "--workdir is 'runs'; expected gs://BUCKET/NAME",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, complaint, root, capsys):
    def run(words, limit):
        raise AssertionError("nothing is run")

    world = real()._replace(run=run)
    assert launch.main(words, world=world, root=root) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err and shown.err.startswith("error: ")
    assert shown.out == "" and shown.err.count("\n") == 1


def test_the_commands_of_the_readme_let_the_workers_write_to_the_bucket_and_delete():
    block = (launch.ROOT / "tpu/README.md").read_text().split("```bash\n")[1].partition("```")[0]
    stubs = """gcloud() { case $* in *project-info*) echo vms@x ;; *) echo "gcloud $*" ;; esac; }
    python3() { echo "python3 $*"; }
    """
    done = subprocess.run(["bash", "-euc", stubs + block], capture_output=True, text=True, check=True)
    binding = "gcloud storage buckets add-iam-policy-binding gs://MY-BUCKET --role=roles/storage."
    beginnings = (
        "gcloud services enable ",
        "gcloud storage buckets create gs://MY-BUCKET ",
        f"{binding}objectAdmin --member=serviceAccount:vms@x",
        f"{binding}legacyBucketReader --member=serviceAccount:vms@x",
        "gcloud projects add-iam-policy-binding MY-PROJECT --role=roles/tpu.admin --member=serviceAccount:",
        "python3 -m tpu.launch up sweep-1 ",
        "gcloud storage cp gs://MY-BUCKET/",
    )
    for line, beginning in zip(done.stdout.splitlines(), beginnings, strict=True):
        assert line.startswith(beginning)


def test_dry_run_prints_every_command_and_does_none(root):
    said: list[str] = []

    def run(words, limit):
        raise AssertionError("nothing is run")

    world = real()._replace(run=run, say=said.append)
    words = ["up", *WHERE, "--accelerator", "v5litepod-16", "--spot", "--dry-run", *SWEEP]
    assert launch.main(words, world=world, root=root) == 0
    commands = [shlex.split(line) for line in said]
    assert all(command[:3] == ["gcloud", "compute", "tpus"] for command in commands)
    verbs = [command[4] for command in commands]
    assert verbs[:2] == ["describe", "create"] and "delete" in verbs
    remote = [w.partition("=")[2] for command in commands for w in command if w.startswith("--command=")]
    assert remote[0] == "true"
    assert sum(" setup " in line for line in remote) == sum(" start " in line for line in remote) == 4
    start = shlex.split(next(line for line in remote if " start " in line))
    assert start[3] == "--delete" and start[5:] == ["uv", "run", "--no-sync", "fdl", *SWEEP[1:]]


def test_dry_run_of_several_slices_reaches_every_worker_of_each(root):
    said: list[str] = []
    words = ["up", *WHERE, "--accelerator", "v5litepod-16", "--slices", "2", "--dry-run", *SWEEP]
    assert launch.main(words, world=real()._replace(say=said.append), root=root) == 0
    commands = [shlex.split(line) for line in said]
    starts = [tuple(one[5:7]) for one in commands if any(" start " in word for word in one)]
    assert starts == [
        (f"sweep-1-{number}", f"--worker={worker}") for number in range(2) for worker in range(4)
    ]
    reached = [one[5] for one in commands if "--command=true" in one]
    assert reached == ["sweep-1-0", "sweep-1-1"]  # each has to get the ssh key first
    jobs = {shlex.split(word)[4] for one in commands for word in one if " start " in word}
    assert len(jobs) == 1


@pytest.mark.parametrize(
    ("words", "verbs"),
    [
        (["create", *WHERE, "--accelerator", "v4-8"], ["describe", "create", "describe", "describe"]),
        (["setup", *WHERE, "--extra", "text"], ["describe", "describe", "ssh", "scp", "scp", "ssh"]),
        (["run", *WHERE, *SWEEP], ["describe", "describe", "ssh", "ssh", "ssh"]),
        (["run", *WHERE, "--", "list"], ["describe", "describe", "ssh", "ssh", "ssh"]),
        (["logs", *WHERE], ["describe", "describe", "ssh"]),
        (["logs", *WHERE, "--worker", "1"], ["describe", "describe", "ssh"]),
        (["stop", *WHERE], ["describe", "describe", "ssh"]),
        (["delete", *WHERE], ["describe", "describe", "delete", "describe"]),
        (["watch", *WHERE, "--accelerator", "v4-8", *SWEEP],
         ["describe", "create", "describe", "describe", "ssh", "scp", "scp", "ssh", "ssh", "ssh", "ssh",
          "describe", "describe", "delete", "describe"]),
        (["watch", *WHERE, "--accelerator", "v4-8", "--keep", *SWEEP],
         ["describe", "create", "describe", "describe", "ssh", "scp", "scp", "ssh", "ssh", "ssh", "ssh"]),
        (["costs", "--zone", "us-east5-b,us-west1-c"], ["list", "list", "list", "list"]),
    ],
)  # fmt: skip
def test_what_each_command_does(words, verbs, root):
    said: list[str] = []
    cut = words.index("--") if "--" in words else len(words)
    dry = [*words[:cut], "--dry-run", *words[cut:]]
    assert launch.main(dry, world=real()._replace(say=said.append), root=root) == 0
    assert [shlex.split(line)[4] for line in said] == verbs


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        (ABSENT, "absent; create it first: python3 -m tpu.launch create sweep-1 --zone us-east5-b --accel"),
        (SUSPENDED, "dead (SUSPENDED); it stays so: delete it and create it again, or see watch"),
        (LEAVING, "being deleted (DELETING); wait, or see watch"),
        (SILENT, "unknown (ERROR: no network); wait, or see watch"),
    ],
)
def test_a_slice_that_is_not_ready_is_said_to_be_so_and_what_to_do(condition, complaint, root, capsys):
    world, _, _ = scripted([condition])
    assert launch.main(["run", *WHERE, *SWEEP], world=world, root=root) == 1
    assert capsys.readouterr().err.startswith(f"error: the slice sweep-1 is {complaint}")


def test_create_while_the_old_slice_is_being_deleted(root):
    world, done, said = scripted([LEAVING, LEAVING, ABSENT, ABSENT, READY])
    assert launch.main(CREATE, world=world, root=root) == 0
    assert done == ["create"] and said[-1] == "the slice sweep-1 is ready: 1 workers"


def test_create_that_is_refused_once_the_old_slice_is_gone(root, capsys):
    world, done, _ = scripted([LEAVING, ABSENT, ABSENT], create=Output(1, b"", "ERROR: no quota"))
    assert launch.main(CREATE, world=world, root=root) == 1
    assert done == ["create"] and capsys.readouterr().err == "error: refused: ERROR: no quota\n"


@pytest.mark.parametrize(
    ("conditions", "last", "created"),
    [
        ([SILENT] * 21, "unknown (ERROR: no network)", 0),
        ([ABSENT] * 24, "absent", 1),  # two looks more: a request on its way may yet come through
    ],
)
def test_create_gives_up_where_there_is_no_answer_or_no_slice(conditions, last, created, root, capsys):
    world, done, _ = scripted(conditions)
    assert launch.main(CREATE, world=world, root=root) == 1
    assert done == ["create"] * created
    assert capsys.readouterr().err == (
        f"error: gave up after 20 looks in a row with no answer or no slice; the last: {last}\n"
    )


def test_create_bears_silences_that_are_not_in_a_row(root):
    world, done, _ = scripted([*[SILENT] * 20, LEAVING, *[SILENT] * 20, READY])
    assert launch.main(CREATE, world=world, root=root) == 0
    assert done == []


def test_up_that_gives_up_and_cannot_delete_says_both(root, capsys):
    world, done, said = scripted([SUSPENDED] * 40, delete=Output(1, b"", "ERROR: PERMISSION_DENIED"))
    up = ["up", *WHERE, "--accelerator", "v4-8", "--preemptions", "0", *SWEEP]
    assert launch.main(up, world=world, root=root) == 1
    assert said.index("gave up after 0 preemptions; the last: SUSPENDED") + 1 == said.index(
        "deleting the slice sweep-1"
    )
    assert set(done) == {"delete"}
    assert "could not be deleted, and costs" in capsys.readouterr().err


def test_a_slice_that_cannot_be_deleted_is_an_error(root, capsys):
    def run(words, limit):
        if "delete" in words:
            return Output(1, b"", "ERROR: PERMISSION_DENIED")
        return Output(0, b'{"state": {"state": "SUSPENDED"}}', "")

    world = World(run, lambda: 0.0, lambda seconds: None, lambda: "", lambda line: None)
    assert launch.main(["delete", *WHERE], world=world, root=root) == 1
    assert "could not be deleted, and costs" in capsys.readouterr().err


def test_without_gcloud(root, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(root))
    assert launch.main(["delete", *WHERE], root=root) == 1
    assert capsys.readouterr().err == "error: gcloud is not installed, or not on the PATH\n"


def test_ctrl_c_leaves_the_slice_and_says_so(root, capsys):
    def run(words, limit):
        raise KeyboardInterrupt

    assert launch.main(["delete", *WHERE], world=real()._replace(run=run), root=root) == 75
    assert "still runs and costs" in capsys.readouterr().err


def test_a_program_that_takes_too_long_is_ended_with_its_children():
    stopped = threading.Event()
    done = execute(stopped, ["bash", "-c", "sleep 100 & sleep 100"], 0.1)
    assert done.code is None and done.reason() == "no answer in time"
    assert execute(stopped, ["bash", "-c", "echo a; echo b >&2; exit 3"], 10) == Output(3, b"a\n", "b\n")
    stopped.set()
    assert execute(stopped, ["sleep", "100"], 100).code is None


def test_ctrl_c_ends_what_runs_on_other_threads():
    world = real()

    def one(index: int) -> int | None:
        if index == 0:
            raise KeyboardInterrupt
        return world.run(["sleep", "100"], 100).code

    with pytest.raises(KeyboardInterrupt):
        each(world, one, range(3))


def test_the_launcher_needs_nothing_but_python():
    folder = Path(launch.__file__).parent
    known = {*sys.stdlib_module_names, "tpu"}
    for path in folder.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 300
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= known, path
