"""Nothing is left behind, wherever and however the launcher ends."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.tpu.test_launch import SWEEP
from tests.tpu.test_zones import NO_CAPACITY, A, B, Cloud, root
from tpu import launch
from tpu.world import Output, World

__all__ = ["root"]

WHERE = ["sweep-1", "--zone", f"{A},{B}"]
UP = ["up", *WHERE, "--accelerator", "v6e-1", *SWEEP]
WATCH = ["watch", *UP[1:]]
CREATE = ["create", *UP[1:6]]


def ended(cloud: Cloud, at: int, how: BaseException | int, *, before: bool = False) -> World:
    """A world in which something happens after the command `at`, or before it has any effect."""
    world, count = cloud.world(), 0

    def run(words, limit):
        nonlocal count
        count += 1
        if count == at + 1 and before:
            happen(how)
        done = cloud.run(words, limit)
        if count == at + 1:
            happen(how)
        return done

    return world._replace(run=run)


def happen(how: BaseException | int) -> None:
    if isinstance(how, BaseException):
        raise how
    os.kill(os.getpid(), how)


@pytest.fixture
def listening(heeded: None) -> Iterator[None]:
    """As the launcher is when it is a program; afterwards as before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    launch.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("words", [UP, WATCH, CREATE], ids=["up", "watch", "create"])
@pytest.mark.parametrize("how", [KeyboardInterrupt(), RuntimeError("a fault"), MemoryError()], ids=repr)
@pytest.mark.parametrize("before", [False, True])
def test_wherever_it_ends_nothing_is_left(words, how, before, root):
    for at in range(40):
        cloud = Cloud()
        cloud.refusals = {A: [NO_CAPACITY]}
        try:
            code = launch.main(words, world=ended(cloud, at, how, before=before), root=root)
        except (RuntimeError, MemoryError):
            code = None
        if code == 0:  # it was over before
            break
        # What is there before a slice was asked for is not there at all.
        assert cloud.slices == {}, (at, cloud.done, cloud.said)
    else:
        raise AssertionError("it never comes to its end")
    assert at > 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=str)
def test_signals_lead_to_the_same_place(number, root, listening, capsys):
    for at in (3, 6, 9):
        launch.listen()
        cloud = Cloud()
        assert launch.main(WATCH, world=ended(cloud, at, number), root=root) == 75
        assert cloud.slices == {} and ("stopped" in cloud.said) == bool(cloud.done)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_terminal_that_closes_says_so_twice(root, listening):
    cloud = Cloud()
    world = ended(cloud, 6, signal.SIGHUP)

    def run(words, limit):
        if words[4] == "delete":
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        return world.run(words, limit)

    assert launch.main(UP, world=world._replace(run=run), root=root) == 75
    assert cloud.slices == {}


def test_a_request_that_was_on_its_way_is_deleted_when_it_comes_through(root):
    cloud = Cloud()
    world, looks = cloud.world(), 0

    def run(words, limit):
        nonlocal looks
        if words[4] == "create":
            raise KeyboardInterrupt
        if words[3:5] == ["queued-resources", "describe"] and cloud.said[-1:] == [
            "deleting the slice sweep-1"
        ]:
            looks += 1
            if looks == 2:
                cloud.slices[A] = "CREATING"
        return cloud.run(words, limit)

    words = ["up", "sweep-1", "--zone", A, *UP[4:]]
    assert launch.main(words, world=world._replace(run=run), root=root) == 75
    assert cloud.done == [("delete", A)] and cloud.slices == {}


