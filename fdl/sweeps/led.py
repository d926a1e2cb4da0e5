"""Populations of a search, as its scheduler leads them if it has one, and what all came to."""

import dataclasses
import functools
import itertools
import operator
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fdl.experiment import Experiment
from fdl.parallel.plan import Overrides
from fdl.result import Better, Result
from fdl.serialization import digest
from fdl.storage import Folder
from fdl.sweeps.check import checked_groups
from fdl.sweeps.executor import Executor
from fdl.sweeps.outlook import lost_by_stopping
from fdl.sweeps.racing import Left
from fdl.sweeps.schedule_check import check_scheduler
from fdl.sweeps.scheduled import How
from fdl.sweeps.schedulers import Curves, Decide, Next, Scheduler
from fdl.sweeps.space import Sweep
from fdl.sweeps.trained_by import trained_by
from fdl.train.folder import held


def goal_of_led(
    scheduler: Scheduler,
    metric: str | Sequence[str] | None,
    better: Better | Sequence[Better] | None,
    *,
    trials: int,
    population: int,
) -> tuple[str, Better]:
    """By which metric a search chooses whose populations a scheduler leads, and which way it is better: that
    by which it stops.

    Raises:
      ValueError: another was given, or several; or the last population were not whole, and to go on from it
        would race its trials a second time.
    """
    own = (scheduler.metric, scheduler.better)
    given = tuple(
        one if isinstance(one, str) else " and ".join(one)
        for one in (metric or scheduler.metric, better or scheduler.better)
    )
    if given != own:
        raise ValueError(
            f"the search is by {given[0]}, {given[1]} being better, and its scheduler stops by {own[0]}, "
            f"{own[1]} being better; give both the same"
        )
    if trials % population:
        fewer = trials // population * population
        near = " or ".join(str(n) for n in (fewer, fewer + population) if n)
        raise ValueError(
            f"{trials} trials are no whole number of populations of {population}, which a scheduler races "
            f"each as one; give trials={near}, or another population"
        )
    return own


def train_population(
    experiment: Callable[[Any], Experiment],
    executor: Executor | None,
    scheduler: Scheduler | None,
    how: How,
    directory: Folder | None,
    about: Mapping[str, Any],
    program: Mapping[str, Any],
    population: Sweep,
    before: Sequence[Result],
    configs: Iterable[Any],
) -> Result:
    """Trains a search's next population, as its scheduler leads it if there is one; what is stored is read.

    Args:
      experiment: `config -> Experiment`.
      executor: who trains; this process if None.
      scheduler: that of the search, if any.
      how: how it is trained.
      directory: the search's.
      about: what that directory is known by.
      program: what all runs share.
      population: the trials.
      before: the results of earlier populations.
      configs: theirs, in the order of their arms.

    Raises:
      ValueError: as `sweep`; or the scheduler changes arms, then or later.
    """
    began, shared = time.monotonic(), program if directory else None
    own = Overrides(how.overrides.members) if executor else how.overrides  # the mesh is one of the workers'
    groups = checked_groups(experiment, population, directory, own, program=shared, reused=how.reused)
    lead = None if scheduler is None else leads(scheduler, before, configs)
    if lead is not None:
        check_stays(check_scheduler(lead, groups, population))
    with held(directory, about, restart=False, say=how.progress.say):
        result = trained_by(executor, experiment, groups, population, lead, how, directory, began, program)
    check_stays(result.lineages)
    return result


def check_stays(changed: Collection[str]) -> None:
    """Raises `ValueError` where a search's scheduler changed arms: a trial is one config, and its value that
    of runs of it."""
    if changed:
        raise ValueError(
            f"the search's scheduler changes arms, as {next(iter(changed))!r}, or has them copy, and a trial "
            "is one config from beginning to end; give a search one that only stops arms, as fdl.asha(...), "
            "or this one a sweep: fdl.sample(...) with it"
        )


