"""What optimizers ask of a task besides the gradient, and the parameters that a run is judged by."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from fdl import losses, models, tasks
from fdl.experiment import Experiment, Source
from fdl.metrics import Mean
from fdl.optim import evaluation_params, frozen
from fdl.tasks.gradient import State, gradient_learner, variables
from fdl.train import fit, state_at
from tests.tasks.test_supervised import batch_of, close, linear_splits, output

SPLITS = linear_splits()
LINE = models.MLP((), 1)
SEARCH = optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(3))
FREE = contrib.schedule_free_sgd(0.1)


def task(optimizer: Any, model: Any = LINE, **options: Any) -> Any:
    return tasks.regression(model, SPLITS, optimizer, steps=1, batch_size=16, **options)


def after(experiment: Any, steps: int) -> tuple[Any, list[Any]]:
    """The state after steps on one batch, and the metrics of each."""
    step, batch, seen = jax.jit(experiment.learner.step), batch_of(experiment.train), []
    state = jax.jit(experiment.learner.init)(jax.random.key(0))
    for _ in range(steps):
        state, metrics = step(state, batch, jax.random.key(1))
        seen.append(metrics)
    return state, seen


def objective(params: Any, batch: Any) -> jax.Array:
    """What `task(..., l2=0.1)` minimises, by hand."""
    value = jnp.mean(
        losses.squared_error(output(LINE, params, batch["x"]).reshape(batch["y"].shape), batch["y"])
    )
    return value + 0.1 * losses.l2(params)


@pytest.mark.slow  # a line search is much to compile
@pytest.mark.parametrize(
    "optimizer",
    [SEARCH, optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(6, store_grad=True))],
)
def test_line_searches_take_the_steps_that_they_take_by_hand(optimizer):
    for accumulate in (1, 2):
        experiment = task(optimizer, l2=0.1, accumulate=accumulate)
        state, seen = after(experiment, 3)
        params, batch = jax.jit(experiment.learner.init)(jax.random.key(0)).params, batch_of(experiment.train)
        value_fn, own = functools.partial(objective, batch=batch), optimizer.init(params)
        update = jax.jit(functools.partial(optimizer.update, value_fn=value_fn))
        slope = jax.jit(jax.value_and_grad(value_fn))
        start, updates = float(value_fn(params)), None
        for _ in range(3):
            value, grad = slope(params)
            updates, own = update(grad, own, params, value=value, grad=grad)
            params = optax.apply_updates(params, updates)
        close(state.params, params, rtol=1e-4, atol=1e-5)
        close(seen[-1]["update_norm"], optax.tree.norm(updates), rtol=1e-3, atol=1e-5)
        assert float(value_fn(state.params)) < 0.5 * start


@pytest.mark.medium
def test_polyaks_step_is_the_loss_with_its_penalty_over_the_squared_gradient():
    experiment = task(optax.polyak_sgd(max_learning_rate=10.0), l2=0.1)
    start, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)
    value, grads = jax.jit(jax.value_and_grad(objective))(start.params, batch)
    rate = value / sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(grads))
    state, _ = after(experiment, 1)
    close(state.params, jax.tree.map(lambda p, g: p - rate * g, start.params, grads), rtol=1e-4)


def test_a_rate_falls_on_a_plateau_of_the_loss():
    plateau = contrib.reduce_on_plateau(factor=0.5, patience=1, rtol=0.5)
    falling, _ = after(task(optax.chain(optax.sgd(1e-6), plateau)), 5)  # the first loss is the best so far
    assert falling.optimizer[-1].scale == 0.5**4
    steady, _ = after(task(optax.chain(optax.sgd(1e-6), contrib.reduce_on_plateau(patience=9))), 5)
    assert steady.optimizer[-1].scale == 1


@pytest.mark.slow
def test_members_search_side_by_side_and_collections_move_once():
    model = models.MLP((3,), 1, norm=models.batch_norm)

    def run(factor: jax.Array) -> State:
        learner = task(SEARCH, model, l2=factor).learner
        return learner.step(learner.init(jax.random.key(0)), batch, jax.random.key(1))[0]

    batch, factors = batch_of(task(SEARCH, model).train), jnp.array([0.0, 0.3])
    together = jax.jit(jax.vmap(run))(factors)
    alone = jax.jit(run)(factors[1])
    close(jax.tree.map(lambda leaf: leaf[1], together.params), alone.params, rtol=1e-4, atol=1e-5)
    plain = task(optax.sgd(0.0), model).learner
    once, _ = jax.jit(plain.step)(jax.jit(plain.init)(jax.random.key(0)), batch, jax.random.key(1))
    close(alone.model_state, once.model_state)


WRAPPED = {
    "alone": lambda: FREE,
    "in a chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), FREE),
    "with hyper-parameters in the state": lambda: optax.inject_hyperparams(contrib.schedule_free_sgd)(0.1),
    "where all is finite": lambda: optax.apply_if_finite(FREE, 2),
    "of several steps": lambda: optax.MultiSteps(FREE, 2).gradient_transformation(),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_schedule_free_optimizers_are_judged_at_their_average(name):
    experiment = task(WRAPPED[name]())
    state, _ = after(experiment, 4)
    (inner,) = [
        node
        for node in jax.tree.leaves(
            state.optimizer, is_leaf=lambda n: isinstance(n, contrib.ScheduleFreeState)
        )
        if isinstance(node, contrib.ScheduleFreeState)
    ]
    average = contrib.schedule_free_eval_params(inner, state.params)
    close(variables(state)["params"], average)
    batch = batch_of(experiment.evaluation["test"])
    evaluate, key = jax.jit(experiment.learner.evaluate), jax.random.key(0)
    found = evaluate(state, batch, key)["loss"].value
    close(found, evaluate(State(average, {}, ()), batch, key)["loss"].value)
    assert abs(found - evaluate(State(state.params, {}, ()), batch, key)["loss"].value) > 1e-4


def test_parts_of_the_parameters_are_judged_each_by_its_optimizer():
    kernels = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)  # noqa: E731
    both = optax.partition({True: FREE, False: optax.sgd(0.1)}, kernels)
    state, _ = after(task(both), 3)
    seen, trained = nn.unbox(variables(state)["params"])["Dense_0"], nn.unbox(state.params)["Dense_0"]
    np.testing.assert_array_equal(seen["bias"], trained["bias"])
    assert np.abs(seen["kernel"] - trained["kernel"]).max() > 1e-3


def test_an_average_of_a_schedule_free_run_is_of_what_it_is_judged_by():
    experiment = task(FREE)
    outer = experiment._replace(learner=tasks.with_ema(experiment.learner, decay=0.0))
    state, _ = after(outer, 3)
    close(variables(state.state)["params"], evaluation_params(state.latest.optimizer, state.latest.params))


def test_sharpness_aware_runs_are_judged_at_their_own_parameters():
    ascent = optax.chain(contrib.normalize(), optax.sgd(0.5))
    experiment = task(contrib.sam(optax.sgd(0.1), ascent))
    start = jax.jit(experiment.learner.init)(jax.random.key(0))
    between, _ = after(experiment, 1)
    close(variables(between)["params"], start.params)
    moved = jax.tree.map(jnp.subtract, between.params, start.params)
    np.testing.assert_allclose(optax.tree.norm(moved), 0.5, rtol=1e-5)  # as far as the ascent goes
    later, _ = after(experiment, 2)
    close(variables(later)["params"], later.params, rtol=0, atol=0)


def test_a_schedule_free_optimizer_inside_one_that_reshapes_is_refused():
    experiment = task(optax.flatten(FREE))
    with pytest.raises(
        ValueError, match=r"inside one that reshapes them, such as optax.flatten; put that inside"
    ):
        variables(experiment.learner.init(jax.random.key(0)))


@pytest.mark.slow
def test_a_line_search_may_leave_parameters_frozen():
    state, _ = after(task(frozen(SEARCH, lambda path: path[-1] == "bias")), 3)
    fixed = lambda grads: jax.tree_util.tree_map_with_path(  # noqa: E731
        lambda path, leaf: leaf * ("kernel" in str(path)), grads
    )
    start, batch = jax.jit(task(SEARCH).learner.init)(jax.random.key(0)), batch_of(task(SEARCH).train)
    close(
        nn.unbox(state.params)["Dense_0"]["bias"], nn.unbox(start.params)["Dense_0"]["bias"], rtol=0, atol=0
    )
    value = jax.jit(functools.partial(objective, batch=batch))
    assert value(state.params) < value(start.params)
    gradient = fixed(jax.jit(jax.grad(lambda p: value(p) - 0.1 * losses.l2(p)))(state.params))
    assert optax.tree.norm(gradient) < 0.05 * optax.tree.norm(fixed(jax.jit(jax.grad(value))(start.params)))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("optimizer", "good", "moves"),
    [(optax.sgd(0.1), 3, 3), (optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation(), 2, 1)],
)
def test_a_run_whose_loss_is_finite_and_whose_gradient_is_not_fails_with_its_last_good_state(
    optimizer, good, moves
):
    def loss(variables: Any, batch: Any, key: jax.Array) -> Any:
        del key
        square = jnp.sum(variables["params"]["w"] ** 2)
        left = jnp.clip(good - batch["step"].astype(jnp.float32), 0, 1)  # at last 0: the gradient is 0 / 0
        mean = Mean(jnp.sum(jnp.sqrt(square * left)), jnp.ones(()))
        return mean, ({"loss": mean}, {})

    def evaluate(variables: Any, batch: Any, key: Any) -> Any:
        return {"loss": Mean(jnp.sum(variables["params"]["w"] ** 2), jnp.sum(batch["step"] * 0.0) + 1)}

    init = lambda key: {"params": {"w": jnp.ones(3)}}  # noqa: E731
    learner = gradient_learner(init, loss, evaluate, optimizer)
    source = Source((), lambda arrays, step, key: {"step": jnp.full(1, step)}, 1)
    experiment = Experiment(learner, source, {"test": source}, 5, 5)
    fitted = fit(experiment, jax.random.key(0))
    assert fitted.end == {"status": "failed", "step": good, "metric": "train/update_norm"}
    last = state_at(experiment, jax.random.key(0), good)
    np.testing.assert_allclose(last.params["w"], 1 - moves * 0.1 / np.sqrt(3), rtol=1e-6)


@pytest.mark.medium
def test_running_statistics_that_overflow_fail_a_run_whose_loss_and_update_are_finite():
    learner = task(optax.sgd(0.1), models.MLP((3,), 1, norm=models.batch_norm)).learner
    state, batch = jax.jit(learner.init)(jax.random.key(0)), batch_of(task(optax.sgd(0.1)).train)
    step = jax.jit(learner.step)
    _, good = step(state, batch, jax.random.key(0))
    _, bad = step(state, {**batch, "x": batch["x"] * 1e25}, jax.random.key(0))
    assert (
        np.isfinite(good["update_norm"]) and np.isfinite(bad["loss"].value) and np.isnan(bad["update_norm"])
    )
