"""One run as pure functions."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import tree
from fdl.experiment import Experiment
from fdl.metrics import Mean
from fdl.parallel.plan import Plan
from fdl.train import early_stopping, fit, scan, state_at
from fdl.train.program import Program, compile_program, stack_members
from fdl.train.rows import metric_names
from fdl.train.run import Member, arrays_of, evaluation_steps
from tests.toy import ROWS, Config, arrays, experiment

KEY = jax.random.key(3)


def same(a, b):
    """Bit for bit."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def nan_after(step: int, **config):
    """The toy, whose loss is not a number from the update after `step` on."""
    good = experiment(Config(**config))

    def bad_step(state, batch, key):
        state, metrics = good.learner.step(state, batch, key)
        taken = state["taken"] + 1
        return {**state, "taken": taken}, {"loss": jnp.where(taken > step, jnp.nan, metrics["loss"])}

    learner = good.learner._replace(
        init=lambda key: {**good.learner.init(key), "taken": jnp.int32(0)},
        step=bad_step,
    )
    return good._replace(learner=learner)


@functools.partial(jax.jit, static_argnames="steps")
def single(lr, key, *, steps):
    """The final state of a run by itself."""
    return scan(experiment(dataclasses.replace(Config(steps=steps), lr=lr)), key)[0]


def by_hand(config: Config, key: jax.Array) -> dict:
    """The final state by an ordinary Python loop over the three functions."""
    from fdl import rng

    one = experiment(config)
    state = one.learner.init(rng.stream(key, "init"))
    data = jax.tree.map(jnp.asarray, one.train.arrays)
    for step in range(one.steps):
        batch = one.train.batch(data, jnp.int32(step), rng.stream(key, "data"))
        state, _ = one.learner.step(state, batch, jax.random.fold_in(rng.stream(key, "step"), step))
    return state


