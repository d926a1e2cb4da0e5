"""F1 by its definition, the area under the curve by counting pairs."""

import numpy as np
import pytest

from fdl.metrics import f1, roc_auc

RNG = np.random.default_rng(0)


def defined(said, true):
    hit, wrong, missed = (said & true).sum(), (said & ~true).sum(), (~said & true).sum()
    return 0.0 if not hit else 2 * hit / (2 * hit + wrong + missed)


@pytest.mark.parametrize("several", [False, True])
def test_f1_is_its_definition(several):
    shape = (50, 3) if several else 50
    said, true = RNG.integers(0, 2 if several else 3, shape), RNG.integers(0, 2 if several else 3, shape)
    columns = [(said[:, c] == 1, true[:, c] == 1) if several else (said == c, true == c) for c in range(3)]
    each = [defined(*column) for column in columns]
    counts = [column[1].sum() for column in columns]
    together = defined(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
    assert f1(said, true) == pytest.approx(np.mean(each))
    assert f1(said, true, average="weighted") == pytest.approx(np.average(each, weights=counts))
    assert f1(said, true, average="micro") == pytest.approx(together)


def pairs(scores, true):
    above, below = scores[true][:, None], scores[~true][None]
    return np.mean((above > below) + 0.5 * (above == below))


def test_the_area_is_how_often_a_positive_is_above_a_negative():
    scores, labels = RNG.integers(0, 9, 80) / 9, RNG.integers(0, 2, 80)
    assert roc_auc(scores, labels) == pytest.approx(pairs(scores, labels == 1))
    many, classes = RNG.normal(size=(80, 4)), RNG.integers(0, 4, 80)
    wanted = np.mean([pairs(many[:, c], classes == c) for c in range(4)])
    assert roc_auc(many, classes) == pytest.approx(wanted)
    several = RNG.integers(0, 2, (80, 4))
    wanted = np.mean([pairs(many[:, c], several[:, c] == 1) for c in range(4)])
    assert roc_auc(many, several) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: f1(np.ones(3), np.ones(4)), r"predictions have shape \[3\] and labels \[4\]"),
        (lambda: f1([], []), "with at least one row"),
        (lambda: roc_auc(np.ones(3), np.ones(3)), "class 0 has 3 of 3 rows"),
        (lambda: roc_auc(np.ones((4, 3)), np.array([0, 1, 1, 0])), "class 2 has 0 of 4 rows"),
        (lambda: roc_auc(np.ones((3, 2)), np.array([0, 1, 2])), "labels go from 0 to 2; expected 0 to 1"),
        (lambda: roc_auc(np.array([0.0, np.nan]), np.array([0, 1])), "expected finite scores"),
        (lambda: roc_auc(np.ones(3), np.ones(2)), r"scores have shape \[3\] and labels \[2\]"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
