"""Runs of one arm that predict together: the mean over seeds, and how far they differ."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from fdl import tree
from fdl.tasks.predictions import OF_ONE_NET
from fdl.train.prediction import says
from fdl.trained.predicting import Outputs, in_batches, rows_of_inputs
from fdl.trained.run import TrainedRun

SPREAD = "_spread"
"""What ends the name of a standard deviation over seeds."""


class Ensemble(NamedTuple):
    """Several runs of one config.

    Attributes:
      runs: one or more, of different seeds.
    """

    runs: tuple[TrainedRun, ...]

    def predict_each(self, inputs: Any) -> Outputs:
        """What each run says of new rows, `[runs, N, ...]` by name; arguments and errors as of
        `TrainedRun.predict`. All run in one program."""
        first = self.runs[0].experiment
        function = jax.jit(jax.vmap(says(first), in_axes=(0, None)))
        states = tree.stack([run.state for run in self.runs])
        return in_batches(function, states, rows_of_inputs(first, inputs), axis=1)

    def predict(self, inputs: Any) -> Outputs:
        """What the runs say together of new rows; arguments and errors as of `TrainedRun.predict`.

        Returns:
          By name, `[N, ...]`: numbers as their mean over runs, and beside them `NAME_spread`, their standard
          deviation over runs (with n - 1; missing for one run); `label` is the likeliest by the mean
          `probability`, and `label_agreement` the share of runs that say so themselves.
        """
        each = self.predict_each(inputs)
        if alone := [name for name in each if name in OF_ONE_NET]:
            raise ValueError(
                f"{alone[0]} of several nets have no mean, as each net has its own; take predict_each, or "
                "one run"
            )
        return _together(each)


def _together(each: Outputs) -> Outputs:
    found: dict[str, np.ndarray] = {}
    for name, values in each.items():
        if np.issubdtype(values.dtype, np.floating):
            several = len(values) > 1
            found[name] = values.mean(axis=0)
            found[f"{name}{SPREAD}"] = (
                values.std(axis=0, ddof=1) if several else np.full(values.shape[1:], np.nan, values.dtype)
            )
    for name, values in each.items():
        if name not in found:
            chosen = _chosen(values, found.get("probability") if name == "label" else None)
            found |= {name: chosen, f"{name}_agreement": (values == chosen).mean(axis=0)}
    return {name: found[name] for name in sorted(found, key=functools.partial(_order, list(each)))}


def _chosen(values: np.ndarray, probability: np.ndarray | None) -> np.ndarray:
    """One of whole numbers or truths `[runs, N, ...]`: by mean probability where there is one, else the most
    frequent, of those as frequent the smallest."""
    if probability is None:
        levels = np.unique(values)
        return levels[np.argmax([(values == level).sum(axis=0) for level in levels], axis=0)]
    if values.dtype == bool:
        return probability > 0.5
    return probability.argmax(axis=-1).astype(values.dtype)


def _order(names: list[str], name: str) -> tuple[int, str]:
    """Outputs in their own order, each with what belongs to it."""
    own = [place for place, one in enumerate(names) if name == one or name.startswith(f"{one}_")]
    return own[-1], name
