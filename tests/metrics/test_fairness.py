"""Differences between groups: a table worked by hand, and fairlearn where it is installed."""

import numpy as np
import pytest

from fdl import metrics

# Group a: of 4 rows 3 get a yes; 2 of its 2 yes-labels, 1 of its 2 no-labels. Group b: of 5 rows 1 gets a
# yes; 1 of its 4 yes-labels, 0 of its 1 no-label.
GROUPS = np.array(list("aaaabbbbb"))
LABELS = np.array([1, 1, 0, 0, 1, 1, 1, 1, 0])
SAID = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0])


def test_the_rates_are_those_worked_by_hand():
    found = metrics.group_rates(SAID, LABELS, GROUPS)
    assert found.groups.tolist() == ["a", "b"] and found.rows.tolist() == [4, 5]
    assert found.selected.tolist() == [0.75, 0.2]
    assert found.true_positive.tolist() == [1.0, 0.25]
    assert found.false_positive.tolist() == [0.5, 0.0]
    assert metrics.demographic_parity_difference(SAID, LABELS, GROUPS) == pytest.approx(0.55)
    assert metrics.equalised_odds_difference(SAID, LABELS, GROUPS) == 0.75


def test_a_rate_that_a_group_does_not_have_is_none_of_0():
    found = metrics.equalised_odds_difference([1, 0, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1])
    assert np.isnan(found)


@pytest.mark.parametrize("seed", range(5))
def test_differences_are_fairlearns(seed):
    fairlearn = pytest.importorskip("fairlearn.metrics")
    rng = np.random.default_rng(seed)
    said, labels, groups = rng.integers(0, 2, 200), rng.integers(0, 2, 200), rng.integers(0, 4, 200)
    ours = metrics.demographic_parity_difference(said, labels, groups)
    theirs = fairlearn.demographic_parity_difference(labels, said, sensitive_features=groups)
    assert ours == pytest.approx(theirs, abs=1e-12)
    ours = metrics.equalised_odds_difference(said, labels, groups)
    theirs = fairlearn.equalized_odds_difference(labels, said, sensitive_features=groups)
    assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1, 2], [0, 1], [0, 0]), "predictions have 2; expected 0 and 1 alone"),
        (([1, 0], [0, 1], [0]), r"have shapes \[2\], \[2\], \[1\]"),
        (([], [], []), "expected"),
    ],
)
def test_what_is_no_decision_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        metrics.group_rates(*given)
