import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core.meta import unbox

from fdl import losses, tasks
from fdl.data import Splits, digits
from fdl.models import MLP, batch_norm, layer_norm
from fdl.models.mlp import LONGEST_UNROLLED

DIGITS = digits()
DEEP = (16,) * (LONGEST_UNROLLED + 2)


def linear_splits(targets=None, rows=(64, 16, 24)):
    """Targets that are a linear function of x `[N, 3]` plus noise; `[N]` if `targets` is None."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, targets or 1))

    def split(n):
        x = rng.normal(size=(n, 3)).astype(np.float32)
        y = (x @ weights + 0.5 + 0.3 * rng.normal(size=(n, targets or 1))).astype(np.float32)
        return {"x": x, "y": y if targets else y[:, 0]}

    train, validation, test = (split(n) for n in rows)
    return Splits(train, validation, test)


def digits_task(widths=(16,), lr=1e-2, norm=None, dropout=0.0, skip=False, make=optax.adam, **options: Any):
    model = MLP(widths, 10, norm=norm, dropout=dropout, skip=skip)
    return tasks.classification(model, DIGITS, make(lr), steps=10, **options)


def output(model: Any, params, x):
    """The model's outputs for x in evaluation."""
    return model.apply({"params": params}, x)


def batch_of(source, step=0):
    return jax.jit(source.batch)(source.arrays, jnp.int32(step), jax.random.key(9))


def training(experiment, steps, options=None):
    """The program from a source's arrays and a key to the state after so many steps; `options` of XLA's."""
    learner, source = experiment.learner, experiment.train

    @functools.partial(jax.jit, compiler_options=options)
    def run(arrays, key):
        def step(i, state):
            return learner.step(state, source.batch(arrays, i, key), jax.random.fold_in(key, i))[0]

        return jax.lax.fori_loop(0, steps, step, learner.init(key))

    return run


def trained(experiment, steps, seed=0, options=None):
    """The state after so many steps, in one program."""
    return training(experiment, steps, options)(experiment.train.arrays, jax.random.key(seed))


def evaluated(experiment, state, split):
    """The metrics of a whole split."""
    source, evaluate = experiment.evaluation[split], jax.jit(experiment.learner.evaluate)
    parts = [evaluate(state, batch_of(source, step), jax.random.key(0)) for step in range(source.batches)]
    sums = functools.reduce(functools.partial(jax.tree.map, jnp.add), parts)
    return {name: part.value for name, part in sums.items()}


def close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


