"""Does TPE with early stopping find a better net than random search that trains as many steps?

Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization, sec. 6: the tree-structured Parzen
estimator (TPE) finds better nets than random search in as many trials. Li et al. 2020, A System for Massively
Parallel Hyperparameter Tuning, sec. 4: stopping by asynchronous successive halving (ASHA) reaches good
configurations many times faster. Against it: Li & Talwalkar 2019, Random Search and Reproducibility for
Neural Architecture Search, sec. 4: random search with early stopping is a strong baseline.

    python experiments/search_digits.py                    the comparison below
    fdl search experiments/search_digits.py --trials 64    one such search, with its report

The unit is a whole search, so this is a program of its own. Each of 12 repetitions, with its own seeds of
samplers and of training, searches five traced fields three times: 64 trials of TPE in populations of 16 that
ASHA leads; random search with as many steps of training, rounded up to whole runs; and random search once
more by other draws, the control. Each search chooses by the loss on validation. The chosen configs are
trained from 8 seeds of the repetition that chose nothing, and their mean is the search's number. The
criterion: TPE with ASHA has a lower cross-entropy on test than random search, paired by repetition. Work is
told in steps of all runs, which are counted, and in seconds of training times devices, which are measured and
hold what pads the narrower programs too; neither holds compiling, nor asking the sampler. About 4
minutes on 2 cores that others used for a part of them.
"""

import functools
import operator
from typing import Any, NamedTuple

import optax
import pandas as pd
from rich.console import Console

import fdl
from fdl import data, models, tasks
from fdl.report.terminal import show
from fdl.sweeps import Trial

REPETITIONS = 12
TRIALS, POPULATION = 64, 16
JUDGES = 8
LED, RANDOM, AGAIN = "TPE + ASHA", "random", "random again"


@fdl.config
class Config:
    lr: float = fdl.traced(0.1, low=0.0)
    """the learning rate"""
    momentum: float = fdl.traced(0.9, low=0.0, high=1.0)
    """of gradient descent"""
    l2: float = fdl.traced(1e-4, low=0.0)
    """factor of half the sum of the squared weights"""
    dropout: float = fdl.traced(0.1, low=0.0, high=1.0)
    """rate after each hidden layer"""
    label_smoothing: float = fdl.traced(0.0, low=0.0, high=1.0)
    """share of each label that is spread over all classes"""
    steps: int = fdl.static(270, low=1)
    """updates of 64 images each"""


def experiment(config: Config) -> fdl.Experiment:
    return tasks.classification(
        models.MLP(widths=(64, 64), outputs=10, dropout=config.dropout),
        data.digits(),
        optax.sgd(config.lr, momentum=config.momentum),
        label_smoothing=config.label_smoothing,
        l2=config.l2,
        steps=config.steps,
        evaluate_every=config.steps // 9,
    )


SEARCH = fdl.space(
    Config(),
    lr=fdl.log_uniform(1e-4, 10.0),
    momentum=fdl.uniform(0.0, 0.99),
    l2=fdl.log_uniform(1e-6, 1e-1),
    dropout=fdl.uniform(0.0, 0.8),
    label_smoothing=fdl.uniform(0.0, 0.5),
)
SCHEDULER = fdl.asha(
    metric="validation/loss", better="lower", first=30, factor=3, population=POPULATION, run_on=0.0
)


class Found(NamedTuple):
    """What one search came to: how it searched, in which repetition, what it chose, steps of all its runs."""

    arm: str
    repetition: int
    config: Config
    steps: int


def led(repetition: int) -> tuple[Found, float]:
    """A search by TPE whose populations ASHA leads, and the seconds of training it."""
    found = fdl.search(
        experiment,
        SEARCH,
        trials=TRIALS,
        population=POPULATION,
        seeds=[repetition],
        judges=1,
        draw_seed=repetition,
        scheduler=SCHEDULER,
    )
    saved = found.judged.meta["schedule"]["saved"]
    return Found(LED, repetition, found.config, saved["steps"]), saved["seconds"]


