"""Whether an arm helps more in one setting than in another, against comparisons of differences by hand."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import fdl
from fdl.stats import compare, difference_in_differences
from tests.stats.results import BASE, METRIC, NOISE, arms, make, run

N = len(BASE)


def crossed(values: Mapping[tuple[Any, float], np.ndarray]) -> fdl.Result:
    """A result of two fields: skip, and lr as the setting."""
    return make(
        [
            run(skip, seed, value, lr=lr, arm=f"skip={skip} lr={lr}")
            for (skip, lr), by_seed in values.items()
            for seed, value in enumerate(by_seed)
        ]
    )


def gains(shallow: np.ndarray, deep: np.ndarray) -> fdl.Result:
    """Runs in two settings, in which skip=True gains so much."""
    return crossed(
        {
            (False, 0.1): BASE,
            (True, 0.1): BASE + shallow,
            (False, 0.2): BASE[::-1] - 0.1,
            (True, 0.2): BASE[::-1] - 0.1 + deep,
        }
    )


def asked(result: fdl.Result, **options: Any) -> Any:
    return difference_in_differences(result, metric=METRIC, arms="skip", settings="lr", **options)


@pytest.mark.parametrize(
    ("at_least", "status"), [(0.0, "SUPPORTED"), (0.1, "SUPPORTED"), (0.2, "INCONCLUSIVE"), (0.3, "REFUTED")]
)
def test_it_is_the_comparison_of_the_two_gains_by_seed(at_least: float, status: str) -> None:
    shallow, deep = 0.05 + NOISE, 0.25 + NOISE[::-1]
    found = asked(gains(shallow, deep), at_least=at_least)
    (one,) = found.comparisons
    (reference,) = compare(
        arms({False: shallow, True: deep}), metric=METRIC, arms="skip", at_least=at_least
    ).comparisons
    for name in ("n", "arm_mean", "baseline_mean", "difference", "low", "high", "p", "seeds_needed"):
        assert getattr(one, name) == pytest.approx(getattr(reference, name)), name
    assert found.verdict.status == one.status == reference.status == status
    assert "the gain of skip=True on skip=False at lr=0.2" in found.verdict.sentence


def test_an_effect_of_either_field_alone_is_no_interaction() -> None:
    result = gains(0.3 + NOISE, 0.3 + NOISE[::-1])
    assert asked(result, equivalent=0.05).verdict.status == "SUPPORTED"
    assert asked(result).verdict.status == "INCONCLUSIVE"


def test_gains_that_differ_by_rounding_of_the_metric_are_equal() -> None:
    tiny = np.finfo(np.float32).eps * 0.05 * np.arange(1, N + 1)
    (one,) = asked(gains(np.zeros(N), tiny)).comparisons
    assert one.tied and one.status == "INCONCLUSIVE"


def test_a_seed_counts_only_with_all_four_runs() -> None:
    result = gains(0.05 + NOISE, 0.25 + NOISE[::-1])
    frame = result.frame
    lost = (frame["seed"] == 2) & (frame["lr"] == 0.1) & ~frame["skip"].astype(bool)
    (one,) = asked(fdl.Result(frame[~lost], result.fields, result.failures, {})).comparisons
    assert (one.n, one.dropped) == (N - 1, 1)


def test_holm_counts_every_further_arm_and_setting() -> None:
    sizes = {(skip, lr): 0.1 * skip * lr for skip in (0, 1, 2) for lr in (0.1, 0.2, 0.3)}
    found = asked(crossed({cell: BASE + size + size * NOISE for cell, size in sizes.items()}))
    assert [one.arms for one in found.comparisons] == [4] * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arms": "lr"}, "two different fields"),
        ({"arms": "depth"}, "two different fields"),
        ({"setting": 0.7}, "no arm lr=0.7"),
        ({"baseline": 3}, "no arm skip=3"),
    ],
)
def test_what_is_refused(options: dict[str, Any], words: str) -> None:
    given = {"metric": METRIC, "arms": "skip", "settings": "lr", **options}
    with pytest.raises(ValueError, match=words):
        difference_in_differences(gains(NOISE, NOISE), **given)


def test_an_arm_that_is_missing_in_a_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"no run of skip=True at lr=0\.2"):
        asked(crossed({(False, 0.1): BASE, (True, 0.1): BASE, (False, 0.2): BASE}))
