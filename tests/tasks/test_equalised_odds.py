"""Equalised odds against a linear program over all mixtures of thresholds, and against fairlearn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.base import BaseEstimator, ClassifierMixin

from fdl import tasks

RNG = np.random.default_rng(0)


def drawn(rows: int = 400, groups: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that tell the label the less the higher the group is."""
    group, y = RNG.integers(0, groups, rows), RNG.integers(0, 2, rows)
    scores = 1 / (1 + np.exp(-(y - 0.5) * (3 - group) - RNG.normal(size=rows) - 0.4 * group))
    return scores.astype(np.float32), y, group


def rates(said: np.ndarray, y: np.ndarray, group: np.ndarray) -> np.ndarray:
    """False and true positive rates `[G, 2]`."""
    return np.array([[said[(group == g) & (y == v)].mean() for v in (0, 1)] for g in np.unique(group)])


def most_right(scores: np.ndarray, y: np.ndarray, group: np.ndarray, at: np.ndarray) -> float:
    """The best accuracy that mixtures of thresholds have under equal rates, by a linear program."""
    names = np.unique(group)
    each = np.stack([rates(scores >= one, y, group) for one in at], axis=1)  # [G, T, 2]
    size = len(names) * len(at)
    share = np.array([[np.mean((group == g) & (y == v)) for v in (0, 1)] for g in names])
    cost = (share[:, :1] * each[:, :, 0] - share[:, 1:] * each[:, :, 1]).ravel()
    rows, right = [], []
    for place in range(len(names)):
        one = np.zeros((len(names), len(at)))
        one[place] = 1
        rows.append(one.ravel())
        right.append(1.0)
        for side in (0, 1) if place else ():
            same = np.zeros((len(names), len(at)))
            same[0], same[place] = each[0, :, side], -each[place, :, side]
            rows.append(same.ravel())
            right.append(0.0)
    found = linprog(cost, A_eq=np.array(rows), b_eq=right, bounds=[(0, 1)] * size)
    return share[:, 0].sum() - found.fun


@pytest.mark.medium
def test_rates_are_equal_and_no_rule_is_right_more_often():
    scores, y, group = drawn()
    rule = jax.jit(lambda *rows: tasks.equalised_odds(*rows, count=3))(*map(jnp.asarray, (scores, y, group)))
    chance = np.asarray(tasks.chance_of_yes(rule, jnp.asarray(scores), jnp.asarray(group)))
    each = rates(chance, y, group)
    np.testing.assert_allclose(each, np.broadcast_to(each[0], each.shape), atol=1e-5)
    accuracy = np.mean(np.where(y == 1, chance, 1 - chance))
    at = np.append(np.quantile(scores, np.linspace(0, 1, 50)), np.inf).astype(np.float32)
    best = most_right(scores, y, group, at)
    assert best - 1e-3 <= accuracy <= best + 1e-5
    plain = rates(scores >= 0.5, y, group)
    assert np.ptp(plain, axis=0).max() > 0.1, "there was something to mend"


def test_fairlearn_says_the_same():
    fairness: Any = pytest.importorskip("fairlearn.postprocessing", reason="pip install fairlearn")
    scores, y, group = drawn(300, 2)

    class Scores(ClassifierMixin, BaseEstimator):
        """An estimator whose prediction is its input."""

        def fit(self, x, y):
            return self

        def predict(self, x):
            return np.asarray(x)[:, 0]

    theirs = fairness.ThresholdOptimizer(
        estimator=Scores(), constraints="equalized_odds", prefit=True, predict_method="predict"
    )
    theirs.fit(scores[:, None], y, sensitive_features=group)
    said = np.zeros(len(y))
    for one, rule in theirs.interpolated_thresholder_.interpolation_dict.items():
        seen = rule.p0 * rule.operation0(scores) + rule.p1 * rule.operation1(scores)
        mixed = rule.p_ignore * rule.prediction_constant + (1 - rule.p_ignore) * seen
        said = np.where(group == one, mixed, said)
    rule = tasks.equalised_odds(*map(jnp.asarray, (scores, y, group)), count=2, thresholds=300)
    ours = np.asarray(tasks.chance_of_yes(rule, jnp.asarray(scores), jnp.asarray(group)))
    right = [np.mean(np.where(y == 1, one, 1 - one)) for one in (ours, said)]
    assert right[0] == pytest.approx(right[1], abs=2e-3)


def test_a_group_without_a_label_has_no_rule():
    scores, y, group = (jnp.asarray(one) for one in drawn(60, 2))
    rule = tasks.equalised_odds(scores, jnp.where(group == 1, 1, y), group, count=2)
    assert np.isnan(tasks.chance_of_yes(rule, scores, group)).all()