SGD_TASK = functools.partial(
    digits_task, make=optax.sgd
)  # Adam's first step magnifies rounding: lr · sign(g)
CASES = {
    "plain": SGD_TASK,
    "everything": functools.partial(
        SGD_TASK, norm=batch_norm, dropout=0.2, skip=True, label_smoothing=0.1, l1=1e-4, l2=1e-3
    ),
    "scanned": functools.partial(SGD_TASK, DEEP, norm=batch_norm, dropout=0.2, skip=True),
    "regression": lambda: tasks.regression(
        MLP((8,), 1, norm=layer_norm, dropout=0.1), linear_splits(), optax.sgd(1e-2), steps=10, l2=1e-3
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("name", CASES)
def test_functions_are_pure_jittable_and_vmappable(name):
    experiment = CASES[name]()
    learner, batch, test = (
        experiment.learner,
        batch_of(experiment.train),
        batch_of(experiment.evaluation["test"]),
    )

    def run(key):
        state = learner.init(key)
        after, metrics = learner.step(state, batch, key)
        return after, metrics, learner.evaluate(after, test, jax.random.key(0))

    keys, jitted = jax.random.split(jax.random.key(1), 3), jax.jit(run)
    first = jitted(keys[1])
    jax.tree.map(np.testing.assert_array_equal, first, jitted(keys[1]))
    close(jax.tree.map(lambda leaf: leaf[1], jax.jit(jax.vmap(run))(keys)), first, atol=1e-5)


@pytest.mark.medium
def test_eager_is_jitted():
    learner, source = SGD_TASK(norm=layer_norm, dropout=0.2, l2=1e-3)[:2]
    state = jax.jit(learner.init)(jax.random.key(0))
    arguments = (state, batch_of(source), jax.random.key(1))
    close(learner.step(*arguments), jax.jit(learner.step)(*arguments))


@pytest.mark.medium
def test_metrics_of_a_step_are_of_the_data_alone():
    plain, full = digits_task(), digits_task(label_smoothing=0.2, l1=0.1, l2=0.1)
    state, batch, key = (
        jax.jit(plain.learner.init)(jax.random.key(0)),
        batch_of(plain.train),
        jax.random.key(1),
    )
    (state_a, a), (state_b, b) = (jax.jit(e.learner.step)(state, batch, key) for e in (plain, full))
    for after, seen in ((state_a, a), (state_b, b)):
        moved = jax.tree.leaves(jax.tree.map(lambda x, y: np.sum((x - y) ** 2), after.params, state.params))
        close(seen["update_norm"], np.sqrt(sum(moved)))
    a, b = ({name: found[name] for name in ("loss", "accuracy")} for found in (a, b))
    close(a, b)
    logits = output(MLP((16,), 10), state.params, batch["x"])
    logp = np.asarray(jax.nn.log_softmax(logits))
    close(a["loss"].value, -logp[np.arange(64), batch["y"]].mean())
    close(a["accuracy"].value, (logp.argmax(-1) == batch["y"]).mean())
    assert not np.allclose(
        unbox(state_a.params)["Dense_0"]["kernel"], unbox(state_b.params)["Dense_0"]["kernel"]
    )


def test_the_gradient_is_of_smoothed_loss_plus_penalties():
    model, lr = MLP((16,), 10), 0.1
    experiment = tasks.classification(
        model, DIGITS, optax.sgd(lr), steps=1, label_smoothing=0.2, l1=0.01, l2=0.02
    )
    state, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)

    def objective(params):
        logits = output(model, params, batch["x"])
        data = losses.cross_entropy(logits, batch["y"], label_smoothing=0.2).mean()
        return data + 0.01 * losses.l1(params) + 0.02 * losses.l2(params)

    after, _ = jax.jit(experiment.learner.step)(state, batch, jax.random.key(1))
    expected = jax.tree.map(lambda p, g: p - lr * g, state.params, jax.jit(jax.grad(objective))(state.params))
    close(after.params, expected)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("transform", "equal"),
    [(optax.identity(), True), (optax.scale_by_adam(), False), (optax.trace(0.9), False)],
    ids=["sgd", "adam", "momentum"],
)
def test_l2_in_the_loss_is_decoupled_decay_under_sgd_only(transform, equal):
    # Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, propositions 1 and 2.
    decay, lr = 0.1, 0.05
    kernels = functools.partial(jax.tree_util.tree_map_with_path, lambda path, _: path[-1].key == "kernel")
    decoupled = optax.chain(transform, optax.add_decayed_weights(decay, kernels), optax.scale(-lr))
    coupled = optax.chain(transform, optax.scale(-lr))
    options: dict[str, Any] = {"steps": 10, "batch_size": 32}
    model = MLP((16,), 10, activation=nn.tanh)
    a = tasks.classification(model, DIGITS, coupled, l2=decay, **options)
    b = tasks.classification(model, DIGITS, decoupled, **options)
    one, other = trained(a, 10).params, trained(b, 10).params
    if equal:
        close(one, other)
    else:
        assert np.abs(one["Dense_0"]["kernel"] - other["Dense_0"]["kernel"]).max() > 0.01


@pytest.mark.medium
def test_traced_hyper_parameters_share_one_program():
    traces = 0

    @jax.jit
    def run(lr, dropout, smoothing, l1, l2, arrays, key):
        nonlocal traces
        traces += 1
        e = digits_task(lr=lr, dropout=dropout, label_smoothing=smoothing, l1=l1, l2=l2)
        batch = e.train.batch(arrays, jnp.int32(0), key)
        return e.learner.step(e.learner.init(key), batch, key)[0].params

    arrays, key = digits_task().train.arrays, jax.random.key(0)
    zero = run(1e-2, 0.0, 0.0, 0.0, 0.0, arrays, key)
    other = run(1e-3, 0.5, 0.1, 0.1, 0.1, arrays, key)
    assert traces == 1
    assert not np.allclose(zero["Dense_0"]["kernel"], other["Dense_0"]["kernel"])
    e = digits_task(lr=1e-2)
    batch = jax.jit(e.train.batch)(arrays, jnp.int32(0), key)
    python, _ = jax.jit(lambda batch, key: e.learner.step(e.learner.init(key), batch, key))(batch, key)
    gap = jax.tree.map(lambda a, b: np.abs(a - b).max(), zero, python.params)
    assert max(jax.tree.leaves(gap)) < 1e-5


@pytest.mark.medium
def test_vmap_over_traced_hyper_parameters_and_seeds():
    arrays, rates = digits_task().train.arrays, jnp.array([0.0, 0.3, 0.8])

    def loss(rate, key, arrays):
        e = digits_task(dropout=rate)
        return e.learner.step(e.learner.init(key), e.train.batch(arrays, jnp.int32(0), key), key)[1][
            "loss"
        ].value

    keys, one = jax.random.split(jax.random.key(0), 3), jax.jit(loss)
    together = jax.jit(jax.vmap(loss, (0, 0, None)))(rates, keys, arrays)
    close(together, jnp.stack([one(rate, key, arrays) for rate, key in zip(rates, keys, strict=True)]))


