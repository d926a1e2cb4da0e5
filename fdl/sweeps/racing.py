"""How a scheduler leads a sweep from rung to rung, however the arms are trained in between."""

import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fdl.sweeps.decision_check import checked_decision
from fdl.sweeps.schedulers import Curves, Next, Scheduler
from fdl.sweeps.space import Trial

State = tuple[str, int]
"""A unit's name, and which of its members: whose state at the unit's end."""


class Leg(NamedTuple):
    """A run's steps up to a rung: what to run, with the config that its arm has now, and from whose state;
    None at step 0."""

    trial: Trial
    state: State | None


class Ran(NamedTuple):
    """What a leg came to: its rows, its end (as of `fdl.train.outcome.Outcome.ends`), where its state is."""

    rows: list[dict[str, Any]]
    end: dict[str, Any]
    state: State


Train = Callable[[Sequence[Leg], int, int], list[Ran]]
"""`train(legs, start, until)`, what each came to."""

Check = Callable[[Any, Sequence[int], Sequence[Any]], list[Next]]
"""As `checked_decision`."""


class Left(NamedTuple):
    """Where an arm was told to leave: after how many updates, at which rank of how many by then (from 1; of
    an arm with a failed run None), and whether it ran on all the same."""

    step: int
    rank: int | None
    of: int
    ran_on: bool


class Turn(NamedTuple):
    """From which step on an arm has which config, and the number of the arm whose state it took then."""

    step: int
    copied: int | None
    config: Any


class Decided(NamedTuple):
    """What was decided at a rung of a population.

    Attributes:
      population: its number.
      step: the rung.
      arms: the numbers of those that came, failed ones too.
      going: those that go on.
      ran_on: those that go on to the end although they are told to leave, from now on.
    """

    population: int
    step: int
    arms: tuple[int, ...]
    going: tuple[Next, ...]
    ran_on: tuple[int, ...]


class Race(NamedTuple):
    """How it went.

    Attributes:
      rows: of each run by arm and seed, in their order.
      ends: likewise how its last leg ended.
      left: by arm's name those that were told to leave.
      decided: each decision.
      turns: of each arm by number, from the one at step 0 on.
      taken: steps of all runs together.
    """

    rows: dict[tuple[str, int], list[dict[str, Any]]]
    ends: dict[tuple[str, int], dict[str, Any]]
    left: dict[str, Left]
    decided: list[Decided]
    turns: list[list[Turn]]
    taken: int


def race(
    trials: Sequence[Trial],
    scheduler: Scheduler,
    evaluations: Sequence[int],
    train: Train,
    tell: Callable[[Decided, Sequence[Any]], None] = lambda *_: None,
    check: Check = checked_decision,
) -> Race:
    """Trains a sweep's arms from rung to rung, those that the scheduler lets go on.

    Args:
      trials: every arm with the same seeds.
      scheduler: asked at each rung.
      evaluations: after which updates runs are evaluated; the last ends them.
      train: trains some runs between two rungs.
      tell: told of each decision before it counts, and of the configs of all arms until then.
      check: makes of what is decided those that go on; another than by default where configs are JSON.

    Raises:
      ValueError: the scheduler's decision is none.
    """
    arms: dict[str, list[Trial]] = {}
    for trial in trials:
        arms.setdefault(trial.arm, []).append(trial)
    racing = _Race(scheduler, evaluations, list(arms.values()), train, tell, check)
    numbers = range(len(arms))
    size = scheduler.population or len(arms)
    for population, start in enumerate(range(0, len(arms), size)):
        racing.run(population, numbers[start : start + size])
    return racing.told()


def reached(scheduler: Scheduler, steps: int) -> tuple[int, ...]:
    """The rungs that runs of so many steps reach before their end."""
    return tuple(itertools.takewhile(lambda rung: rung < steps, scheduler.rungs))