@pytest.mark.medium
def test_scan_is_the_python_loop():
    state, _ = jax.jit(lambda key: scan(experiment(Config()), key))(KEY)
    for name, value in by_hand(Config(), KEY).items():
        np.testing.assert_allclose(state[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.medium
def test_fit_gives_the_numbers_of_scan():
    state, rows = jax.jit(lambda key: scan(experiment(Config()), key))(KEY)
    fitted = fit(experiment(Config()), KEY)
    same(state, fitted.state)
    assert [row["step"] for row in fitted.rows] == rows.step.tolist() == [10, 20, 30, 40]
    for name, values in rows.metrics.items():
        assert [row[name] for row in fitted.rows] == values.tolist()


@pytest.mark.parametrize(("steps", "every", "expected"), [
    (40, 10, [10, 20, 30, 40]), (25, 10, [10, 20, 25]), (5, 10, [5]), (1, 1, [1]),
])  # fmt: skip
def test_there_is_always_an_evaluation_after_the_last_step(steps, every, expected):
    assert evaluation_steps(experiment(Config(steps=steps), every=every)) == expected
    rows = fit(experiment(Config(steps=steps), every=every), KEY).rows
    assert [row["step"] for row in rows] == expected


@pytest.mark.medium
def test_scan_is_vmappable_over_keys_and_traced_values():
    rates = jnp.array([0.01, 0.02, 0.05])
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    run = lambda lr, key: scan(experiment(dataclasses.replace(Config(), lr=lr)), key)  # noqa: E731
    together, _ = jax.jit(jax.vmap(run))(rates, keys)
    for index in range(3):
        alone = by_hand(Config(lr=float(rates[index])), keys[index])
        np.testing.assert_allclose(together["weights"][index], alone["weights"], rtol=1e-5, atol=1e-6)


def test_evaluation_is_exact_over_the_whole_split():
    fitted = fit(experiment(Config()), KEY)
    data = arrays()
    error = (np.tanh(data["x"].astype(np.float64) @ np.asarray(fitted.state["weights"])) - data["y"]) ** 2
    assert error.shape == (ROWS,)
    assert fitted.rows[-1]["test/loss"] == pytest.approx(error.mean(), rel=1e-6)


@pytest.mark.medium
def test_the_train_metric_is_the_mean_since_the_last_evaluation():
    every_step = fit(experiment(Config(), every=1), KEY).rows
    rows = fit(experiment(Config(), every=10), KEY).rows
    losses = np.array([row["train/loss"] for row in every_step])
    np.testing.assert_allclose([row["train/loss"] for row in rows], losses.reshape(4, 10).mean(1), rtol=1e-5)


def test_metric_names_are_those_of_the_rows():
    one = experiment(Config())
    assert metric_names(one) == ("train/loss", "test/loss")
    assert set(fit(one, KEY).rows[0]) == {"step", "train/loss", "test/loss"}


PLANS = [
    Plan(4, "map", "scan", 1), Plan(4, "vmap", "scan", 1), Plan(4, "vmap", "calls", 1),
    Plan(4, "map", "calls", 1), Plan(4, "map", "scan", 2), Plan(4, "vmap", "scan", 2),
    Plan(4, "vmap", "calls", 2),
]  # fmt: skip


def compiled(build, config: Config, plan: Plan) -> Program:
    """A program for members of any traced values."""
    members = stack_members([config], KEY[None], pad_to=plan.members)
    return compile_program(build, members, arrays_of(build(config)), plan)


@functools.cache
def toys(plan: Plan) -> Program:
    return compiled(experiment, Config(), plan)


def run_plan(build, configs, plan, *, calls, program: Program | None = None):
    keys = jax.vmap(jax.random.key)(jnp.arange(len(configs)))
    members = stack_members(configs, keys, pad_to=plan.members)
    program = program or compiled(build, configs[0], plan)
    members = program.place(members)
    carry, done = program.init(members), 0
    pulse: Any = None
    for end in calls:
        carry, pulse = program.advance(members, carry, done, end)
        done = end
    carry, row = program.evaluate(members, carry)
    return carry, pulse, row


@pytest.mark.medium
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_plans_agree_with_single_runs(plan):
    if plan.devices > len(jax.devices()):
        pytest.skip(f"needs {plan.devices} devices; there are {len(jax.devices())}")
    configs = [Config(lr=lr) for lr in (0.01, 0.02, 0.05)]
    one_step, pulse, _ = run_plan(experiment, configs, plan, calls=[1], program=toys(plan))
    assert pulse.step[:3].tolist() == [1, 1, 1] and pulse.live.tolist() == [True, True, True, False]
    whole, _, row = run_plan(experiment, configs, plan, calls=[7, 8, 40], program=toys(plan))
    assert row.valid.tolist() == [True, True, True, False], "padding takes no step and gives no row"
    for index, config in enumerate(configs):
        for carry, steps in ((one_step, 1), (whole, 40)):
            alone = single(config.lr, jax.random.key(index), steps=steps)
            np.testing.assert_allclose(carry.state["weights"][index], alone["weights"], rtol=1e-5, atol=1e-6)


@pytest.mark.medium
@pytest.mark.parametrize("plan", PLANS[:3], ids=str)
def test_how_steps_are_cut_into_calls_changes_no_bit(plan):
    configs = [Config(lr=lr) for lr in (0.01, 0.02, 0.05, 0.1)]
    cuts, program = ([40], [1, 2, 3, 17, 40]), toys(plan)
    same(*(run_plan(experiment, configs, plan, calls=c, program=program)[0].state for c in cuts))


@pytest.mark.medium
@pytest.mark.parametrize("plan", PLANS[:3], ids=str)
def test_a_failing_member_ends_at_its_last_good_step_and_can_be_taken_there_again(plan):
    build = lambda config: nan_after(5, lr=0.05) if config.power == 1 else experiment(config)  # noqa: E731
    healthy, _, _ = run_plan(experiment, [Config(lr=0.05)] * 4, plan, calls=[5], program=toys(plan))
    program = compiled(build, Config(lr=0.05), plan)
    carry, pulse, row = run_plan(build, [Config(lr=0.05)] * 4, plan, calls=[20], program=program)
    assert pulse.failed.tolist() == [0] * 4 and carry.step.tolist() == [5] * 4
    assert not row.valid.any()
    again, _, _ = run_plan(build, [Config(lr=0.05)] * 4, plan, calls=[5], program=program)
    np.testing.assert_allclose(again.state["weights"], healthy.state["weights"], rtol=1e-5)


@pytest.mark.medium
def test_one_member_with_an_impossible_rate_does_not_change_the_others():
    plan = Plan(4, "vmap", "scan", 1)
    square = [Config(lr=lr, link=jnp.positive) for lr in (0.01, 0.02, 0.03, 0.04)]
    with_bad = [*square[:3], dataclasses.replace(square[3], lr=1e30)]
    program = compiled(experiment, square[0], plan)
    good, _, _ = run_plan(experiment, square, plan, calls=[40], program=program)
    mixed, pulse, _ = run_plan(experiment, with_bad, plan, calls=[40], program=program)
    assert pulse.failed.tolist() == [-1, -1, -1, 0]
    same(tree.take(good.state, slice(3)), tree.take(mixed.state, slice(3)))


@pytest.mark.medium
def test_a_failure_names_step_and_metric():
    fitted = fit(nan_after(13), KEY)
    assert fitted.end == {"status": "failed", "step": 13, "metric": "train/loss"}
    assert [row["step"] for row in fitted.rows] == [10]
    state = single(0.05, KEY, steps=13)
    good = state_at(nan_after(13), KEY, fitted.end["step"])
    np.testing.assert_allclose(good["weights"], state["weights"], rtol=1e-5)
    with pytest.raises(ValueError, match="ended after step 13"):
        state_at(nan_after(13), KEY, 14)


def test_a_failing_evaluation_names_its_metric():
    good = experiment(Config())

    def evaluate(state, batch, key):
        return jax.tree.map(lambda x: x / 0, good.learner.evaluate(state, batch, key))

    fitted = fit(good._replace(learner=good.learner._replace(evaluate=evaluate)), KEY)
    assert fitted.end == {"status": "failed", "step": 10, "metric": "test/loss"}


@pytest.mark.medium
@pytest.mark.parametrize(("patience", "stops_at"), [(0, 30), (1, 40), (3, 60), (9, 80)])
def test_early_stopping_counts_evaluations_without_an_improvement(patience, stops_at):
    curve = jnp.array([0.0, 3.0, 2.0, 2.5, 2.2, 2.1, 2.05, 2.3, 2.4])  # the best is at step 20
    good = experiment(Config(steps=80))
    counting = nan_after(1000, steps=80).learner

    def evaluate(state, batch, key):
        del batch
        return {"loss": Mean(curve[state["taken"] // 10], jnp.float32(1))}

    source = good.evaluation["test"]._replace(batches=1)
    stopped = good._replace(
        learner=counting._replace(evaluate=evaluate),
        evaluation={"test": source},
        stop=early_stopping("test/loss", patience=patience),
    )
    fitted = fit(stopped, KEY)
    expected = "finished" if stops_at == 80 else "stopped"
    assert fitted.end == {"status": expected, "step": stops_at}
    assert [row["step"] for row in fitted.rows] == list(range(10, stops_at + 1, 10))
    _, rows = jax.jit(lambda key: scan(stopped, key))(KEY)
    assert rows.valid.tolist() == [step <= stops_at for step in range(10, 81, 10)]


def test_early_stopping_on_a_metric_that_is_not_there_says_which_are():
    with pytest.raises(ValueError, match=r"by 'val/loss': .*train/loss, test/loss"):
        fit(experiment(Config())._replace(stop=early_stopping("val/loss", patience=1)), KEY)
    with pytest.raises(ValueError, match="patience is -1"):
        early_stopping("test/loss", patience=-1)


@pytest.mark.medium
def test_arrays_that_a_traced_value_decides_are_each_members_own():
    """Label noise written into the arrays: every member must see its own, not the first one's."""

    def build(config: Config) -> Experiment:
        one = experiment(dataclasses.replace(config, noise=0.0))
        shifted = {**one.train.arrays, "y": one.train.arrays["y"] + config.noise}
        return one._replace(train=one.train._replace(arrays=shifted))

    configs = [Config(noise=noise) for noise in (0.0, 0.5)]
    carry, _, _ = run_plan(build, configs, Plan(2, "vmap", "scan", 1), calls=[40])
    for index, config in enumerate(configs):
        alone = fit(build(config), jax.random.key(index)).state
        np.testing.assert_allclose(carry.state["weights"][index], alone["weights"], rtol=1e-5, atol=1e-6)


def test_members_are_padded_with_ones_that_are_not_live():
    members = stack_members(
        [Config(lr=0.1), Config(lr=0.2)], jax.vmap(jax.random.key)(jnp.arange(2)), pad_to=3
    )
    assert isinstance(members, Member) and members.live.tolist() == [True, True, False]
    assert members.config.lr.tolist() == pytest.approx([0.1, 0.2, 0.2])
