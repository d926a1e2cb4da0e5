"""Schedulers: pure functions from the arms' curves so far to who goes on."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from fdl.arguments import Count, Limit, Share, checked
from fdl.result import Better

Factor = Annotated[int, Limit(lambda factor: factor >= 2, "at least 2")]
LONGEST = 2**31
"""No run has as many steps."""


class Curves(NamedTuple):
    """What a scheduler decides by: the metric of all arms, until the rung at which some of them wait.

    Attributes:
      values: means over the arm's seeds, float64 `[arms, evaluations]`; NaN where an arm has not come yet,
        had left before, or a run of it had failed. Of one that copied another, what it had measured before
        stays.
      steps: after how many updates each evaluation was, rising; the last is the rung's.
      waiting: the arms, by number, to be decided on; each has a finite value at the rung.
      rungs: the steps of all rungs that runs reach before their end.
    """

    values: np.ndarray
    steps: tuple[int, ...]
    waiting: tuple[int, ...]
    rungs: tuple[int, ...]

    @property
    def rung(self) -> int:
        """The number of the rung, from 0."""
        return self.rungs.index(self.steps[-1])


class Next(NamedTuple):
    """An arm that goes on.

    Attributes:
      arm: its number, one of those that wait.
      config: with which it goes on; may differ in traced fields alone. None: with the one that it has.
      copy: the number of the arm, one of those that wait, from whose state at this rung it goes on: each seed
        from the state of the same seed, with its own batches and random numbers. None: from its own.
    """

    arm: int
    config: Any = None
    copy: int | None = None


Decide = Callable[[Curves, Sequence[Any], jax.Array], Sequence[Next]]
"""`decide(curves, configs, key) -> those that go on`; `configs` are those that all arms have now."""


class Scheduler(NamedTuple):
    """When a sweep looks at its arms, and which of them go on.

    It is asked of arms, not of runs: all seeds of an arm go on or leave together. Without rungs every arm
    goes on to the end, as in a sweep without a scheduler.

    Attributes:
      metric: of validation, by which it is decided.
      better: which way it is better.
      rungs: after how many updates it is decided, rising; each is a step after which runs are evaluated.
        Those at a run's end or beyond are not reached.
      decide: the decision, a pure function; `key` is of this rung alone.
      population: of how many arms a population is: one is trained to its end before the next begins. If None,
        all arms are one.
      run_on: of each population this share of the arms, drawn at random, goes on to the end even where it is
        to leave. It decides nothing, and by it the report estimates what stopping lost.
      draw_seed: names the random numbers of `run_on` and of `key`.
    """

    metric: str
    better: Better
    rungs: tuple[int, ...] | range
    decide: Decide
    population: Count | None = None
    run_on: Share[float] = 0.1
    draw_seed: int = 0


@checked
def successive_halving(
    *, metric: str, better: Better, first: Count, factor: Factor = 3, run_on: Share[float] = 0.1
) -> Scheduler:
    """Of n arms the best n / factor go on at the first rung, n / factor² at the second; at least one.

    Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", with
    the rungs of Li et al. 2018, "Hyperband", sec. 3. Numbers are rounded down; of equals the earlier goes on.

    Args:
      metric: of validation, as `"validation/loss"`.
      better: which way it is better.
      first: updates at the first rung; the next are at `factor` times as many.
      factor: one in so many goes on.
      run_on: as in `Scheduler`.

    Example:
      >>> import fdl
      >>> halving = fdl.successive_halving(metric="validation/loss", better="lower", first=100)
      >>> halving.rungs[:3]
      (100, 300, 900)
    """

    def decide(curves: Curves, configs: Sequence[Any], key: jax.Array) -> list[Next]:
        del key
        most = max(1, len(configs) // factor ** (curves.rung + 1))
        return [Next(arm) for arm in _best(curves, curves.waiting, better)[:most]]

    return Scheduler(metric, better, _geometric(first, factor), decide, None, run_on)


@checked
def asha(
    *,
    metric: str,
    better: Better,
    first: Count,
    factor: Factor = 3,
    population: Count = 16,
    run_on: Share[float] = 0.1,
) -> Scheduler:
    """At each rung an arm goes on if it is among the best 1 / factor of all arms that have reached it so far.

    Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", in the form that stops (as
    Optuna's `SuccessiveHalvingPruner`): an arm that has left is not promoted later. There each worker decides
    on its own; here populations train one after another, the arms of one wait for each other at a rung, and
    are then held against each other and against all of earlier populations. So a sweep of any number of arms
    is decided as it goes, from the first population on, with no more than one of them on the devices.

    Args:
      metric: of validation, as `"validation/loss"`.
      better: which way it is better.
      first: updates at the first rung; the next are at `factor` times as many.
      factor: one in so many goes on; the best does in any case, and what equals the last that does.
      population: arms that are trained together.
      run_on: as in `Scheduler`.

    Example:
      >>> import fdl
      >>> fdl.asha(metric="validation/accuracy", better="higher", first=50, factor=4).rungs[:3]
      (50, 200, 800)
    """
    sign = _sign(better)

    def decide(curves: Curves, configs: Sequence[Any], key: jax.Array) -> list[Next]:
        del configs, key
        now = sign * curves.values[:, -1]
        reached = np.sort(now[np.isfinite(now)])
        last = reached[max(1, len(reached) // factor) - 1]
        return [Next(arm) for arm in curves.waiting if now[arm] <= last]

    return Scheduler(metric, better, _geometric(first, factor), decide, population, run_on)


@checked
def hyperband(
    *,
    metric: str,
    better: Better,
    first: Count,
    factor: Factor = 3,
    run_on: Share[float] = 0.1,
    draw_seed: int = 0,
) -> Scheduler:
    """Successive halving in brackets: some arms are decided on from the first rung on, some from the second,
    and some run to the end, in case the first evaluations mislead.

    Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", algorithm 1.
    The sweep's arms are dealt to the brackets in the proportions of the paper, drawn at random. As there, a
    bracket is halved by itself.

    Args:
      metric: of validation, as `"validation/loss"`.
      better: which way it is better.
      first: updates at the first rung; the next are at `factor` times as many.
      factor: of a bracket one in so many goes on.
      run_on: as in `Scheduler`.
      draw_seed: names the draw of the brackets.

    Example:
      >>> import fdl
      >>> fdl.hyperband(metric="validation/loss", better="lower", first=100).population is None
      True
    """

    def decide(curves: Curves, configs: Sequence[Any], key: jax.Array) -> list[Next]:
        del key
        bracket = brackets(len(configs), len(curves.rungs), factor=factor, draw_seed=draw_seed)
        going: list[Next] = []
        for start in range(len(curves.rungs) + 1):
            arms = [arm for arm in curves.waiting if bracket[arm] == start]
            if start <= curves.rung:
                most = max(1, bracket.count(start) // factor ** (curves.rung - start + 1))
                arms = _best(curves, arms, better)[:most]
            going += map(Next, arms)
        return going

    return Scheduler(metric, better, _geometric(first, factor), decide, None, run_on, draw_seed)


def brackets(arms: int, rungs: int, *, factor: int, draw_seed: int) -> list[int]:
    """The bracket of each arm: at which rung, from 0, it is first decided on; `rungs` if at none.

    Their sizes are as Li et al. 2018, algorithm 1, has them for a sweep of as many arms as all its brackets
    together, and in proportion else, the largest remainders rounded up.

    Args:
      arms: how many.
      rungs: that are reached.
      factor: one in so many goes on.
      draw_seed: names the draw.
    """
    full = [-(-(rungs + 1) * factor**s // (s + 1)) for s in range(rungs, -1, -1)]
    shares = [arms * size / sum(full) for size in full]
    sizes = [int(share) for share in shares]
    for start in sorted(range(len(full)), key=lambda s: sizes[s] - shares[s])[: arms - sum(sizes)]:
        sizes[start] += 1
    dealt = np.repeat(np.arange(rungs + 1), sizes)
    return np.random.default_rng(draw_seed).permutation(dealt).tolist()


def _geometric(first: int, factor: int) -> tuple[int, ...]:
    rungs = [first]
    while rungs[-1] * factor < LONGEST:
        rungs.append(rungs[-1] * factor)
    return tuple(rungs)


def _best(curves: Curves, arms: Sequence[int], better: Better) -> list[int]:
    """Arms by their value at the rung, best first; of equals the earlier."""
    return sorted(arms, key=lambda arm: (_sign(better) * curves.values[arm, -1], arm))


def _sign(better: Better) -> int:
    return -1 if better == "higher" else 1
