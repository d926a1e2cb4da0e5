"""Sweeps that a scheduler leads: what is trained, from whose state, and what is told of it."""

import functools
import itertools
import os
from typing import Any

import numpy as np
import pytest

import fdl
from fdl.parallel.plan import Plan
from fdl.sweeps import packing, scheduled, stored, sweep
from fdl.sweeps.check import checked_groups
from fdl.sweeps.outlook import _interval
from fdl.sweeps.racing import Ran, race
from fdl.sweeps.schedule_check import check_scheduler
from fdl.sweeps.units import Group
from fdl.train import Progress
from tests.searched import TOO_MUCH, experiment
from tests.sweeps.test_schedulers import halved
from tests.toy import Config

pytestmark = [pytest.mark.usefixtures("one_program"), pytest.mark.medium]

LOSS: dict[str, Any] = {"metric": "validation/loss", "better": "lower"}
RATES = [0.001, 0.3, 0.002, 0.05, 0.004, 0.1, 0.008, 0.02, 0.03]
SPACE = fdl.grid(Config(steps=20), lr=RATES, seeds=2)
HALVING = fdl.successive_halving(first=4, factor=2, **LOSS)
"""Of 9 arms 4, 2 and 1 go on, at steps 4, 8 and 16; one of the nine runs on."""
ONE_DEVICE: dict[str, Any] = {"mesh": {"population": 1}}


@functools.cache
def whole() -> fdl.Result:
    """All arms to their end."""
    return sweep(experiment, SPACE, **ONE_DEVICE)


STEPS: list[tuple[int, int, int]] = []
"""The progress that `halved_sweep` told."""


@functools.cache
def halved_sweep() -> fdl.Result:
    progress = Progress(step=lambda *told: STEPS.append(told))
    return sweep(experiment, SPACE, scheduler=HALVING, progress=progress, **ONE_DEVICE)


@functools.cache
def groups() -> list[Group]:
    return checked_groups(experiment, SPACE, None)


def curves(result: fdl.Result) -> dict[str, np.ndarray]:
    """Of each arm the means over seeds of what decides, by evaluation."""
    means = result.frame.groupby(["arm", "step"], sort=False)[LOSS["metric"]].mean()
    return {arm: own.to_numpy() for arm, own in means.groupby("arm", sort=False)}


def test_survivors_are_those_of_the_papers_algorithm_on_the_curves_of_all():
    losses = np.repeat(np.stack(list(curves(whole()).values())), 4, axis=1)  # a row every 4 steps
    told = halved_sweep().meta["schedule"]
    names = list(curves(whole()))
    for rung, (step, came, went) in zip(
        told["rungs"], halved(losses, list(range(9)), r=4, eta=2), strict=True
    ):
        left = {arm for arm, one in told["left"].items() if one["step"] == step}
        assert (rung["step"], rung["arms"], rung["going"]) == (step, len(came), len(went))
        assert left == {names[arm] for arm in came - went}


def test_what_went_on_is_what_would_have_come_without_a_scheduler():
    """In another program, so up to rounding; a wrong state, key or batch would show at once."""
    ours, theirs = halved_sweep(), whole()
    merged = theirs.frame.merge(ours.frame, on=["arm", "seed", "step"], suffixes=("", " ours"))
    assert len(merged) == len(ours.frame)
    for metric in theirs.metrics:
        np.testing.assert_allclose(merged[f"{metric} ours"], merged[metric], rtol=2e-4, atol=1e-6)
    ends = ours.frame.groupby("arm")["step"].max()
    left = ours.meta["schedule"]["left"]
    assert {arm: ends[arm] for arm in ours.stopped} == ours.stopped
    assert set(ours.stopped) == {arm for arm, one in left.items() if not one["ran_on"]}
    assert set(ends[~ends.index.isin(list(ours.stopped))]) == {20} and len(left) - len(ours.stopped) == 1
    status = ours.frame.groupby("arm")["status"].agg(set)
    assert all(status[arm] == ({"stopped"} if arm in ours.stopped else {"finished"}) for arm in ends.index)


def test_steps_that_are_done_are_told_as_they_are():
    taken = halved_sweep().meta["schedule"]["saved"]["steps"]
    done = [one for one, _, _ in STEPS]
    assert done == sorted(done) and all(one <= total for one, total, _ in STEPS)
    assert STEPS[-1][:2] == (taken, taken)


def test_those_who_go_on_are_packed_into_narrower_programs():
    programs = halved_sweep().meta["programs"]
    assert [(one["members"], one["steps"]) for one in programs] == [(18, 4), (10, 4), (6, 8), (4, 4)]
    told = halved_sweep().meta["schedule"]["saved"]
    assert told["steps"] == sum(one["members"] * one["steps"] for one in programs) == 176
    assert told["steps_of_all"] == 18 * 20