class _Race:
    """The state of one `race`; arms go by their number."""

    def __init__(
        self,
        scheduler: Scheduler,
        evaluations: Sequence[int],
        trials: list[list[Trial]],
        train: Train,
        tell: Callable[[Decided, Sequence[Any]], None],
        check: Check,
    ) -> None:
        self.scheduler, self.evaluations, self.trials = scheduler, list(evaluations), trials
        self.train, self.tell, self.check = train, tell, check
        self.rungs = reached(scheduler, self.evaluations[-1])
        self.values = np.full((len(trials), len(evaluations)), np.nan)
        self.states: dict[tuple[int, int], State] = {}
        self.rows = {(t.arm, t.seed): [] for arm in trials for t in arm}
        self.ends: dict[tuple[str, int], dict[str, Any]] = {}
        self.left: dict[int, Left] = {}
        self.turns = [[Turn(0, None, arm[0].config)] for arm in trials]
        self.decided: list[Decided] = []
        self.taken = 0

    def run(self, population: int, arms: Sequence[int]) -> None:
        """Trains a population to its end."""
        racing, running_on = list(arms), []
        spared = self._spared(population, arms)
        start = 0
        for until in (*self.rungs, self.evaluations[-1]):
            if not racing and not running_on:
                return
            sound = self._train(sorted([*racing, *running_on]), start, until)
            if until == self.evaluations[-1]:
                return
            self._measure(racing, until)
            decided = self._decide(population, until, racing, sound, spared)
            self._heed(decided)
            racing = [one.arm for one in decided.going]
            running_on = [arm for arm in running_on if arm in sound] + list(decided.ran_on)
            start = until

    def told(self) -> Race:
        """What it came to."""
        left = {self.trials[arm][0].arm: left for arm, left in sorted(self.left.items())}
        return Race(self.rows, self.ends, left, self.decided, self.turns, self.taken)

    def _spared(self, population: int, arms: Sequence[int]) -> frozenset[int]:
        """The arms that run on whatever is decided."""
        draw = np.random.default_rng([self.scheduler.draw_seed, population])
        count = round(self.scheduler.run_on * len(arms))
        return frozenset(draw.permutation(np.asarray(arms))[:count].tolist())

    def _train(self, arms: Sequence[int], start: int, until: int) -> set[int]:
        """Trains arms up to a rung; those of which no run failed."""
        runs = [(arm, trial) for arm in arms for trial in self.trials[arm]]
        configs = self._configs()
        legs = [
            Leg(trial._replace(config=configs[arm]), self.states.get((arm, trial.seed)))
            for arm, trial in runs
        ]
        failed = set()
        for (arm, trial), ran in zip(runs, self.train(legs, start, until), strict=True):
            self.rows[trial.arm, trial.seed] += ran.rows
            self.ends[trial.arm, trial.seed] = ran.end
            self.states[arm, trial.seed] = ran.state
            self.taken += ran.end["step"] - start
            if ran.end["status"] == "failed":
                failed.add(arm)
        return set(arms) - failed

    def _measure(self, arms: Collection[int], until: int) -> None:
        """Fills in the curves of arms, means over seeds."""
        steps = [step for step in self.evaluations if step <= until]
        for arm in arms:
            each = np.full((len(self.trials[arm]), len(steps)), np.nan)
            for own, trial in zip(each, self.trials[arm], strict=True):
                for row in self.rows[trial.arm, trial.seed]:
                    if row["step"] in steps and self.scheduler.metric in row:
                        own[steps.index(row["step"])] = row[self.scheduler.metric]
            self.values[arm, : len(steps)] = each.mean(axis=0)

    def _decide(
        self, population: int, until: int, racing: Sequence[int], sound: set[int], spared: Collection[int]
    ) -> Decided:
        count = self.evaluations.index(until) + 1
        waiting = [arm for arm in racing if arm in sound and np.isfinite(self.values[arm, count - 1])]
        key = jax.random.fold_in(jax.random.key(self.scheduler.draw_seed), population)
        known = Curves(
            self.values[:, :count].copy(), tuple(self.evaluations[:count]), tuple(waiting), self.rungs
        )
        configs, going = self._configs(), []
        if waiting:
            going = self.scheduler.decide(known, configs, jax.random.fold_in(key, until))
        going = self.check(going, waiting, configs)
        gone = {one.arm for one in going}
        ran_on = tuple(arm for arm in waiting if arm in spared and arm not in gone)
        return Decided(population, until, tuple(racing), tuple(going), ran_on)

    def _heed(self, decided: Decided) -> None:
        """Makes a decision count."""
        self.tell(decided, self._configs())
        self.decided.append(decided)
        self._turn(decided)
        sign = -1 if self.scheduler.better == "higher" else 1
        now = sign * self.values[:, self.evaluations.index(decided.step)]
        order = sorted((arm for arm in decided.arms if np.isfinite(now[arm])), key=lambda arm: now[arm])
        gone = {one.arm for one in decided.going}
        for arm in set(decided.arms) - gone:
            rank = order.index(arm) + 1 if arm in order else None
            self.left[arm] = Left(decided.step, rank, len(decided.arms), arm in decided.ran_on)

    def _turn(self, decided: Decided) -> None:
        """Gives those that go on otherwise the configs and the states that they go on with."""
        states = dict(self.states)  # those at the rung: an arm that is copied may copy, too
        for arm, config, copy in decided.going:
            if copy is not None:
                own = {(arm, trial.seed): states[copy, trial.seed] for trial in self.trials[arm]}
                self.states.update(own)
            if (config, copy) != (None, None):
                self.turns[arm].append(Turn(decided.step, copy, config or self.turns[arm][-1].config))

    def _configs(self) -> list[Any]:
        """Those that all arms have now."""
        return [turns[-1].config for turns in self.turns]
