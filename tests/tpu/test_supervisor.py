"""The supervisor against scripts of what Google Cloud says, on a clock that only waits on paper."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from tpu.condition import Condition, State
from tpu.follow import Ending, Outcome
from tpu.supervisor import Actions, Budgets, Clock, watch

ABSENT, WAITING = Condition(State.ABSENT), Condition(State.WAITING, reason="WAITING_FOR_RESOURCES")
MAKING, READY = Condition(State.MAKING, reason="CREATING"), Condition(State.READY, 2)
DEAD, LEAVING = Condition(State.DEAD, reason="PREEMPTED"), Condition(State.LEAVING)
REFUSED, UNKNOWN = (
    Condition(State.REFUSED, reason="no capacity"),
    Condition(State.UNKNOWN, reason="no network"),
)
FINISHED, CRASHED = (
    Outcome(Ending.FINISHED, code=0),
    Outcome(Ending.CRASHED, "worker 1 ended with exit code 1"),
)
LOST, INTERRUPTED = Outcome(Ending.LOST, "worker 1 does not answer"), Outcome(Ending.INTERRUPTED, "SIGTERM")


class Played(NamedTuple):
    """What the supervisor did, and when."""

    code: int
    done: list[tuple[str, float]]
    said: list[str]

    def names(self) -> list[str]:
        return [name for name, _ in self.done]


def play(
    says: Sequence[Condition],
    attempts: Sequence[Outcome | tuple[Outcome, float]] = (),
    *,
    refusals: Sequence[str | None] = (),
    budgets: Budgets | None = None,
    zones: int = 1,
    patience: float = 86400.0,
) -> Played:
    """Plays a script to its end; an answer that the script does not have fails the test."""
    seconds = 0.0
    done: list[tuple[str, float]] = []
    said: list[str] = []
    conditions, outcomes, answers = iter(says), iter(attempts), iter(refusals)

    def create() -> str | None:
        done.append(("create", seconds))
        return next(answers, None)

    def delete() -> None:
        done.append(("delete", seconds))

    def move() -> None:
        done.append(("move", seconds))

    def attempt(workers: int) -> Outcome:
        nonlocal seconds
        assert workers == 2
        done.append(("attempt", seconds))
        outcome = next(outcomes)
        if isinstance(outcome, tuple) and not isinstance(outcome, Outcome):
            outcome, lasted = outcome
            seconds += lasted
        assert isinstance(outcome, Outcome)
        return outcome

    def sleep(duration: float) -> None:
        nonlocal seconds
        seconds += duration

    clock = Clock(lambda: seconds, sleep)
    actions = Actions(lambda: next(conditions), create, delete, attempt, move)
    code = watch(actions, budgets or Budgets(), clock, say=said.append, zones=zones, patience=patience)
    assert next(conditions, None) is None and next(outcomes, None) is None
    return Played(code, done, said)


def test_from_nothing():
    played = play([ABSENT, WAITING, WAITING, MAKING, READY], [FINISHED])
    assert (played.code, played.names()) == (0, ["create", "attempt"])
    assert played.done[1] == ("attempt", 4 * 60.0)


def test_a_slice_that_is_there_is_used():
    assert play([READY], [FINISHED]).names() == ["attempt"]


def test_preempted_twice():
    once = [DEAD, LEAVING, ABSENT, MAKING, READY]
    played = play([ABSENT, READY, *once, *once], [LOST, CRASHED, FINISHED])
    assert played.code == 0
    assert played.names() == ["create", "attempt", *["delete", "create", "attempt"] * 2]
    assert any("(2 of 100 preemptions); next in 60 s" in line for line in played.said)


def test_a_preemption_is_never_charged_as_a_crash():
    once = [DEAD, ABSENT, READY]
    budgets = Budgets(crashes=0)
    assert play([READY, *once * 3], [CRASHED, CRASHED, CRASHED, FINISHED], budgets=budgets).code == 0


def test_a_crash_that_was_the_beginning_of_a_preemption_is_given_back():
    once = [READY, READY, DEAD, ABSENT]  # still ready when first looked at after the failure
    budgets = Budgets(crashes=1)
    played = play([*once, *once, READY], [CRASHED, CRASHED, FINISHED], budgets=budgets)
    assert played.code == 0


def test_quota_refused():
    played = play([ABSENT, ABSENT, ABSENT, READY], [FINISHED], refusals=["quota", "quota"])
    assert played.names() == ["create", "create", "create", "attempt"]
    assert [when for _, when in played.done] == [0.0, 30.0, 90.0, 150.0]  # the back-off doubles
    with pytest.raises(OSError, match="gave up after 2 refusals; the last: refused: quota"):
        play([ABSENT] * 3, refusals=["quota"] * 3, budgets=Budgets(refusals=2))


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (
            "ERROR: (gcloud.x) RESOURCE_EXHAUSTED: Quota limit 'TPUV6E' has been exceeded. Limit: 0",
            "quota_refusals",
        ),
        ('FAILED: There is no more capacity in the zone "us-east5-b"', "capacity_refusals"),
        ("ERROR: (gcloud.x) ABORTED: try again", "refusals"),
    ],
)
def test_quota_and_capacity_have_budgets_of_their_own(reason, name):
    others = dict.fromkeys(("quota_refusals", "capacity_refusals", "refusals"), 0) | {name: 2}
    for script in ([ABSENT] * 3, [ABSENT, Condition(State.REFUSED, reason=reason)] * 3):
        refusals = [reason] * 3 if script[1] == ABSENT else []
        with pytest.raises(OSError, match=f"gave up after 2 {name.replace('_', ' ')}; the last: "):
            play(script, refusals=refusals, budgets=Budgets(**others))


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("ERROR: (gcloud.x) INVALID_ARGUMENT: Accelerator type v6e-24 is unknown", ValueError),
        ("ERROR: (gcloud.x) NOT_FOUND: Location us-east9-z is not found", ValueError),
        ("ERROR: (gcloud.x) PERMISSION_DENIED: Permission 'tpu.nodes.create' denied", OSError),
    ],
)
def test_a_refusal_that_is_final_ends_at_once(reason, error):
    for script, refusals in (
        ([Condition(State.UNKNOWN, reason=reason)], []),
        ([ABSENT], [reason]),
        ([ABSENT, WAITING, Condition(State.REFUSED, reason=reason)], []),
    ):
        with pytest.raises(error, match="asking again cannot help") as raised:
            play(script, refusals=refusals)
        assert str(raised.value).count("\n") == 0


def test_a_login_that_runs_out_while_the_slice_works_ends_nothing():
    lapsed = Condition(State.UNKNOWN, reason="ERROR: (gcloud.x) UNAUTHENTICATED: no")
    assert play([READY, lapsed, lapsed, READY, READY], [CRASHED, FINISHED]).names() == ["attempt", "attempt"]


def test_the_next_zone_has_its_turn_once_this_one_has_no_slice():
    no_capacity = Condition(State.REFUSED, reason="no more capacity")
    played = play(
        [ABSENT, ABSENT, ABSENT, no_capacity, LEAVING, ABSENT, ABSENT, READY, DEAD, ABSENT, READY],
        [LOST, FINISHED], refusals=["no more capacity"], zones=2,
    )  # fmt: skip
    assert played.names() == [
        "create", "move", "create", "delete", "move", "create", "attempt", "delete", "create", "attempt"
    ]  # fmt: skip


def test_a_request_that_seemed_to_be_refused_but_came_through_is_waited_for():
    assert play([ABSENT, WAITING, READY], [FINISHED], refusals=["no answer in time"], zones=2).names() == [
        "create", "attempt"
    ]  # fmt: skip


def test_a_request_that_waits_too_long_goes_before_the_next_zone_has_its_turn():
    played = play(
        [ABSENT, *[WAITING] * 3, WAITING, LEAVING, ABSENT, ABSENT, READY], [FINISHED], zones=2, patience=60.0
    )
    assert played.names() == ["create", "delete", "delete", "move", "create", "attempt"]
    assert any("no capacity within 60 s (1 of 100 capacity refusals)" in line for line in played.said)


def test_refusals_in_a_row_are_counted_from_anew_once_granted():
    once = [ABSENT, ABSENT, READY, DEAD]
    played = play(
        [*once, *once, ABSENT, READY], [LOST, LOST, FINISHED],
        refusals=["quota", None, "quota", None, None], budgets=Budgets(refusals=1),
    )  # fmt: skip
    assert played.code == 0


def test_a_request_that_fails_later_is_deleted_first():
    played = play([ABSENT, WAITING, REFUSED, LEAVING, ABSENT, READY], [FINISHED])
    assert played.names() == ["create", "delete", "create", "attempt"]


def test_crash_loop():
    with pytest.raises(OSError, match="gave up after 3 crashes; the last: worker 1 ended with exit code 1"):
        play([READY] * 8, [CRASHED] * 4)


UNFIT = Outcome(Ending.UNFIT, "device 5 of worker 1 (t1) is slow")


def test_a_slice_that_is_unfit_is_made_again_and_in_the_next_zone_if_there_is_one():
    once = [READY, READY, LEAVING, ABSENT]
    played = play([*once, READY], [UNFIT, FINISHED])
    assert played.names() == ["attempt", "delete", "create", "attempt"]
    assert any("(t1) is slow (1 of 5 unfit slices)" in line for line in played.said)
    played = play([*once, ABSENT, READY], [UNFIT, FINISHED], zones=2)
    assert played.names() == ["attempt", "delete", "move", "create", "attempt"]
    with pytest.raises(OSError, match="gave up after 1 unfit slices; the last: device 5 of worker 1"):
        play([*once, READY, READY], [UNFIT] * 2, budgets=Budgets(unfit_slices=1, crashes=0, preemptions=0))


def test_a_crash_after_a_long_time_is_no_loop():
    rare = (CRASHED, 3600.0)
    played = play([READY] * 13, [*[rare] * 6, FINISHED])
    assert (played.code, played.names()) == (0, ["attempt"] * 7)


def test_half_made():
    minutes = [MAKING] * 32  # one each
    played = play([ABSENT, *minutes, ABSENT, READY], [FINISHED])
    assert played.names() == ["create", "delete", "create", "attempt"]
    assert played.done[1][1] == 60.0 + 31 * 60.0


def test_a_worker_that_does_not_answer_on_a_slice_that_says_it_is_well():
    played = play([READY, READY, READY, LEAVING, ABSENT, READY], [LOST, FINISHED])
    assert played.names() == ["attempt", "delete", "delete", "create", "attempt"]  # it is said until heard


def test_interrupted_and_saved_goes_on():
    played = play([READY, READY, READY], [INTERRUPTED, FINISHED], budgets=Budgets(crashes=0))
    assert played.names() == ["attempt", "attempt"]


def test_no_answer_makes_and_deletes_nothing():
    played = play([READY, UNKNOWN, UNKNOWN, READY, READY], [CRASHED, FINISHED])
    assert played.names() == ["attempt", "attempt"]
    with pytest.raises(OSError, match="gave up after 20 silences; the last: no answer: no network"):
        play([UNKNOWN] * 21)


def test_a_slice_that_somebody_deleted():
    assert play([READY, ABSENT, ABSENT, READY], [LOST, FINISHED]).names() == ["attempt", "create", "attempt"]
    with pytest.raises(OSError, match="gave up after 0 preemptions; the last: the slice is gone"):
        play([READY, ABSENT], [LOST], budgets=Budgets(preemptions=0))


@pytest.mark.parametrize("code", [2, 3])
def test_what_another_attempt_cannot_mend(code):
    assert play([READY], [Outcome(Ending.HOPELESS, "bad input", code)]).code == code


def test_another_command_is_left_alone():
    with pytest.raises(ValueError, match="another command"):
        play([READY], [Outcome(Ending.BUSY, "another command runs there")])


def test_the_back_off_has_an_end():
    played = play([ABSENT] * 12 + [READY], [FINISHED], refusals=["quota"] * 11)
    waits = [after - before for (_, before), (_, after) in zip(played.done, played.done[1:], strict=False)]
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900, 900, 900, 900, 60]