def at_random(like: list[Found]) -> tuple[list[Found], float]:
    """For each of some searches two random ones of as many steps, and the seconds of training all of these.

    They learn nothing from their trials, so that all are one sweep.
    """
    spaces: dict[tuple[str, int], fdl.Sweep] = {}
    fields: dict[str, Any] = {**SEARCH.fields}
    for one in like:
        for arm, draw_seed in ((RANDOM, one.repetition), (AGAIN, REPETITIONS + one.repetition)):
            trials = -(-one.steps // one.config.steps)
            spaces[arm, one.repetition] = fdl.sample(
                SEARCH.config, n=trials, seeds=[one.repetition], draw_seed=draw_seed, **fields
            )
    result = fdl.sweep(experiment, functools.reduce(operator.add, spaces.values()))
    losses = {(run["arm"], run["seed"]): run["validation/loss"] for run in result.last().to_dict("records")}
    found = []
    for (arm, repetition), space in spaces.items():
        loss = [losses.get((trial.arm, trial.seed), float("inf")) for trial in space.trials]
        config = space.trials[loss.index(min(loss))].config
        found.append(Found(arm, repetition, config, len(space.trials) * config.steps))
    seconds = sum(one["train_seconds"] * one["devices"] for one in result.meta["programs"])
    return found, seconds


def judged(found: list[Found]) -> fdl.Result:
    """A row for each search: the means of what its config measures from the repetition's own seeds."""
    trials = []
    for one in found:
        first = REPETITIONS + JUDGES * one.repetition  # those before it chose
        trials += [
            Trial(f"{one.arm} {one.repetition}", one.config, seed) for seed in range(first, first + JUDGES)
        ]
    last = fdl.sweep(experiment, fdl.Sweep(tuple(trials))).last()
    rows, failed = [], []
    for one in found:
        own = last[last["arm"] == f"{one.arm} {one.repetition}"]
        run = {"arm": one.arm, "search": one.arm, "seed": one.repetition, "step": one.steps}
        if len(own) < JUDGES:
            failed.append({**run, "metric": "test/loss"})
            continue
        means = {name: own[name].mean() for name in ("test/loss", "test/accuracy", "validation/loss")}
        rows.append({**run, **means, "work/steps": one.steps, "status": "finished"})
    lost = pd.DataFrame(failed, columns=["arm", "search", "seed", "step", "metric"])
    return fdl.Result(pd.DataFrame(rows), ("search",), lost, {"question": (__doc__ or "").partition("\n")[0]})


def lower(result: fdl.Result, search: str) -> fdl.Verdict:
    """Whether what a search finds has a lower loss on test than what random search does."""
    two = result.where(search=[RANDOM, search])
    return fdl.compare(two, metric="test/loss", arms="search", baseline=RANDOM, better="lower").verdict


CLAIMS = (
    fdl.Claim(
        "S1",
        "At equal steps of training TPE with ASHA finds a net with a lower loss on test than random search.",
        functools.partial(lower, search=LED),
        control=functools.partial(lower, search=AGAIN),
    ),
)


def main() -> None:
    pairs = [led(repetition) for repetition in range(REPETITIONS)]
    first = [one for one, _ in pairs]
    others, seconds = at_random(first)
    result = judged([*first, *others])
    show(result, fdl.judge_claims(result, CLAIMS), Console())
    steps = [sum(one.steps for one in part) for part in (first, others)]
    took = [sum(own for _, own in pairs), seconds]
    for name, n, s in zip((LED, f"{RANDOM} and {AGAIN}"), steps, took, strict=True):
        print(f"{name}: {n:,} steps, {s:.1f} s of training times devices, {1e6 * s / n:.0f} µs a step")


if __name__ == "__main__":
    main()
