"""What a search found: the configs that validation chose, trained from seeds that did not choose them."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fdl.configs import at
from fdl.result import Result, Selection
from fdl.sweeps.drawn import Space
from fdl.sweeps.goal import Goal, Values, pareto_front
from fdl.sweeps.led import joined_populations
from fdl.sweeps.space import Sweep, sweep_of


class Search(NamedTuple):
    """What a search found.

    Attributes:
      config: the config that was chosen, by validation; None where there are several metrics.
      judged: its runs, or those of the front, from fresh seeds, which chose nothing: what is measured on test
        is of these alone.
      result: the runs that chose.
      front: by their names in `judged`, the configs that no other one beats in one of the metrics while it is
        as good in all, by validation, the best in the first metric first; of one metric the chosen one.
    """

    config: Any
    judged: Result
    result: Result
    front: dict[str, Any]


class Found(NamedTuple):
    """Trials in their order: their configs and values (None without), the names and the runs of all,
    population by population, and how many more were asked that the space does not allow."""

    configs: list[Any]
    values: list[Values | None]
    arms: dict[Any, str]
    results: list[Result]
    refused: int


def from_fresh_seeds(
    found: Found,
    space: Space,
    goal: Goal,
    judges: int,
    train: Callable[[Sweep, Sequence[Result]], Result],
    sampler: str,
) -> Search:
    """The chosen config, or those of the front, trained from fresh seeds by `train(runs, before)`."""
    finite = {
        config: values
        for config, values in zip(found.configs, found.values, strict=True)
        if values is not None
    }
    chosen = pareto_front(finite, goal.better.values())
    chosen = chosen if len(goal.better) > 1 else chosen[:1]  # of equals the one that was asked first
    arms = {found.arms[config]: config for config in chosen}
    fresh = list(itertools.islice((seed for seed in itertools.count() if seed not in goal.seeds), judges))
    tried = joined_populations(found.results)
    runs = train(sweep_of(arms.items(), fresh), found.results)
    whole = joined_populations([tried, runs])  # its costs are of all
    result = whole.where(arm=list(arms), seed=fresh)
    told = {
        **goal._asdict(),
        "sampler": sampler,
        "judges": fresh,
        "refused": found.refused,
        "front": [found.configs.index(config) for config in chosen],
        "trials": [_told(number, found, tried.stopped, space, goal) for number in range(len(found.configs))],
    }
    # Every arm of them is chosen of all that were trained.
    over = tuple(dict.fromkeys(name.partition(".")[0] for name in space.fields))
    candidates = dict.fromkeys(arms, len(found.arms))
    selection = Selection(over, tuple(goal.better), frozenset(goal.seeds), candidates)
    configs = {arm: result.meta["configs"][arm] for arm in arms}
    meta = {**result.meta, "configs": configs, "search": told}
    result = dataclasses.replace(result, selection=selection, meta=meta, stopped={})
    return Search(None if len(goal.better) > 1 else chosen[0], result, tried, arms)


def _told(number: int, found: Found, stopped: Mapping[str, int], space: Space, goal: Goal) -> dict[str, Any]:
    """A trial as the report has it."""
    config, values = found.configs[number], found.values[number] or (None,) * len(goal.better)
    fields = {name: at(config, name) for name in space.fields}
    left = {"stopped at": stopped.get(found.arms[config])} if stopped else {}
    return {"trial": number, **fields, **dict(zip(goal.better, values, strict=True)), **left}
