"""Following workers whose answers are scripted: what is shown, and how it is said to have ended."""

from collections.abc import Callable, Sequence

import pytest

from tpu.follow import Ending, Outcome, follow, verdict
from tpu.worker import Poll, understood
from tpu.world import World


def running(size: int, log: bytes = b"", job: str = "j") -> Poll:
    return Poll(job, "running", None, size, log)


def ended(code: int | None, size: int = 0, log: bytes = b"") -> Poll:
    return Poll("j", "lost" if code is None else "ended", code, size, log)


def play(
    *scripts: Sequence[Poll | None], alive: Callable[[], bool] = lambda: True
) -> tuple[Outcome, list[str], float, list[tuple[int, int]]]:
    """The outcome, what was shown, the seconds it took, and the (worker, offset) of each look.

    The last answer of a script is given for ever.
    """
    left = [list(script) for script in scripts]
    said: list[str] = []
    looks: list[tuple[int, int]] = []
    seconds = 0.0

    def look(index: int, offset: int) -> Poll | None:
        looks.append((index, offset))
        return left[index].pop(0) if len(left[index]) > 1 else left[index][0]

    def sleep(duration: float) -> None:
        nonlocal seconds
        seconds += duration
        assert seconds < 1e5, "it never ends"

    def run(words, limit):
        raise AssertionError("nothing is run")

    world = World(run, lambda: seconds, sleep, lambda: "", said.append, at_once=1)
    outcome = follow(world, look, job="j", offsets=[0] * len(scripts), alive=alive)
    return outcome, said, seconds, looks


def test_lines_are_shown_once_and_whole():
    outcome, said, _, looks = play(
        [running(5, b"a\nb\nc"), running(6, b"cd"), ended(0, 8, b"cd\ne")], [ended(0, 2, b"x\n")]
    )
    assert outcome == Outcome(Ending.FINISHED, code=0)
    assert said == ["[0] a", "[0] b", "[1] x", "[0] cd", "[0] e"]
    assert looks == [(0, 0), (1, 0), (0, 4), (0, 4)]  # a worker that has ended is not asked again


def test_a_long_log_is_fetched_without_waiting():
    outcome, said, seconds, _ = play([running(4, b"a\n"), running(4, b"b\n"), ended(0, 4)])
    assert (outcome.ending, said, seconds) == (Ending.FINISHED, ["[0] a", "[0] b"], 15.0)
    _, said, _, _ = play([ended(0, 4, b"a\n"), ended(0, 4, b"b\n")])
    assert said == ["[0] a", "[0] b"]


def test_bytes_that_are_no_text():
    assert play([ended(0, 3, b"\xff\n\xe2")])[1] == ["[0] �", "[0] �"]


def test_worker_1_dead():
    outcome, _, seconds, _ = play([running(0)], [running(0), None])
    assert outcome == Outcome(Ending.LOST, "worker 1 does not answer")
    assert seconds == 5 * 15.0


def test_a_dropped_connection_is_no_death():
    outcome, _, _, _ = play([None, None, None, None, running(0), None, None, None, None, ended(0)])
    assert outcome.ending is Ending.FINISHED


def test_a_slice_that_google_took_is_given_up_at_once():
    outcome, _, seconds, _ = play([running(0), None], alive=lambda: False)
    assert (outcome.ending, seconds) == (Ending.LOST, 15.0)


def test_a_failed_worker_ends_the_wait_for_the_others():
    outcome, _, seconds, _ = play([running(0)], [running(0), ended(1)])
    assert outcome == Outcome(Ending.CRASHED, "worker 1 ended with exit code 1")
    assert seconds == 15.0 + 75.0


def test_a_worker_that_never_ends_after_the_others_are_done():
    outcome, _, seconds, _ = play([ended(0)], [running(0)])
    assert outcome == Outcome(Ending.CRASHED, "worker 1 has no exit code")
    assert seconds == 915.0


def test_a_disk_that_was_wiped():
    outcome, said, _, _ = play([Poll("-", "absent", None, 0, b"")], [ended(0)])
    assert outcome == Outcome(Ending.CRASHED, "worker 0 has no exit code")
    assert play([running(2, b"x\n", job="another")])[1] == [] == said


@pytest.mark.parametrize(
    ("codes", "ending", "code"),
    [
        ([0, 0], Ending.FINISHED, 0),
        ([0, 1], Ending.CRASHED, 1),
        ([75, 75], Ending.INTERRUPTED, 1),
        ([75, 143], Ending.INTERRUPTED, 1),
        ([75, 1], Ending.CRASHED, 1),
        ([75, 137], Ending.CRASHED, 1),
        ([0, None], Ending.CRASHED, 1),
        ([1, 2], Ending.HOPELESS, 2),
        ([3, 0], Ending.HOPELESS, 3),
    ],
)
def test_verdict(codes, ending, code):
    outcome = verdict(dict(enumerate(codes)))
    assert (outcome.ending, outcome.code) == (ending, code)


UNFIT = b"error: x\nfdl doctor: unfit: device 5 of worker 1 (t1) is slow\nerror: y\n"


@pytest.mark.parametrize(
    ("code", "log", "expected"),
    [
        (1, UNFIT, Outcome(Ending.UNFIT, "device 5 of worker 1 (t1) is slow")),
        (1, b"process 3 ended: fdl doctor: unfit: late\n", Outcome(Ending.UNFIT, "late")),
        (1, b"fdl doctor: fit\n", Outcome(Ending.CRASHED, "worker 0 ended with exit code 1")),
        (0, UNFIT, Outcome(Ending.FINISHED, code=0)),
        (2, UNFIT, Outcome(Ending.HOPELESS, "worker 0 ended with exit code 2, bad input", 2)),
        (75, UNFIT, Outcome(Ending.INTERRUPTED, "worker 0 was interrupted, exit code 75")),
    ],
)
def test_a_slice_that_the_command_found_unfit(code, log, expected):
    assert play([ended(code, len(log), log)])[0] == expected


FRAME = b"fdl-tpu k-t running - 9 3\nab\nfdl-tpu exit 0\n"


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        (FRAME, Poll("k-t", "running", None, 9, b"ab\n")),
        (b"Warning: banner\n" + FRAME, Poll("k-t", "running", None, 9, b"ab\n")),
        (FRAME + FRAME, Poll("k-t", "running", None, 9, b"ab\n")),
        *[(FRAME[:cut] + FRAME, Poll("k-t", "running", None, 9, b"ab\n")) for cut in range(len(FRAME))],
        *[(FRAME[:cut], None) for cut in range(len(FRAME))],
        (b"fdl-tpu - absent - 0 0\nfdl-tpu exit 0\n", Poll("-", "absent", None, 0, b"")),
        (b"fdl-tpu k-t ended 75 2 2\nabfdl-tpu exit 0\n", Poll("k-t", "ended", 75, 2, b"ab")),
        (b"fdl-tpu k-t lost - 0 0\nfdl-tpu exit 0\n", Poll("k-t", "lost", None, 0, b"")),
        (b"", None),
        (b"bash: fdl-run.sh: No such file or directory\n", None),
    ],
)
def test_answers_that_were_broken_off_and_repeated(out, expected):
    assert understood(out) == expected
