"""Several metrics of the same runs, as arms."""

import dataclasses
from typing import Any

import pytest

from fdl.result import Result
from fdl.stats import compare, metrics_as_arms
from tests.stats.results import BASE, METRIC, NOISE, make, run

TWO = {"low": METRIC, "high": "test/other"}


FAILED = {"arm": "skip-True", "skip": True, "lr": 0.1, "seed": 99, "step": 3, "metric": "train/loss"}


def measured(*failures: dict[str, Any]) -> Result:
    """One arm with two metrics, of which the other is 0.2 above."""
    values = zip(BASE, BASE + 0.2 + NOISE, strict=True)
    runs = [run(True, seed, one, **{"test/other": other}) for seed, (one, other) in enumerate(values)]
    return make(runs, failures)


def test_metrics_are_compared_as_if_each_was_an_arms() -> None:
    found = compare(metrics_as_arms(measured(), TWO), metric="measure/value", arms="measure")
    (pair,) = found.comparisons
    assert pair.difference == pytest.approx(0.2)
    assert (pair.n, pair.arm_mean) == (8, pytest.approx(BASE.mean() + 0.2))


def test_a_failed_run_failed_for_each_of_its_metrics() -> None:
    both = metrics_as_arms(measured(FAILED), TWO, name="which")
    assert both.failures["arm"].tolist() == ["skip-True, which=low", "skip-True, which=high"]
    assert both.failures["which"].tolist() == ["low", "high"]
    assert both.fields == ("skip", "lr", "which")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"metrics": {"a": "test/nothing"}}, "no metric 'test/nothing'"),
        ({"metrics": TWO, "name": "lr"}, "a column 'lr' already"),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        metrics_as_arms(measured(), **given)


def test_arms_that_a_scheduler_stopped_are_refused() -> None:
    with pytest.raises(ValueError, match=r"as fdl\.sweep gives it"):
        metrics_as_arms(dataclasses.replace(measured(), stopped={"skip-True": 10}), TWO)
