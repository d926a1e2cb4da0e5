"""Learning curves that are known before, and schedulers asked about them without training."""

from collections.abc import Iterator

import jax
import numpy as np

from fdl.sweeps.schedulers import Curves, Scheduler


def curves_of(seed: int, arms: int, steps: int) -> np.ndarray:
    """Losses `[arms, steps]` that fall, cross each other, and never are equal."""
    random = np.random.default_rng(seed)
    end, speed = random.uniform(0, 1, (arms, 1)), random.uniform(0.1, 1, (arms, 1))
    return end + np.exp(-speed * np.arange(1, steps + 1)) + random.normal(0, 0.01, (arms, steps))


def survivors(scheduler: Scheduler, losses: np.ndarray) -> Iterator[tuple[int, set[int], set[int]]]:
    """At each rung its step, who waits there, and who goes on; with every step an evaluation."""
    arms, end = losses.shape
    rungs = tuple(rung for rung in scheduler.rungs if rung < end)
    size = scheduler.population or arms
    seen = np.full(losses.shape, np.nan)
    for start in range(0, arms, size):
        waiting = tuple(range(start, min(start + size, arms)))
        for rung in rungs:
            if not waiting:
                break
            seen[list(waiting), :rung] = losses[list(waiting), :rung]
            known = Curves(seen[:, :rung], tuple(range(1, rung + 1)), waiting, rungs)
            going = scheduler.decide(known, [None] * arms, jax.random.key(rung))
            yield rung, set(waiting), {one.arm for one in going}
            waiting = tuple(one for one in waiting if one in {one.arm for one in going})
