"""Metrics of a whole split that are no sums, in every form of the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from fdl import metrics
from fdl.parallel.plan import Plan
from tests.toy import Config, arrays, experiment
from tests.train.test_run import run_plan

PLANS = [
    Plan(2, "vmap", "scan", 1), Plan(2, "map", "scan", 1), Plan(2, "vmap", "calls", 1),
    Plan(2, "map", "calls", 2),
]  # fmt: skip


def judged(config):
    """The toy with metrics of all rows: as if the sign of its target was to be told."""
    good = experiment(config)

    def evaluate(state, batch, key):
        said, true = batch["x"] @ state["weights"], (batch["y"] > 0).astype(jnp.int32)
        return {
            **good.learner.evaluate(state, batch, key),
            "auc": metrics.all_rows(metrics.area_under_roc, (said, true)),
            "largest_value": metrics.all_rows(metrics.largest_value, said),
            "f1": metrics.confusion((said > 0).astype(jnp.int32), true, classes=2),
        }

    return good._replace(learner=good.learner._replace(evaluate=evaluate))


@pytest.mark.medium
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_they_are_those_of_all_rows_at_once(plan):
    if plan.devices > len(jax.devices()):
        pytest.skip(f"needs {plan.devices} devices; there are {len(jax.devices())}")
    carry, _, row = run_plan(judged, [Config(lr=lr) for lr in (0.0, 0.01)], plan, calls=[5])
    data = arrays()
    for member in range(2):
        said, true = data["x"] @ np.asarray(carry.state["weights"][member]), data["y"] > 0
        found = {name: float(values[member]) for name, values in row.metrics.items()}
        assert found["test/auc"] == pytest.approx(roc_auc_score(true, said), rel=1e-6)
        assert found["test/largest_value"] == pytest.approx(said.max(), rel=1e-5)
        assert found["test/f1"] == pytest.approx(f1_score(true, said > 0, average="macro"), rel=1e-6)
