"""Step metrics between evaluations: exact, in every form of the loop, resumed, of failed runs, in results."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdl
from fdl import train
from fdl.parallel.plan import Plan
from fdl.train.step_log import log_rows
from tests.toy import Config, experiment
from tests.train.test_run import run_plan

KEY = jax.random.key(0)


def logging(config: Config, *, log_every: Any = 4, steps: int = 20, every: int = 10) -> fdl.Experiment:
    """The toy, which says at each step how many were done before, and fails at its step `fails`."""
    good = experiment(config)

    def init(key):
        return {"toy": good.learner.init(key), "done": jnp.int32(0)}

    def step(state, batch, key):
        toy, metrics = good.learner.step(state["toy"], batch, key)
        metrics = {**metrics, "done": state["done"]}
        return {"toy": toy, "done": state["done"] + 1}, metrics

    evaluate = lambda state, batch, key: good.learner.evaluate(state["toy"], batch, key)  # noqa: E731
    learner = good.learner._replace(init=init, step=step, evaluate=evaluate)
    return good._replace(learner=learner, steps=steps, evaluate_every=every, log_every=log_every)


def failing_at(one, step):
    """The same experiment, whose loss is none at a step."""

    def taken(state, batch, key):
        after, metrics = one.learner.step(state, batch, key)
        return after, {**metrics, "loss": jnp.where(state["done"] == step, jnp.nan, metrics["loss"])}

    return one._replace(learner=one.learner._replace(step=taken))


def test_each_row_is_the_mean_of_its_own_steps_and_nothing_else_changes():
    fitted = train.fit(logging(Config()), KEY)
    assert [row["step"] for row in fitted.log] == [4, 8, 10, 14, 18, 20]
    assert [row["train/done"] for row in fitted.log] == [1.5, 5.5, 8.5, 11.5, 15.5, 18.5]
    plain = train.fit(logging(Config(), log_every=None), KEY)
    assert plain.log == [] and plain.rows == fitted.rows
    jax.tree.map(np.testing.assert_array_equal, plain.state, fitted.state)
    alone = train.fit(logging(Config(), log_every=1), KEY)
    losses = [row["train/loss"] for row in alone.log]
    assert [row["step"] for row in alone.log] == list(range(1, 21))
    assert fitted.rows[0]["train/loss"] == pytest.approx(np.mean(losses[:10]), rel=1e-6)
    assert [row["train/loss"] for row in fitted.log][:2] == pytest.approx(
        [np.mean(losses[:4]), np.mean(losses[4:8])], rel=1e-6
    )


@pytest.mark.medium
@pytest.mark.parametrize("across, loop", [("vmap", "scan"), ("map", "scan"), ("vmap", "calls")])
def test_the_same_of_a_population(across, loop):
    configs = [Config(lr=lr) for lr in (0.0, 0.01)]
    _, _, row = run_plan(logging, configs, Plan(2, across, loop, 1), calls=[3, 10])
    for member, config in enumerate(configs):
        alone = train.fit(logging(config), jax.random.key(member)).log[:3]
        mine = log_rows(jax.device_get(row.log), member, evaluation=10)
        assert [one["step"] for one in mine] == [4, 8, 10]
        for name in ("train/done", "train/loss"):
            assert [row[name] for row in mine] == pytest.approx([row[name] for row in alone], rel=1e-5)


@pytest.mark.parametrize("step, steps", [(6, [4, 6]), (10, [4, 8, 10]), (0, [])])
def test_a_failed_run_is_logged_up_to_where_it_failed(step, steps, tmp_path):
    fitted = train.fit(failing_at(logging(Config()), step), KEY, directory=tmp_path)
    assert fitted.end["status"] == "failed" and fitted.end["step"] == step
    assert [row["step"] for row in fitted.log] == steps
    assert all(math.isfinite(row["train/loss"]) for row in fitted.log)
    again = train.fit(failing_at(logging(Config()), step), KEY, directory=tmp_path)
    assert again.log == fitted.log and again.rows == fitted.rows


def test_an_interrupted_run_logs_what_one_in_one_go_does(tmp_path):
    whole = train.fit(logging(Config()), KEY)
    stop = train.Progress(step=lambda done, total, live: _interrupt(done))
    with pytest.raises(OSError, match="the terminal is gone"):  # all is saved, and the run ends
        train.fit(logging(Config()), KEY, directory=tmp_path, saving=train.Saving(steps=1), progress=stop)
    resumed = train.fit(logging(Config()), KEY, directory=tmp_path)
    assert resumed.log == whole.log and resumed.rows == whole.rows


def _interrupt(done):
    if done == 13:
        raise OSError("the terminal is gone")


def test_a_result_has_it_beside_its_rows(tmp_path):
    space = fdl.grid(Config(), lr=(0.0, 0.01), seeds=2)
    result = fdl.sweep(logging, space, workdir=tmp_path)
    assert result.log is not None
    assert list(result.log["step"].unique()) == [4, 8, 10, 14, 18, 20] and len(result.log) == 24
    assert not any(name.startswith("test/") for name in result.log) and len(result.frame) == 8
    again = fdl.sweep(logging, space, workdir=tmp_path)
    assert again.log is not None and again.log.equals(result.log) and again.frame.equals(result.frame)
    some = result.where(lr=0.01, seed=1)
    assert some.log is not None and len(some.log) == 6 and set(some.log["lr"]) == {0.01}
    joined = (some + result.where(lr=0.0)).log
    assert joined is not None and len(joined) == 18
    without = fdl.sweep(lambda config: logging(config, log_every=None), space)
    with pytest.raises(ValueError, match="the results have other tables: frame, failures"):
        _ = without + result


@pytest.mark.parametrize("log_every", [0, -1, 2.5, True])
def test_a_log_every_no_whole_number_of_steps_is_refused(log_every):
    with pytest.raises(ValueError, match="log_every is"):
        fdl.check(logging(Config(), log_every=log_every))
