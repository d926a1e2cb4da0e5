"""What a figure shows, in words: for those who do not see it."""

from collections.abc import Callable

import numpy as np

from fdl import formats
from fdl.margins import mean_and_margin
from fdl.report import tables
from fdl.report.layout import extremes
from fdl.result import Result

MOST = 12
"""Arms whose numbers are told; of more, those of the highest and lowest means."""


def of_curves(result: Result, metric: str) -> str:
    """Each arm's mean at the last evaluation, with its margin, and how far the steps go."""
    frame = tables.curve_rows(result, metric)
    frame, what = frame[frame["status"] != "failed"], "evaluation" if frame is result.frame else "logged mean"
    count, last = frame["step"].nunique(), frame["step"].max()
    return (
        f"Learning curves: the mean of {metric} over seeds by step, {count} {what}{'s' * (count != 1)} "
        f"to step {last}. {_each(result, metric, lambda values: formats.estimate(*mean_and_margin(values)))}"
    )


def of_distribution(result: Result, metric: str) -> str:
    """Each arm's median and range at the last evaluation."""

    def spread(values: np.ndarray) -> str:
        low, middle, high = (formats.number(float(np.quantile(values, share))) for share in (0, 0.5, 1))
        return f"{middle} ({low} to {high}, {values.size} run{'s' * (values.size != 1)})"

    return (
        f"Box plots: {metric} of every seed at the last evaluation, by arm, as median and range. "
        f"{_each(result, metric, spread)}"
    )


def of_parallel(result: Result, metric: str) -> str:
    """Which fields there are, and each end's arms."""

    def mean(values: np.ndarray) -> str:
        return formats.number(float(values.mean()))

    fields = ", ".join(short(field, 40) for field in result.varying)
    return (
        f"Parallel coordinates: a line an arm across {fields} to the mean of {metric} over seeds. "
        f"{_each(result, metric, mean)}"
    )


def short(text: str, most: int) -> str:
    """At most so many characters of a text, its beginning and its end; none that has no picture."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= most else f"{text[: most * 2 // 3 - 1]}…{text[-(most - most * 2 // 3) :]}"


def _each(result: Result, metric: str, show: Callable[[np.ndarray], str]) -> str:
    last = result.last()
    groups = last[last[metric].notna()].groupby("arm")[metric]
    arms = extremes(result, metric, MOST)
    told = [f"{short(arm, 80)}: {show(groups.get_group(arm).to_numpy(float))}" for arm in arms]
    rest = groups.ngroups - len(arms)
    return f"From the highest mean: {'; '.join(told)}{f'; {rest} arms lie between' if rest else ''}."
