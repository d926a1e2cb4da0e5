"""Results made by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdl.result import Result

METRIC = "test/accuracy"
NOISE = 0.01 * np.array([-3, -1, 1, 3, -2, 2, 0, 0])  # mean 0, standard deviation 0.02
BASE = 0.5 + 0.01 * np.array([0, 5, 2, 7, 1, 3, 4, 6])


def run(skip: Any, seed: int, value: float, *, status: str = "finished", **more: Any) -> dict[str, Any]:
    """The two rows of one run are this one and an earlier evaluation that must not count."""
    row = {"arm": f"skip-{skip}", "skip": skip, "lr": 0.1, "seed": seed, "step": 20, "status": status}
    return {**row, METRIC: value, **more}


def make(runs: Sequence[Mapping[str, Any]], failures: Sequence[Mapping[str, Any]] = ()) -> Result:
    """A result of these final rows, each after an earlier evaluation of value 0."""
    frame = pd.DataFrame([row for last in runs for row in ({**last, "step": 10, METRIC: 0.0}, last)])
    columns = ["arm", "skip", "lr", "seed", "step", "metric"]
    return Result(frame, ("skip", "lr"), pd.DataFrame(failures, columns=columns), {})


def arms(values: Mapping[Any, Sequence[float] | np.ndarray]) -> Result:
    """A result with these final values by arm, seeds counted from 0."""
    return make(
        [run(arm, seed, value) for arm, by_seed in values.items() for seed, value in enumerate(by_seed)]
    )


def gap(size: float, pairs: int = 8) -> Result:
    """Two arms whose difference is `size` plus `NOISE`."""
    return arms({False: BASE[:pairs], True: BASE[:pairs] + size + NOISE[:pairs]})
