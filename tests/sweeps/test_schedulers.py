"""Schedulers on frozen curves: who goes on, rung by rung, against the papers' algorithms and Optuna."""

import math
from typing import Any

import jax
import numpy as np
import optuna
import pytest

import fdl
from fdl.sweeps.schedulers import brackets
from tests.sweeps.frozen import curves_of, survivors

LOSS: dict[str, Any] = {"metric": "validation/loss", "better": "lower"}


def halved(losses: np.ndarray, arms: list[int], *, r: int, eta: int) -> list[tuple[int, set[int], set[int]]]:
    """Jamieson & Talwalkar 2016, in the words of Li et al. 2018, algorithm 1, lines 5 to 9."""
    found, left, n, i = [], list(arms), len(arms), 0
    while (r_i := r * eta**i) < losses.shape[1]:
        n_i = math.floor(n * float(eta) ** -i)
        value = {arm: losses[arm, r_i - 1] for arm in left}
        top = sorted(left, key=value.__getitem__)[: max(1, math.floor(n_i / eta))]
        found.append((r_i, set(left), set(top)))
        left, i = top, i + 1
    return found


@pytest.mark.parametrize("arms", [1, 2, 10, 27, 32])
@pytest.mark.parametrize("eta", [2, 3])
@pytest.mark.parametrize("sign", [1, -1], ids=["lower", "higher"])
def test_successive_halving_is_the_papers(arms, eta, sign):
    losses = curves_of(arms, arms, 30)
    goal: dict[str, Any] = {**LOSS, "better": "lower" if sign == 1 else "higher"}
    ours = list(survivors(fdl.successive_halving(first=2, factor=eta, **goal), sign * losses))
    assert ours == halved(losses, list(range(arms)), r=2, eta=eta)
    assert len(ours) >= 3


@pytest.mark.parametrize("eta", [2, 3])
def test_hyperband_is_the_papers(eta):
    """Li et al. 2018, algorithm 1, with R = eta² r: n of each bracket, then each halved by itself."""
    s_max, r, steps = 2, 3, 3 * eta**2
    sizes = [math.ceil((s_max + 1) * eta**s / (s + 1)) for s in range(s_max, -1, -1)]
    losses = curves_of(eta, sum(sizes), steps)
    dealt = brackets(sum(sizes), s_max, factor=eta, draw_seed=5)
    assert [dealt.count(start) for start in range(s_max + 1)] == sizes
    assert dealt != sorted(dealt)  # a grid's order means something
    expected: dict[int, tuple[set[int], set[int]]] = {r * eta**k: (set(), set()) for k in range(s_max)}
    for start in range(s_max + 1):
        arms = [arm for arm, own in enumerate(dealt) if own == start]
        before = {r * eta**k: (set(arms), set(arms)) for k in range(start)}
        own = {step: pair for step, *pair in halved(losses, arms, r=r * eta**start, eta=eta)}
        for step, (came, went) in {**before, **own}.items():
            expected[step] = (expected[step][0] | came, expected[step][1] | went)
    ours = survivors(fdl.hyperband(first=r, factor=eta, draw_seed=5, **LOSS), losses)
    assert {step: (came, went) for step, came, went in ours} == expected


@pytest.mark.parametrize(("arms", "rungs"), [(1, 2), (10, 3), (100, 1)])
def test_every_arm_has_a_bracket(arms, rungs):
    dealt = brackets(arms, rungs, factor=3, draw_seed=0)
    assert len(dealt) == arms and set(dealt) <= set(range(rungs + 1))
    assert dealt.count(0) >= dealt.count(rungs)


@pytest.mark.parametrize("eta", [2, 3])
def test_asha_of_one_worker_is_optunas_pruner(eta):
    """With one arm a population, as one worker that runs trial after trial."""
    losses = curves_of(7, 40, 30)
    ours = list(survivors(fdl.asha(first=2, factor=eta, population=1, **LOSS), losses))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=eta)
    study = optuna.create_study(pruner=pruner)
    kept, left = {}, {}
    for arm in range(len(losses)):
        trial = study.ask()
        for step in range(1, losses.shape[1] + 1):
            trial.report(losses[arm, step - 1], step)
            if trial.should_prune():
                left[arm] = step
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            kept[arm] = study.tell(trial, losses[arm, -1])
    assert {min(came): step for step, came, went in ours if not went} == left
    assert len(kept) > 3 and len(set(left.values())) == len({step for step, *_ in ours})


def test_asha_decides_among_all_that_came_so_far():
    """Li et al. 2020, algorithm 2: at a rung the top 1 / eta of those that completed it."""
    losses, population = curves_of(3, 24, 20), 6
    rung: dict[int, list[int]] = {}
    for step, came, went in survivors(fdl.asha(first=2, factor=3, population=population, **LOSS), losses):
        reached = rung.setdefault(step, [])
        reached += sorted(came)
        top = sorted(reached, key=lambda arm: losses[arm, step - 1])[: max(1, len(reached) // 3)]
        assert went == came & set(top)
    assert len(rung[2]) == 24 and len(rung[18]) < 10


def test_a_rung_whose_arms_have_all_left_is_decided_by_the_others_alone():
    """Failed arms are not numbers: they push nobody out."""
    losses = curves_of(1, 9, 10)
    losses[[0, 4], :] = np.nan
    known = fdl.Curves(losses[:, :2], (1, 2), tuple(set(range(9)) - {0, 4}), (2, 6))
    going = fdl.successive_halving(first=2, **LOSS).decide(known, [None] * 9, jax.random.key(0))
    assert {one.arm for one in going} == set(np.argsort(losses[:, 1])[:3].tolist())


@pytest.mark.parametrize(
    ("make", "wrong", "words"),
    [
        (fdl.successive_halving, {"factor": 1}, "factor is 1; expected at least 2"),
        (fdl.asha, {"first": 0}, "first is 0; expected at least 1"),
        (fdl.hyperband, {"run_on": 2.0}, "run_on is 2.0; expected from 0 to 1"),
        (fdl.asha, {"better": "less"}, "better is 'less'"),
    ],
)
def test_wrong_arguments_are_refused(make, wrong, words):
    with pytest.raises(ValueError, match=words):
        make(**{"first": 2, **LOSS, **wrong})
