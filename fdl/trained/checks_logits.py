"""The check that takes a classifier's logits, which its model gives and its predictions do not."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fdl.analysis import energy_score
from fdl.report.model_card import Checked, NotChecked
from fdl.train.prediction import says
from fdl.trained.checks_seen import area
from fdl.trained.predicting import in_batches, rows_of_inputs
from fdl.trained.rows_said import Said
from fdl.trained.run import TrainedRun

_GAP = 1e-4
"""How far the softmax of what are taken for logits may be from the probabilities."""


def energy_check(run: TrainedRun, said: Said, other: Any) -> Checked | NotChecked:
    """How well the free energy of the logits tells the split's rows from others (Liu et al. 2020, sec. 3.1).

    Logits are what the outermost Flax module returns while the run predicts; where there is no one such
    output whose softmax is the probabilities, this is not checked.

    Args:
      run: the classifier.
      said: the split's rows as the model gets them.
      other: rows unlike those, as `TrainedRun.predict` takes them.
    """
    name = "out-of-distribution detection by energy"
    predict = run.experiment.learner.predict
    assert predict is not None
    found = []
    for function, rows in (
        (predict, {"x": said.x}),
        (says(run.experiment), rows_of_inputs(run.experiment, other)),
    ):
        outputs = in_batches(jax.jit(_with_logits(function)), run.state, rows)
        if np.any(outputs["gap"] > _GAP):
            return NotChecked(name, "what the model returns are no logits of the probabilities that are said")
        found.append(outputs["score"])
    how = f"AUROC of the negative free energy, against {len(found[1]):,} other rows"
    own, unlike = found
    return area(name, own, unlike, how)


def _with_logits(function: Callable[[Any, Any], Mapping[str, jax.Array]]) -> Callable[[Any, Any], Any]:
    """`(state, rows) -> {"score": [B], "gap": [B]}`: the negative free energy of the logits, and how far
    their softmax is from the probabilities; infinite where no one output has their shape."""

    def outputs(state: Any, rows: Any) -> dict[str, jax.Array]:
        returned: list[Any] = []

        def each(call: Any, args: Any, options: Any, context: Any) -> Any:
            result = call(*args, **options)
            if context.module.path == () and context.method_name == "__call__":
                returned.append(result)
            return result

        with nn.intercept_methods(each):
            probability = function(state, rows)["probability"]
        logits = [one for one in returned if jnp.shape(one) == probability.shape]
        if len(logits) != 1:
            return {"score": probability[:, 0], "gap": jnp.full(len(probability), jnp.inf)}
        wide = logits[0].astype(jnp.float32)
        gap = jnp.abs(jax.nn.softmax(wide, axis=-1) - probability).max(-1)
        return {"score": energy_score(wide), "gap": gap}

    return outputs