@pytest.mark.parametrize(
    ("runs", "members", "population", "expected"),
    [(1, 24, 1, 1), (5, 24, 1, 6), (9, 24, 1, 12), (17, 24, 1, 24), (17, 18, 1, 18), (24, 24, 1, 24),
     (1, 24, 4, 4), (9, 24, 4, 12), (25, 32, 4, 32)],
)  # fmt: skip
def test_widths_are_few(runs, members, population, expected):
    assert packing.width(runs, Plan(members, "vmap", "scan", population)) == expected


def test_an_arm_that_was_stopped_has_no_result():
    result = halved_sweep()
    going = set(result.runs()["arm"]) - set(result.stopped)
    assert set(result.last()["arm"]) == set(result.table()["arm"]) == going and len(going) == 2
    chosen = result.best("lr", by=LOSS["metric"], better="lower")
    assert chosen.selection
    assert chosen.selection.candidates == {next(iter(set(chosen.runs()["arm"]) & going)): 9}
    compared = fdl.compare(result, metric="test/loss", arms="lr", better="lower")
    assert {one.arm for one in compared.comparisons} <= {f"lr={rate}" for rate in RATES}
    assert len(compared.comparisons) == 1 and compared.verdict.status == "INCONCLUSIVE"
    assert "a scheduler stopped 7 other arms by the seeds that judge" in compared.verdict.sentence
    with pytest.raises(ValueError, match="a scheduler stopped arms or changed them cannot be joined"):
        _ = result + whole()


def test_what_was_lost_is_estimated_by_those_that_ran_on():
    """Where all run on, nothing is estimated: the interval is the chosen arm's true place."""
    told = sweep(experiment, SPACE, scheduler=HALVING._replace(run_on=1.0), **ONE_DEVICE)
    final = {arm: own[-1] for arm, own in curves(whole()).items()}
    lost = told.meta["schedule"]["lost"]
    place = 1 + sum(value < final[lost["chosen"]] for value in final.values())
    assert told.stopped == {} and lost["rank"] == [place, place]
    assert lost["better"] == place - 1 and (lost["left"], lost["ran_on"]) == (8, 8)
    best = min(set(final) - {lost["chosen"]}, key=final.__getitem__)
    early = np.argsort([own[0] for own in curves(whole()).values()]).tolist()
    assert lost["best"]["arm"] == best and lost["best"]["step"] in (4, 8, 16)
    if lost["best"]["step"] == 4:
        assert lost["best"]["rank"] == 1 + early.index(list(final).index(best))


def test_the_interval_of_what_was_not_drawn_covers():
    """In 95 % of draws at least, whatever there is: counted over all numbers of ten, three drawn."""
    for there in range(11):
        things = [place < there for place in range(10)]
        draws = list(itertools.combinations(things, 3))
        within = [low <= there <= high for low, high in (_interval(sum(one), 3, 10) for one in draws)]
        assert np.mean(within) >= 0.95
    assert _interval(0, 3, 10) == (0, 6) and _interval(3, 3, 3) == (3, 3)


def test_seeds_of_an_arm_leave_together_and_a_failed_one_takes_them_along():
    space = fdl.grid(Config(steps=20), noise=(0.0, TOO_MUCH, 0.01), seeds=2)
    result = sweep(experiment, space, scheduler=HALVING._replace(run_on=1.0), **ONE_DEVICE)
    lost = result.meta["schedule"]["left"][f"noise={TOO_MUCH:g}"]
    assert (lost["step"], lost["rank"], lost["of"], lost["ran_on"]) == (4, None, 3, False)
    assert len(result.failures) == 2 and set(result.last()["arm"]) == {"noise=0", "noise=0.01"}