@pytest.mark.parametrize(
    ("words", "answer", "kept"),
    [
        (WATCH, "n", True),
        (WATCH, "", False),
        (WATCH, "y", False),
        (WATCH, None, False),
        ([*WATCH[:6], "--keep", *WATCH[6:]], None, True),
        ([*UP[:6], "--keep", *UP[6:]], None, True),
        (UP, "n", False),  # it was said before that it is to be deleted
    ],
)
def test_what_is_kept_is_kept_by_somebodys_word(words, answer, kept, root):
    cloud, asked = Cloud(), []

    def ask(question):
        asked.append(question)
        return answer

    def run(one, limit):
        told.extend(word for word in one if word == "--command=bash fdl-run.sh keep")
        return cloud.run(one, limit)

    told: list[str] = []
    assert launch.main(words, world=cloud.world()._replace(ask=ask, run=run), root=root) == 0
    assert (list(cloud.slices) == [A]) == kept
    assert len(told) == (answer == "n" and words is WATCH)  # the worker would delete it otherwise
    assert len(asked) == (words is WATCH)
    last = cloud.said[-1]
    assert (
        "is kept, and costs: 1 chips, $2.70 an hour" in last and "deletes itself 12 h after" in last
    ) == kept


@pytest.mark.parametrize("words", [UP, WATCH, CREATE], ids=["up", "watch", "create"])
def test_ctrl_c_asks_a_person(words, root):
    cloud = Cloud()
    world = ended(cloud, 5, KeyboardInterrupt())._replace(ask=lambda question: "n")
    assert launch.main(words, world=world, root=root) == 75
    assert list(cloud.slices) == [A] and "is kept" in cloud.said[-1]


def test_a_slice_whose_lifetime_is_over_is_not_made_again(root, capsys):
    cloud = Cloud()
    world = cloud.world()

    def run(words, limit):
        if " poll " in str(words) and cloud.job:
            cloud.seconds += 2 * 3600
            cloud.slices.clear()
            return Output(None, b"", "")
        return cloud.run(words, limit)

    words = [*UP[:6], "--lifetime", "2h", *UP[6:]]
    assert launch.main(words, world=world._replace(run=run), root=root) == 1
    assert [verb for verb, _ in cloud.done] == ["create"]
    assert "lifetime of 2 h is over" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reason", "slices"),
    [
        ("ERROR: (gcloud.compute.tpus.tpu-vm.ssh) PERMISSION_DENIED: Required 'compute.projects.get'", 1),
        ("me@x: Permission denied (publickey).", 2),  # a key that is not there yet
        ("ERROR: (gcloud.compute.tpus.tpu-vm.ssh) NOT_FOUND: Resource not found", 2),  # the slice is gone
    ],
)
def test_slices_are_not_made_for_an_account_that_no_worker_lets_in(reason, slices, root, capsys):
    cloud = Cloud()

    def run(words, limit):
        return Output(1, b"", reason) if words[4] == "ssh" else cloud.run(words, limit)

    words = [*UP[:6], "--preemptions", "1", *SWEEP]
    assert launch.main(words, world=cloud.world()._replace(run=run), root=root) == 1
    assert [verb for verb, _ in cloud.done].count("create") == slices and cloud.slices == {}
    assert any(reason in line for line in cloud.said)


@pytest.mark.parametrize(("typed", "answer"), [(b"n\n", "n"), (b" No\n", "no"), (b"\n", ""), (b"\x03", None)])
def test_a_person_at_a_terminal_answers(typed, answer, heeded):
    show = "from tpu.voice import answer; print('<', repr(answer('delete?')), '>')"
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, "-c", show])
    shown = b""
    while b"(yes in 60 s)" not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, typed)
    while b">" not in shown:
        shown += os.read(terminal, 1000)
    os.waitpid(process, 0)
    os.close(terminal)
    assert f"< {answer!r} >".encode() in shown


def test_nobody_is_asked_without_a_terminal():
    show = "from tpu.voice import answer; print(answer('delete?'))"
    for given in (subprocess.DEVNULL, subprocess.PIPE):
        done = subprocess.run([sys.executable, "-c", show], stdin=given, capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (b"None\n", b"")


@pytest.mark.parametrize("text", ["12", "0h", "-1h", "1.5h", "h", "", "9m", "12h "])
def test_lifetimes_that_are_none(text, root, capsys):
    assert launch.main([*UP[:6], f"--lifetime={text}", *UP[6:]], world=Cloud().world(), root=root) == 2
    assert "--lifetime is" in capsys.readouterr().err