@pytest.mark.medium
@pytest.mark.parametrize("widths", [(16, 8), DEEP])
def test_batch_statistics_move_in_a_step_only(widths):
    experiment = digits_task(widths, norm=batch_norm)
    learner, batch = experiment.learner, batch_of(experiment.train)
    before = jax.jit(learner.init)(jax.random.key(0))
    after, _ = jax.jit(learner.step)(before, batch, jax.random.key(1))
    dense = unbox(before.params)["Layer_0"]["Dense_0"]
    inputs = np.asarray(batch["x"] @ dense["kernel"] + dense["bias"])
    statistics = after.model_state["batch_stats"]["Layer_0"]["BatchNorm_0"]
    close(statistics, {"mean": 0.1 * inputs.mean(0), "var": 0.9 + 0.1 * inputs.var(0)}, atol=1e-5)
    moved = jax.tree.map(lambda a, b: np.all(a != b), before.model_state, after.model_state)
    assert all(jax.tree.leaves(moved))
    # An evaluation normalises by the running statistics: a row's loss does not depend on the others.
    test = batch_of(experiment.evaluation["test"])
    alone = jax.jit(learner.evaluate)(after, jax.tree.map(lambda leaf: leaf[:1], test), jax.random.key(0))
    first = jax.jit(learner.evaluate)(
        after, test | {"weight": jnp.zeros_like(test["weight"]).at[0].set(1)}, jax.random.key(0)
    )
    close(alone, first)


def test_dropout_is_a_function_of_the_steps_key():
    learner, batch = digits_task(dropout=0.5).learner, batch_of(digits_task().train)
    step = jax.jit(learner.step)
    state = jax.jit(learner.init)(jax.random.key(0))
    a, b, c = (float(step(state, batch, jax.random.key(k))[1]["loss"].value) for k in (1, 1, 2))
    assert a == b != c


def test_an_evaluation_is_exact_over_the_split():
    experiment = digits_task((16,))
    state = jax.jit(experiment.learner.init)(jax.random.key(0))
    x, y = DIGITS.test["x"], DIGITS.test["y"]
    logp = np.asarray(jax.nn.log_softmax(output(MLP((16,), 10), state.params, x)), np.float64)
    metrics = evaluated(experiment, state, "test")
    close(metrics["loss"], -logp[np.arange(len(y)), y].mean(), rtol=1e-6)
    close(metrics["accuracy"], (logp.argmax(-1) == y).mean(), rtol=1e-6)


@pytest.mark.parametrize(("rows", "batches"), [(7, 1), (512, 1), (513, 2), (1100, 3)])
def test_an_evaluation_of_any_size_is_exact(rows, batches):
    splits = linear_splits(rows=(8, rows, 5))
    experiment = tasks.regression(MLP((), 1), splits, optax.sgd(0.1), steps=1)
    assert experiment.evaluation["validation"].batches == batches
    state = jax.jit(experiment.learner.init)(jax.random.key(0))
    error = np.asarray(output(MLP((), 1), state.params, splits.validation["x"]), np.float64)[:, 0]
    error = error - splits.validation["y"]
    metrics = evaluated(experiment, state, "validation")
    close(metrics, {"loss": (error**2).mean(), "absolute_error": np.abs(error).mean()}, rtol=1e-6)


@pytest.mark.medium
def test_it_learns_digits():
    model = MLP((64,), 10)
    experiment = tasks.classification(model, DIGITS, optax.adam(3e-3), steps=300)
    assert evaluated(experiment, trained(experiment, 300), "test")["accuracy"] > 0.9


@pytest.mark.parametrize("targets", [None, 2])
def test_regression_finds_the_least_squares_solution(targets):
    splits = linear_splits(targets)
    model = MLP((), targets or 1)
    experiment = tasks.regression(model, splits, optax.sgd(0.3), steps=400, batch_size=64)
    params = unbox(trained(experiment, 400).params)["Dense_0"]
    design = np.column_stack([splits.train["x"], np.ones(64)]).astype(np.float64)
    solution = np.linalg.lstsq(design, splits.train["y"].reshape(64, -1), rcond=None)[0]
    np.testing.assert_allclose(params["kernel"], solution[:-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(params["bias"], solution[-1], rtol=1e-4, atol=1e-5)


def test_ridge_regression_finds_its_closed_form():
    splits, penalty = linear_splits(), 0.5
    x, y = (splits.train[k].astype(np.float64) for k in ("x", "y"))
    experiment = tasks.regression(MLP((), 1), splits, optax.sgd(0.2), steps=400, batch_size=64, l2=penalty)
    params = unbox(trained(experiment, 400).params)["Dense_0"]
    centred = x - x.mean(0)
    # The gradient of mean (xw + b - y)² + penalty/2 |w|² in w is 0.
    expected = np.linalg.solve(2 * centred.T @ centred / 64 + penalty * np.eye(3), 2 * centred.T @ y / 64)
    np.testing.assert_allclose(params["kernel"][:, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("steps", "given", "every"), [(1000, None, 100), (5, None, 1), (1000, 7, 7)])
def test_evaluation_intervals(steps, given, every):
    model = MLP((), 10)
    experiment = tasks.classification(model, DIGITS, optax.sgd(0.1), steps=steps, evaluate_every=given)
    assert (experiment.steps, experiment.evaluate_every) == (steps, every)
    assert set(experiment.evaluation) == {"validation", "test"}
