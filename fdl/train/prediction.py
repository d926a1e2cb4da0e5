"""What an experiment's state says of new rows, as one pure function."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from fdl.experiment import Experiment, State


class _Absent:
    """Stands for a column that new rows do not have; whoever computes with it fails."""


def says(experiment: Experiment) -> Callable[[State, Any], Mapping[str, jax.Array]]:
    """`(state, rows) -> outputs`, pure: new rows, prepared and then predicted.

    Raises:
      ValueError: the learner predicts nothing.
    """
    predict, inputs = experiment.learner.predict, experiment.inputs
    if predict is None:
        raise ValueError(
            "the experiment's learner predicts nothing: of fdl.tasks diffusion, flow_matching, adversarial "
            "and self_play do not; one of your own does with fdl.Learner(..., predict=...)"
        )

    def outputs(state: State, rows: Any) -> Mapping[str, jax.Array]:
        if inputs is not None and inputs.prepare is not None:
            absent = {name: _Absent() for name in inputs.row if name not in rows}
            batch = inputs.prepare({**absent, **rows})
            rows = {name: one for name, one in batch.items() if not isinstance(one, _Absent)}
        return predict(state, rows)

    return outputs