def leads(scheduler: Scheduler, before: Sequence[Result], configs: Iterable[Any]) -> Scheduler:
    """Who leads a search's next population.

    One that decides on populations (`asha`) holds it against all earlier ones; another (halving, `hyperband`)
    decides on each by itself. Which arms run on is drawn for each anew.

    Args:
      scheduler: that of the search.
      before: the results of earlier populations.
      configs: theirs, in the order of their arms.
    """
    draw = int(digest([scheduler.draw_seed, len(before)]), 16) % 2**31
    own = scheduler._replace(draw_seed=draw)
    if scheduler.population is None or not before:
        return own
    parts = [curves_of(one, scheduler.metric) for one in before]
    values = np.full((sum(map(len, parts)), max(part.shape[1] for part in parts)), np.nan)
    first = 0
    for part in parts:
        values[first : first + len(part), : part.shape[1]] = part
        first += len(part)
    return own._replace(decide=functools.partial(_among, scheduler.decide, values, tuple(configs)))


def curves_of(result: Result, metric: str) -> np.ndarray:
    """What decided on the arms of a population, as of `Curves.values`: `[arms, evaluations]`."""
    frame, left = result.frame, result.meta["schedule"]["left"]
    places = {arm: i for i, arm in enumerate(result.meta["configs"])}
    seeds = {seed: i for i, seed in enumerate(dict.fromkeys(result.runs()["seed"]))}
    steps = sorted({*frame["step"]})
    each = np.full((len(seeds), len(places), len(steps)), np.nan)
    for row in frame.to_dict("records"):
        arm, step = row["arm"], row["step"]
        if arm not in left or step <= left[arm]["step"]:
            each[seeds[row["seed"]], places[arm], steps.index(step)] = row[metric]
    return each.mean(axis=0)


def at_rungs(result: Result) -> dict[str, tuple[int, float]]:
    """Of each arm that a scheduler stopped the step where, and the mean over seeds there of the metric by
    which it did. Not of those with a run that failed."""
    if "schedule" not in result.meta:
        return {}
    metric, found = result.meta["schedule"]["metric"], {}
    frame, failed = result.frame, set(result.failures["arm"])
    for arm, step in result.stopped.items():
        if arm in failed:
            continue
        values = frame.loc[(frame["arm"] == arm) & (frame["step"] == step), metric].to_numpy(float)
        if np.isfinite(values).all():
            found[arm] = (step, float(values.mean()))
    return found


def joined_populations(results: Sequence[Result]) -> Result:
    """Results of one search as one, in which arms stay stopped; their schedules together, where they have
    any."""
    bare = [
        dataclasses.replace(one, stopped={}, meta={k: v for k, v in one.meta.items() if k != "schedule"})
        for one in results
    ]
    stopped = {arm: step for one in results for arm, step in one.stopped.items()}
    whole = dataclasses.replace(functools.reduce(operator.add, bare), stopped=stopped)
    told = [one.meta["schedule"] for one in results if "schedule" in one.meta]
    if not told:
        return whole
    if len(told) == 1:
        return dataclasses.replace(whole, meta={**whole.meta, "schedule": told[0]})
    first, ended = told[0], all(one["saved"] is not None for one in told)
    left = {arm: one for schedule in told for arm, one in schedule["left"].items()}
    sides = {arm: Left(**one) for arm, one in left.items()}
    counts = [one.get("populations", 1) for one in told]  # one that was joined has several
    firsts = itertools.accumulate(counts, initial=0)
    schedule = {
        **{name: first[name] for name in ("metric", "better", "run_on")},
        "populations": sum(counts),
        "rungs": [
            {**rung, "population": before + (rung["population"] if "populations" in one else 0)}
            for before, one in zip(firsts, told, strict=False)
            for rung in one["rungs"]
        ],
        "left": left,
        "saved": {name: sum(one["saved"][name] for one in told) for name in first["saved"]}
        if ended
        else None,
        "lost": lost_by_stopping(whole, sides, first["metric"], first["better"]) if ended else None,
    }
    return dataclasses.replace(whole, meta={**whole.meta, "schedule": schedule})


def _among(
    decide: Decide,
    values: np.ndarray,
    configs: Sequence[Any],
    curves: Curves,
    own: Sequence[Any],
    key: jax.Array,
) -> list[Next]:
    """A decision on arms that come after others, whose `values` and `configs` these are."""
    there, count = len(values), curves.values.shape[1]
    before = np.full((there, count), np.nan)
    before[:, : values.shape[1]] = values[:, :count]
    known = curves._replace(
        values=np.concatenate([before, curves.values]),
        waiting=tuple(there + arm for arm in curves.waiting),
    )
    going = decide(known, [*configs, *own], key)
    check_stays([f"{one.arm}" for one in going if (one.config, one.copy) != (None, None)])
    return [Next(one.arm - there) for one in going]