def test_asha_trains_population_after_population():
    asha = fdl.asha(first=4, factor=2, population=3, run_on=0.0, **LOSS)
    result = sweep(experiment, SPACE, scheduler=asha, **ONE_DEVICE)
    rungs = [(one["population"], one["step"]) for one in result.meta["schedule"]["rungs"]]
    assert rungs == sorted(rungs) and {one for one, _ in rungs} == {0, 1, 2}
    first, names, seen = curves(whole()), list(curves(whole())), []
    for population in range(3):
        arms = names[3 * population : 3 * population + 3]
        seen += arms
        top = sorted(seen, key=lambda arm: first[arm][0])[: max(1, len(seen) // 2)]
        left = {arm for arm in arms if result.stopped.get(arm) == 4}
        assert left == set(arms) - set(top)


class Killed(BaseException):
    """Ends a sweep as a kill does: nothing that catches errors catches it."""


@pytest.mark.parametrize(("unit", "after"), [(1, False), (2, True)], ids=["before", "after"])
def test_a_schedule_that_was_killed_between_units_goes_on_bit_for_bit(tmp_path, monkeypatch, unit, after):
    number, real = itertools.count(), scheduled.train_unit

    def dying(*arguments, **options):
        last = next(number) == unit
        if last and not after:
            raise Killed
        trained = real(*arguments, **options)
        if last:
            raise Killed
        return trained

    run = functools.partial(sweep, experiment, SPACE, scheduler=HALVING, workdir=tmp_path, **ONE_DEVICE)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(scheduled, "train_unit", dying)
        run()
    with pytest.raises(ValueError, match="has not come to its end; run `fdl sweep` first"):
        stored(experiment, SPACE, workdir=tmp_path, scheduler=HALVING)
    again = run()
    assert again.frame.equals(halved_sweep().frame) and again.stopped == halved_sweep().stopped
    with monkeypatch.context() as patch:
        patch.setattr(scheduled, "train_unit", None)  # all is only read
        assert run().frame.equals(again.frame)
    assert fdl.load(tmp_path).frame.equals(again.frame)
    read = stored(experiment, SPACE, workdir=tmp_path, scheduler=HALVING)
    assert read.frame.equals(again.frame) and read.meta["schedule"] == again.meta["schedule"]


def test_a_decision_that_changes_is_refused(tmp_path, monkeypatch):
    fickle = HALVING._replace(rungs=(4,), decide=lambda *_: [fdl.Next(int(os.environ["TURN"]))])
    run = functools.partial(sweep, experiment, SPACE, scheduler=fickle, workdir=tmp_path, **ONE_DEVICE)
    monkeypatch.setenv("TURN", "1")
    run()
    monkeypatch.setenv("TURN", "2")
    with pytest.raises(ValueError, match="holds another decision than now"):
        run()


def test_a_user_writes_a_scheduler_of_his_own():
    """That of the page: those go on that are not worse than the median."""

    def median(curves, configs, key):
        now = curves.values[:, -1]
        middle = np.median(now[list(curves.waiting)])
        return [fdl.Next(arm) for arm in curves.waiting if now[arm] <= middle]

    result = sweep(experiment, SPACE, scheduler=HALVING._replace(rungs=(4, 8), decide=median), **ONE_DEVICE)
    assert [one["going"] for one in result.meta["schedule"]["rungs"]] == [5, 3]


ALL = fdl.Scheduler(**LOSS, rungs=(), decide=lambda *_: [])


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (HALVING.decide, "the scheduler is a function; expected fdl.successive_halving"),
        (HALVING._replace(metric="test/loss"), "what chooses may not judge; expected a validation/..."),
        (HALVING._replace(metric="validation/error"), "no metric 'validation/error' for the scheduler"),
        (HALVING._replace(better="less"), "the scheduler's better is 'less'"),
        (HALVING._replace(rungs=(8, 4)), "expected rising steps from 1 on"),
        (HALVING._replace(rungs=(5,)), "a rung at step 5, but runs are evaluated every 4 steps"),
        (HALVING._replace(rungs=(40,)), "first rung is at step 40, but runs end at step 20"),
        (HALVING._replace(population=0), "the scheduler's population is 0; expected"),
        (HALVING._replace(run_on=2.0), "the scheduler's run_on is 2.0; expected"),
    ],
)
def test_what_cannot_lead_a_sweep_is_refused(scheduler, words):
    with pytest.raises(ValueError, match=words):
        check_scheduler(scheduler, groups(), SPACE)


@pytest.mark.parametrize(
    ("going", "words"),
    [
        (None, r"decide gave None; expected a list of fdl.Next\(arm\)"),
        ([0, 1], r"decide gave \[0, 1\]; expected a list of fdl.Next\(arm\)"),
        ([fdl.Next(0)] * 2, r"lets an arm go on twice: \[0, 0\]"),
        ([fdl.Next(99)], "lets arm 99 go on; expected arms that wait"),
    ],
)
def test_a_decision_that_is_none_is_refused(going, words):
    def train(legs, start, until):
        end = {"status": "finished", "step": until}
        return [Ran([{"step": until, LOSS["metric"]: 1.0}], end, ("unit", 0)) for _ in legs]

    with pytest.raises(ValueError, match=words):
        race(SPACE.trials, HALVING._replace(decide=lambda *_: going), (4, 8), train)


def test_arms_that_cannot_be_held_against_each_other_are_refused():
    uneven = fdl.grid(Config(steps=20), lr=(0.1,), seeds=2) + fdl.grid(Config(steps=20), lr=(0.2,), seeds=3)
    with pytest.raises(ValueError, match="the arms have different seeds"):
        sweep(experiment, uneven, scheduler=HALVING)
    with pytest.raises(ValueError, match="the runs have different steps and evaluations"):
        sweep(experiment, fdl.grid(Config(), steps=(20, 40)), scheduler=HALVING)


def test_without_rungs_all_go_on_to_the_end():
    """A grid is a scheduler that never decides: the same numbers, bit for bit."""
    result = sweep(experiment, SPACE, scheduler=ALL, **ONE_DEVICE)
    assert result.frame.equals(whole().frame) and not result.stopped
