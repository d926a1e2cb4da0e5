"""By what the trials of a search are judged, and which of them are best."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdl.experiment import Experiment
from fdl.result import Better, Result
from fdl.text import counted
from fdl.train.check import check

Values = tuple[float, ...]
"""A trial's means over seeds, in the order of the metrics."""


class Goal(NamedTuple):
    """What a search looks for.

    Attributes:
      better: by metric of validation which way it is better.
      seeds: those of every trial.
    """

    better: Mapping[str, Better]
    seeds: list[int]

    def __str__(self) -> str:
        return " and ".join(self.better)


def goal_of(
    metric: str | Sequence[str] | None,
    better: Better | Sequence[Better] | None,
    experiment: Experiment,
    seeds: list[int],
) -> Goal:
    """The goal of a search; the metric and its better side are by default those of the experiment's `best`.

    Raises:
      ValueError: none is known, one is not of validation, not there or there twice, or the sides are not as
        many as the metrics.
    """
    best = experiment.best
    metrics = (metric,) if isinstance(metric, str) else tuple(metric or ())
    metrics = metrics or ((best.metric,) if best else ())
    if not metrics:
        raise ValueError("no metric to search by; give one of validation, as --metric validation/loss")
    for one in metrics:
        if not one.startswith("validation/"):
            raise ValueError(f"the metric is {one!r}: what chooses may not judge; expected a validation/...")
    if len(set(metrics)) < len(metrics):
        raise ValueError(f"the metrics are {', '.join(metrics)}; name each once")
    names = check(experiment)
    for one in metrics:
        if one not in names:
            raise ValueError(f"no metric {one!r}; there are: {', '.join(names)}")
    if better is None and best and metrics == (best.metric,):
        better = best.better
    sides = (better,) if isinstance(better, str) else tuple(better or ())
    if not sides:
        raise ValueError(f"which way is {metrics[0]} better? say --better higher, or lower")
    if len(sides) != len(metrics):
        raise ValueError(
            f"there are {counted(len(metrics), 'metric')} ({', '.join(metrics)}), and which way is better is "
            f"said of {len(sides)}; say it of each, as --better {','.join(['higher'] * len(metrics))}"
        )
    return Goal(dict(zip(metrics, sides, strict=True)), seeds)


def values_of(result: Result, arm: str, goal: Goal) -> Values | None:
    """A trial's values: the means of its seeds' runs, if all came to numbers."""
    last = result.last()
    if any(metric not in last for metric in goal.better):
        return None
    values = last.loc[last["arm"] == arm, list(goal.better)].to_numpy(float)
    return tuple(map(float, values.mean(0))) if len(values) == len(goal.seeds) and _finite(values) else None


def _finite(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all())


def pareto_front(values: Mapping[Any, Values], sides: Iterable[Better]) -> list[Any]:
    """The names of the Pareto front: of those values that no other ones beat in one metric while they are as
    good in all; in the order of the first metric, the best first.

    >>> pareto_front({"a": (0.9, 3.0), "b": (0.8, 1.0), "c": (0.8, 2.0)}, ["higher", "lower"])
    ['a', 'b']
    """
    signs = np.array([-1.0 if side == "higher" else 1.0 for side in sides])
    losses = np.array(list(values.values())).reshape(-1, len(signs)) * signs
    kept = {
        name: tuple(loss)
        for name, loss in zip(values, losses, strict=True)
        if not ((losses <= loss).all(1) & (losses < loss).any(1)).any()
    }
    return sorted(kept, key=kept.__getitem__)
