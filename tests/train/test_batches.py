"""Metrics of a whole split that are no sums, in every form of the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from fdl import metrics, rng
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


def drawing(config):
    """The toy, two splits of which measure what is drawn."""
    good = experiment(config)

    def evaluate(state, batch, key):
        return {
            **good.learner.evaluate(state, batch, key),
            "drawn": metrics.mean(jax.random.uniform(key, (1,))),
        }

    evaluation = {"test": good.evaluation["test"], "validation": good.evaluation["test"]}
    return good._replace(learner=good.learner._replace(evaluate=evaluate), evaluation=evaluation)


@pytest.mark.medium
@pytest.mark.parametrize("plan", PLANS[:3], ids=str)
def test_each_batch_of_each_split_of_each_run_has_a_key_of_its_own(plan):
    configs = [Config(), Config()]
    _, _, early = run_plan(drawing, configs, plan, calls=[5])
    _, _, late = run_plan(drawing, configs, plan, calls=[20])
    seen = []
    for split in ("test", "validation"):
        assert early.metrics[f"{split}/drawn"].tolist() == late.metrics[f"{split}/drawn"].tolist()
        for member in range(2):
            own = rng.stream(rng.stream(jax.random.key(member), "evaluate"), split)
            drawn = [jax.random.uniform(jax.random.fold_in(own, index), (1,))[0] for index in range(3)]
            assert early.metrics[f"{split}/drawn"][member] == pytest.approx(np.mean(drawn), rel=1e-6)
            seen += [float(one) for one in drawn]
    assert len(set(seen)) == 12
