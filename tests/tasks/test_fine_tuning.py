"""Fine-tuning: frozen parameters stay bit for bit, given ones begin a run, and what does not fit is named."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import tasks
from fdl.data import Splits, digits
from fdl.models import MLP, batch_norm
from fdl.models.resnet import ResNet
from fdl.tasks.fine_tuning import frozen, warm_start
from fdl.tasks.gradient import variables
from tests.tasks.test_supervised import batch_of, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling

DIGITS = digits()
MODEL, SMALL = (MLP((32,), outputs, norm=batch_norm) for outputs in (10, 5))


def head(path):
    return path[0] == "Dense_0"


def trunk(path):
    return path[0] == "Layer_0"


def some_digits(low, high):
    """The digits from `low` to before `high`, labelled from 0."""

    def part(arrays):
        rows = (arrays["y"] >= low) & (arrays["y"] < high)
        return {"x": arrays["x"][rows], "y": arrays["y"][rows] - low}

    return Splits(part(DIGITS.train), part(DIGITS.validation), part(DIGITS.test))


@functools.cache
def pretrained():
    experiment = tasks.classification(SMALL, some_digits(0, 5), optax.adam(1e-2), steps=1)
    return variables(trained(experiment, 150))


def flat(params):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}


def same_bits(a, b):
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize(
    "make", [optax.adam, optax.sgd, lambda lr: optax.adamw(lr, weight_decay=0.5), optax.lion]
)
def test_frozen_parameters_stay_bit_for_bit_and_the_others_move(make):
    optimizer = frozen(make(0.1), trunk)
    experiment = tasks.classification(MODEL, DIGITS, optimizer, steps=5)
    start, end = (flat(trained(experiment, steps).params) for steps in (0, 5))
    for name in start:
        assert same_bits(start[name], end[name]) == name.startswith("['Layer_0']"), name


@pytest.mark.parametrize(
    "norm", [batch_norm, lambda x, train: nn.BatchNorm(use_running_average=not train)(x)]
)
def test_a_frozen_layer_is_one_function_in_training_too(norm):
    """Of random layers: what the head is trained on is what it is evaluated on."""
    model = MLP((32,), 10, norm=norm)
    experiment = tasks.classification(model, DIGITS, frozen(optax.sgd(0.1), trunk), steps=5)
    free = tasks.classification(model, DIGITS, optax.sgd(0.1), steps=5)
    start, end = (trained(experiment, steps) for steps in (0, 5))
    for before, after in zip(
        jax.tree.leaves(start.model_state), jax.tree.leaves(end.model_state), strict=True
    ):
        assert same_bits(before, after)
    batch = batch_of(experiment.train)
    _, seen = jax.jit(experiment.learner.step)(end, batch, jax.random.key(0))
    evaluated = jax.jit(experiment.learner.evaluate)(
        end, batch | {"weight": jnp.ones(len(batch["x"]))}, jax.random.key(0)
    )
    np.testing.assert_allclose(seen["loss"].value, evaluated["loss"].value, rtol=1e-5)
    moved = trained(free, 5).model_state
    assert not any(map(same_bits, jax.tree.leaves(moved), jax.tree.leaves(start.model_state)))


def test_the_optimizer_neither_sees_nor_keeps_what_is_frozen():
    optimizer = frozen(
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1.0)), lambda path: path == ("a",)
    )
    params = {"a": jnp.full(1000, 2.0), "b": jnp.ones(3)}
    state = optimizer.init(params)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 20
    alone = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1.0))
    wanted, _ = alone.update({"b": params["b"]}, alone.init({"b": params["b"]}), {"b": params["b"]})
    updates, _ = optimizer.update(params, state, params)
    np.testing.assert_array_equal(updates["b"], wanted["b"])
    assert not updates["a"].any()


def test_boxes_with_names_of_axes_leave_no_trace_in_paths():
    seen, model = set(), ResNet((1,), 4, width=4, small=True)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]

    def chosen(path):
        seen.add(path)
        return path[-1] == "kernel"

    optimizer = frozen(optax.sgd(1.0), chosen)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert ("Residual_0", "Conv_0", "kernel") in seen and not any("value" in path for path in seen)
    moved = {name: bool(np.any(leaf)) for name, leaf in flat(updates).items()}
    assert not any(there for name, there in moved.items() if "kernel" in name)
    assert any(moved.values())


def test_a_run_begins_with_what_is_given():
    given = pretrained()
    optimizer = optax.adam(1e-2)
    experiment = tasks.classification(SMALL, some_digits(5, 10), optimizer, steps=1)
    state = jax.jit(warm_start(experiment, optimizer, given).learner.init)(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, variables(state), dict(given))


def test_a_new_head_starts_fresh_of_whatever_shape():
    optimizer = optax.adam(1e-2)
    experiment = tasks.classification(MODEL, DIGITS, optimizer, steps=1)
    warm = jax.jit(warm_start(experiment, optimizer, pretrained(), fresh=head).learner.init)(
        jax.random.key(0)
    )
    cold = jax.jit(experiment.learner.init)(jax.random.key(0))
    for name, leaf in flat(warm.params).items():
        source = cold.params if name.startswith("['Dense_0']") else pretrained()["params"]
        np.testing.assert_array_equal(leaf, flat(source)[name])


def test_the_optimizers_state_is_that_of_the_given_parameters():
    optimizer = optax.contrib.schedule_free_sgd(0.1)  # it keeps a copy of the parameters
    experiment = tasks.classification(SMALL, some_digits(5, 10), optimizer, steps=1)
    state = jax.jit(warm_start(experiment, optimizer, pretrained()).learner.init)(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, state.optimizer, optimizer.init(pretrained()["params"]))


def test_collections_that_are_not_given_start_as_they_would_and_boxes_do_not_matter():
    model, optimizer = ResNet((1,), 4, width=4, small=True), optax.sgd(0.1)
    x = np.zeros((8, 8, 8, 1), np.float32)
    part = {"x": x, "y": np.arange(8) % 4}
    experiment = tasks.classification(model, Splits(part, part, part), optimizer, steps=1, batch_size=2)
    given = jax.tree.map(
        np.asarray, jax.tree.leaves(jax.jit(experiment.learner.init)(jax.random.key(5)).params)
    )
    boxed = jax.jit(experiment.learner.init)(jax.random.key(0))
    tree = jax.tree.unflatten(jax.tree.structure(boxed.params), given)
    for params in (tree, nn.meta.unbox(tree)):
        state = jax.jit(warm_start(experiment, optimizer, {"params": params}).learner.init)(jax.random.key(0))
        assert jax.tree.structure(state) == jax.tree.structure(boxed)
        jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(state.params), given)
        jax.tree.map(np.testing.assert_array_equal, state.model_state, boxed.model_state)


def test_a_frozen_trunk_of_other_digits_beats_a_random_one():
    splits, optimizer = some_digits(5, 10), frozen(optax.adam(1e-2), trunk)
    cold = tasks.classification(SMALL, splits, optimizer, steps=1)
    warm = warm_start(cold, optimizer, {"params": pretrained()["params"]}, fresh=head)
    for seed in range(3):
        a, b = (evaluated(one, trained(one, 60, seed), "test")["loss"] for one in (warm, cold))
        assert a < b, seed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: p | {"Dense_0": {"kernel": np.ones((32, 5))}},
            r"params .*: Dense_0/bias \[5\] is missing: give",
        ),
        (
            lambda p: p | {"Dense_0": p["Dense_0"] | {"kernel": np.ones((8, 5))}},
            r"Dense_0/kernel is \[8, 5\], expected \[32, 5\]",
        ),
        (lambda p: p | {"More": {"kernel": np.ones(3)}}, r"More/kernel \[3\] is not the model's"),
        (lambda p: {}, r"Dense_0/bias \[5\] is missing; Dense_0/kernel .*; and 3 more: give"),
    ],
)
def test_parameters_that_do_not_fit_are_named(change, message):
    optimizer = optax.sgd(0.1)
    experiment = tasks.classification(SMALL, some_digits(5, 10), optimizer, steps=1)
    with pytest.raises(ValueError, match=message) as error:
        warm_start(experiment, optimizer, {"params": change(dict(pretrained()["params"]))})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "optimizer", "message"),
    [
        ({"batch_stats": {}}, optax.sgd(0.1), r"collections \['batch_stats'\] are given; expected 'params'"),
        ({"params": {}, "cache": {}}, optax.sgd(0.1), r"collections \['cache', 'params'\] are given"),
        ({"params": {}}, optax.adam(0.1), "the optimizer is not the experiment's own"),
    ],
)
def test_other_things_that_do_not_fit(given, optimizer, message):
    experiment = tasks.classification(MODEL, DIGITS, optax.sgd(0.1), steps=1)
    with pytest.raises(ValueError, match=message):
        warm_start(experiment, optimizer, given)
