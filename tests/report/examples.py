"""Results with known numbers, made without training."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fdl.result import Result
from fdl.stats import Comparison, Verdict

METRICS = ("train/loss", "validation/accuracy", "test/accuracy", "test/loss")


def example(
    arms: Mapping[str, Mapping[str, Any]],
    *,
    seeds: int,
    evaluations: int = 4,
    failed: tuple[tuple[str, int], ...] = (),
    meta: Mapping[str, Any] | None = None,
) -> Result:
    """Random metrics of every arm (its config by name) and seed; a failed run has two evaluations."""
    random = np.random.default_rng(0)
    fields = tuple(next(iter(arms.values())))
    rows, failures = [], []
    for (arm, config), seed in itertools.product(arms.items(), range(seeds)):
        run = {"arm": arm, **config, "seed": seed}
        lost = (arm, seed) in failed
        for index in range(2 if lost else evaluations):
            metrics = dict(zip(METRICS, random.uniform(0.1, 0.9, len(METRICS)), strict=True))
            status = "failed" if lost else "finished"
            rows.append({**run, "step": 10 * (index + 1), **metrics, "status": status})
        if lost:
            failures.append({**run, "step": 23, "metric": "train/loss"})
    lost_runs = pd.DataFrame(failures, columns=["arm", *fields, "seed", "step", "metric"])
    return Result(pd.DataFrame(rows), fields, lost_runs, meta or {})


def crossed() -> Result:
    """Depth {4, 16, 64} × skip {no, yes} × 6 seeds, two runs failed, everything a report tells."""
    arms = {
        f"depth={depth} skip={skip}": {"depth": depth, "skip": skip}
        for depth, skip in itertools.product((4, 16, 64), (False, True))
    }
    program = {
        "members": 6,
        "plan": "6 members, 3 a device one after another",
        "reason": "measured: 2.1 times as fast as side by side",
        "compile_seconds": 2.25,
        "train_seconds": 75.4,
        "steps": 40,
        "memory_bytes": 3 * 1024**2,
        "members_per_second": 0.0796,
    }
    meta = {
        "name": "skip_connections",
        "question": "Do skip connections let deep plain networks train?",
        "detail": "He et al. 2016,\nsec. 4.1.\n\n    fdl sweep skip_connections.py",
        "source": "def experiment(config):\n    return 1 < 2\n",
        "versions": {"jax": "0.10.2"},
        "device": "cpu, 2 cores",
        "seconds": 131.2,
        "configs": {arm: {**config, "lr": 1e-3} for arm, config in arms.items()},
        "programs": [{**program, "arms": [arm]} for arm in arms],
    }
    lost = (("depth=64 skip=False", 1), ("depth=64 skip=False", 4))
    return example(arms, seeds=6, failed=lost, meta=meta)


def single() -> Result:
    """One arm, one seed, and nothing else to tell."""
    return example({"base": {"lr": 0.001}}, seeds=1)


def many() -> Result:
    """Twenty arms that differ in three fields."""
    arms = {
        f"full - part {i}": {"norm": None if i % 2 else "batch", "rate": i / 10, "kind": f"k{i}"}
        for i in range(20)
    }
    return example(arms, seeds=3)


def lost() -> Result:
    """Every run failed, one arm's before its first evaluation."""
    runs = tuple((arm, seed) for arm in ("x=1", "x=2") for seed in range(2))
    result = example({"x=1": {"x": 1}, "x=2": {"x": 2}}, seeds=2, failed=runs)
    frame = result.frame[result.frame["arm"] == "x=1"]
    return Result(frame, result.fields, result.failures, {"question": "Does anything work?"})


COMPARISON = Comparison(
    metric="test/accuracy",
    arm="skip=True",
    baseline="skip=False",
    n=14,
    dropped=2,
    arm_mean=0.95124,
    baseline_mean=0.34215,
    difference=0.60909,
    low=0.59882,
    high=0.61911,
    equivalence_low=0.60012,
    equivalence_high=0.61701,
    p=1.22e-4,
    p_holm=2.44e-4,
    effect_size=31.24,
    smallest_detectable=0.00883,
    seeds_needed=5,
    status="SUPPORTED",
)


def verdict(*comparisons: Comparison) -> Verdict:
    """A verdict that rests on these comparisons; on `COMPARISON` if none is given."""
    return Verdict(
        "SUPPORTED", "Skip connections add 0.609.", "at least 0.05 better", comparisons or (COMPARISON,)
    )
