"""The result of a run is its best state, where that is asked for: each member's own, in every plan."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdl
from fdl.experiment import Best, Experiment, Learner, Source
from fdl.metrics import Mean
from fdl.parallel.plan import Plan
from fdl.report import tables
from fdl.sweeps import grid, sweep
from fdl.train import autotune, early_stopping, fit, scan

BEST = Best("validation/loss", "lower")


@fdl.config
class Config:
    peak: float = 5.0
    """after how many steps the loss is least"""


def experiment(config: Config) -> Experiment:
    """A state that counts; its loss falls until the peak, and then rises."""

    def step(state, batch, key):
        return state + 1, {"loss": state}

    def evaluate(state, batch, key):
        return {
            "loss": Mean(jnp.abs(state - config.peak), jnp.float32(1)),
            "state": Mean(state, jnp.float32(1)),
        }

    source = Source((), lambda arrays, step, key: jnp.zeros(1), 1)
    learner = Learner(lambda key: jnp.float32(0), step, evaluate)
    return Experiment(learner, source, {"validation": source, "test": source}, 10, 1, best=BEST)


PLANS = [
    Plan(4, "vmap", "scan"),
    Plan(4, "map", "scan"),
    Plan(4, "vmap", "calls"),
    Plan(4, "vmap", "scan", 2),
]


@pytest.mark.medium
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_each_member_reports_its_own_best_state(plan, plans, monkeypatch):
    monkeypatch.setattr(autotune, "plans_for", lambda *_, **__: [plan])
    result = sweep(experiment, grid(Config(), peak=(2.0, 7.0, 12.0)))
    final = result.last().set_index("peak")
    assert final["step"].to_dict() == {2.0: 2, 7.0: 7, 12.0: 10}
    assert final["test/state"].to_dict() == {2.0: 2, 7.0: 7, 12.0: 10}, "the test metrics are that state's"
    assert result.table()["test/loss"].tolist() == [0, 0, 2]
    assert len(result.frame) == 30, "the curve is whole"
    assert tables.caption(result).startswith("Evaluation of each run's best state by validation/loss")


@pytest.mark.medium
def test_the_state_of_a_run_is_its_best_one():
    for stopping in (None, early_stopping("validation/loss", patience=2)):
        one = experiment(Config(peak=4.0))._replace(stop=stopping)
        fitted = fit(one, jax.random.key(0))
        assert fitted.state == 4 == scan(one, jax.random.key(0))[0]
        assert [row["step"] for row in fitted.rows if row["best"]] == [1, 2, 3, 4]
        assert fitted.end == (
            {"status": "stopped", "step": 7} if stopping else {"status": "finished", "step": 10}
        )
    ahead = experiment(Config(peak=4.0))._replace(best=Best("validation/state", "higher"))
    assert fit(ahead, jax.random.key(0)).state == 10


@pytest.mark.medium
def test_early_stopping_keeps_the_best_state_and_a_stopper_of_ones_own_the_last():
    own = early_stopping("validation/loss", patience=0)._replace(best=None)
    for stopping, expected in ((early_stopping("validation/loss", patience=0), 4), (own, 5)):
        one = experiment(Config(peak=4.0))._replace(stop=stopping, best=None)
        assert fit(one, jax.random.key(0)).state == expected
        vmapped = jax.vmap(
            lambda peak, one=one: scan(
                experiment(dataclasses.replace(Config(), peak=peak))._replace(stop=one.stop, best=None),
                jax.random.key(0),
            )[0]
        )
        assert vmapped(jnp.array([4.0, 9.0])).tolist() == [expected, 9 + expected - 4]


def test_a_best_metric_that_is_missing_at_first_is_replaced_by_the_first_that_is_there():
    one = experiment(Config(peak=4.0))

    def evaluate(state, batch, key):
        there = (state >= 3).astype(jnp.float32)
        return {"loss": Mean(state * there, there)}

    fitted = fit(one._replace(learner=one.learner._replace(evaluate=evaluate)), jax.random.key(0))
    assert fitted.end["status"] == "finished" and fitted.state == 3
    assert np.isnan(fitted.rows[0]["test/loss"])
