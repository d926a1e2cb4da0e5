"""Interactions: whether an arm helps more in one setting than in another."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from fdl.arguments import checked
from fdl.cells import Identity
from fdl.result import Better, Result
from fdl.stats.arms import (
    choose_baseline,
    final_values,
    how_chosen,
    label,
    paired,
    trained_runs,
    without_value,
)
from fdl.stats.comparison import Contrast, compared
from fdl.stats.conclusion import conclude
from fdl.stats.criterion import Criterion, check_criterion
from fdl.stats.failures import Policy, check_failures, count_failures
from fdl.stats.verdict import Comparisons
from fdl.text import no_effects

Cell = tuple[Identity, Identity]
"""An arm, and the setting in which it was run."""


@checked
def difference_in_differences(
    result: Result,
    *,
    metric: str,
    arms: str,
    settings: str,
    baseline: Any = dataclasses.MISSING,
    setting: Any = dataclasses.MISSING,
    better: Better = "higher",
    at_least: float = 0.0,
    equivalent: float | None = None,
    failures: Policy = "worst",
) -> Comparisons:
    """Compares how much an arm gains on the baseline in one setting with how much it gains in another:
    "skip connections help more when the net is deep".

    What is compared is, for each seed, the difference of two differences (arm less baseline), each of two
    runs of that seed: the interaction of a two by two design with seeds as blocks (Fisher 1935, chapter 6;
    "difference in differences" after Ashenfelter and Card 1985). It is on the metric's own scale: of
    accuracies near 1 an arm that halves the errors gains less where there are fewer. By
    the rules of `compare`, whose rates of errors hold for it, with seeds that have all four runs as pairs.

    Args:
      result: the runs.
      metric: as `"test/accuracy"`.
      arms: the config field whose values are the arms.
      settings: the other field, in whose values the gains are compared.
      baseline: the value of `arms` on which the others gain; the first to appear if not given.
      setting: the value of `settings` with which the others are compared; the first to appear if not given.
      better: whether the gain should be `"higher"` or `"lower"` than in that setting.
      at_least: by how much, in the metric's unit.
      equivalent: claim instead that gains differ by no more than this, to either side.
      failures: as for `compare`.

    Returns:
      A comparison for each further arm in each further setting, and the verdict on all. `arm_mean` and
      `baseline_mean` are the mean gains in either setting.

    Raises:
      ValueError: as `compare`, or an arm that was not run in every setting.

    Example:
      >>> import fdl, pandas as pd
      >>> means = {(8, 0): 0.90, (8, 1): 0.92, (64, 0): 0.70, (64, 1): 0.93}
      >>> cells = [(d, s, seed, mean) for (d, s), mean in means.items() for seed in range(8)]
      >>> each = [(d, s, seed, mean + 0.01 * (seed * d * s % 3)) for d, s, seed, mean in cells]
      >>> rows = [(f"depth={d} skip={s}", d, s, seed, 10, "finished", value) for d, s, seed, value in each]
      >>> names = ["arm", "depth", "skip", "seed", "step", "status", "test/accuracy"]
      >>> failures = pd.DataFrame(columns=["arm", "depth", "skip", "seed", "step", "metric"])
      >>> result = fdl.Result(pd.DataFrame(rows, columns=names), ("depth", "skip"), failures, {})
      >>> found = fdl.difference_in_differences(result, metric="test/accuracy", arms="skip", settings="depth")
      >>> one = found.comparisons[0]
      >>> found.verdict.status, round(one.arm_mean, 2), round(one.baseline_mean, 2)
      ('SUPPORTED', 0.24, 0.03)
    """
    if arms == settings or not {arms, settings} <= set(result.fields):
        raise ValueError(
            f"arms={arms!r} and settings={settings!r}; expected two different fields of "
            f"{', '.join(result.fields)}"
        )
    where = list(final_values(result, metric, settings, by=arms))
    there = choose_baseline(where, settings, setting, result.stopped)
    values = {
        (arm, place): series
        for place in where
        for arm, series in final_values(result.where(**{settings: place[1]}), metric, arms).items()
    }
    every = list(dict.fromkeys(arm for arm, _ in values))
    base = choose_baseline(every, arms, baseline, result.stopped)
    if absent := [(arm, place) for place in where for arm in every if (arm, place) not in values]:
        raise ValueError(f"no run of {_told(absent[0], arms, settings)}; run every arm in every setting")
    others = [(arm, place) for arm in every if arm != base for place in where if place != there]
    criterion = Criterion(better, at_least, equivalent, len(others))
    check_criterion(criterion)
    check_failures(failures)
    counted = count_failures(values, failures, better)

    def gain(arm: Identity, place: Identity) -> Any:
        one, other = paired(counted.values[arm, place], counted.values[base, place], "seed")
        return one - other

    slices = {place: result.where(**{settings: place[1]}) for place in where}
    trained = {place: trained_runs(one, arms) for place, one in slices.items()} if result.same else {}
    scale = max(2 * float(series.abs().mean()) for series in counted.values.values())
    contrasts = [
        Contrast(
            f"the gain of {label(arms, arm)} on {label(arms, base)} at {label(settings, place)}",
            f"that at {label(settings, there)}",
            (gain(arm, place), gain(arm, there)),
            ((arm, place), (base, place)),
            ((arm, there), (base, there)),
            bool(trained) and _same((arm, base), (trained[place], trained[there])),
        )
        for arm, place in others
    ]
    mine = {place: {arm: values[arm, place] for arm in every} for place in where}
    chosen = [how_chosen(slices[place], arms, mine[place]) for place in where]
    without = {
        (arm, place): count
        for place in where
        for arm, count in without_value(slices[place], arms, mine[place]).items()
    }
    sound, how = min(chosen, key=lambda one: (one[0], not one[1]))
    without_effect = "".join(f" {sentence}." for sentence in no_effects(result.same))
    return conclude(
        contrasts,
        criterion,
        metric=metric,
        by="seed",
        counted=counted,
        without=without,
        names={cell: _told(cell, arms, settings) for cell in values},
        failures=failures,
        numbers_of=functools.partial(compared, scale=scale),
        chosen=(sound, without_effect + how),
    )


def _same(of: tuple[Identity, Identity], trained: Sequence[Mapping[Identity, Mapping[Any, str]]]) -> bool:
    """Whether an arm gains on another what it gains in another setting by construction: of every seed the
    runs that are added are those that are taken away.

    Args:
      of: the two arms.
      trained: of `trained_runs`, in either setting.
    """
    (arm, base), (here, there) = of, trained
    seeds = here[arm].keys() & here[base].keys() & there[arm].keys() & there[base].keys()
    return bool(seeds) and all(
        {here[arm][seed], there[base][seed]} == {here[base][seed], there[arm][seed]} for seed in seeds
    )


def _told(cell: Cell, arms: str, settings: str) -> str:
    return f"{label(arms, cell[0])} at {label(settings, cell[1])}"
