"""A hand-written experiment: what is wrong is one line that says which part, what it is, and what instead."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fdl
from fdl import data, models, tasks
from fdl.experiment import Best, Experiment, Learner, Stopper
from fdl.metrics import Mean
from fdl.train import early_stopping, fit, scan
from fdl.train.check import built
from tests.toy import Config, experiment

KEY = jax.random.key(0)
GOOD = experiment(Config(steps=4), every=2)


def with_learner(**changes: Any) -> Experiment:
    return GOOD._replace(learner=GOOD.learner._replace(**changes))


def with_init(change: Callable[[dict], Any]) -> Experiment:
    return with_learner(init=lambda key: change(GOOD.learner.init(key)))


def with_state(change: Callable[[dict], Any]) -> Experiment:
    """The state that a step returns is another."""

    def step(state, batch, key):
        state, metrics = GOOD.learner.step(state, batch, key)
        return change(state), metrics

    return with_learner(step=step)


def with_metrics(change: Callable[[Any], Any]) -> Experiment:
    def step(state, batch, key):
        state, metrics = GOOD.learner.step(state, batch, key)
        return state, change(metrics["loss"])

    return with_learner(step=step)


def with_test(change: Callable[[Mean], Any]) -> Experiment:
    evaluate = lambda state, batch, key: change(GOOD.learner.evaluate(state, batch, key)["loss"])  # noqa: E731
    return with_learner(evaluate=evaluate)


def with_train(**changes: Any) -> Experiment:
    return GOOD._replace(train=GOOD.train._replace(**changes))


class NoTrain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(x)


def task(model: Any, optimizer: Any) -> Experiment:
    return tasks.classification(model, data.digits(), optimizer, steps=1)


def branching(state, batch, key):
    return (state, {"loss": 0.0}) if state["order"] > 3 else GOOD.learner.step(state, batch, key)


MISTAKES = {
    "no experiment": (lambda: None, "experiment(config) is None; expected an Experiment"),
    "other shape": (
        lambda: with_state(lambda s: {**s, "weights": s["weights"].sum()}),
        "state['weights'] is float32[], expected float32[5]",
    ),
    "other dtype": (
        lambda: with_state(lambda s: {**s, "weights": (s["weights"] + 0.5).astype(jnp.int32)}),
        "state['weights'] is int32[5], expected float32[5]",
    ),
    "less state": (
        lambda: with_state(lambda s: {"weights": s["weights"], "order": s["order"]}),
        "state['momentum'] is nothing, expected float32[5]",
    ),
    "more state": (
        lambda: with_state(lambda s: {**s, "new": 1}),
        "state['new'] is int32[], expected nothing",
    ),
    "state of another kind": (lambda: with_init(lambda s: [s, None]), "TypeError"),
    "floats to sum": (
        lambda: with_test(lambda mean: {"loss": mean.value}),
        "learner.evaluate(...) of 'test'['loss'] is float32[]; expected a fdl.metrics.Mean",
    ),
    "a mean of many": (
        lambda: with_test(lambda mean: {"loss": Mean(jnp.ones(3), jnp.ones(3))}),
        "['loss'] is a Mean of .total float32[3], .weight float32[3]; expected a fdl",
    ),
    "an optimizer not called": (
        lambda: task(models.MLP(widths=(4,), outputs=10), optax.adam),
        "expected what it returns, by adam(...): a transformation of Optax",
    ),
    "a model not made": (
        lambda: task(models.MLP, optax.adam(0.1)),
        "expected what it returns, by MLP(...): a Flax module",
    ),
    "a model without train": (
        lambda: task(NoTrain(), optax.adam(0.1)),
        "expected a function that takes train=...",
    ),
    "nested metrics": (
        lambda: with_metrics(lambda loss: {"loss": loss, "parts": {"a": loss}}),
        "learner.step(...)[1]['parts'] is a dict of ['a'] float32[]; expected",
    ),
    "metrics that are arrays": (
        lambda: with_metrics(lambda loss: {"loss": loss, "each": jnp.ones(3)}),
        "learner.step(...)[1]['each'] is float32[3]; expected a scalar",
    ),
    "a number in the state": (
        lambda: with_init(lambda s: {**s, "rate": 0.5}),
        "learner.init(...)['rate'] is 0.5 (float); expected an array",
    ),
    "a function in the state": (
        lambda: with_init(lambda s: {**s, "act": jnp.tanh}),
        "learner.init(...)['act'] is <",
    ),
    "no metrics": (lambda: with_learner(step=lambda s, b, k: s), "; expected (state, metrics)"),
    "no state": (
        lambda: with_metrics(lambda loss: loss),
        "learner.step(...)[1] is float32[]; expected a Mapping",
    ),
    "a name that is none": (
        lambda: with_metrics(lambda loss: {"loss": loss, "x" * 300: loss}),
        "1 to 100 letters",
    ),
    "required is a text": (lambda: with_learner(required="loss"), "learner.required is 'loss'"),
    "required is not there": (lambda: with_learner(required=("loss", "error")), "requires a metric 'error'"),
    "steps as a float": (lambda: GOOD._replace(steps=5.0), "steps is 5.0 (float); expected a whole number"),
    "steps above int32": (lambda: GOOD._replace(steps=2**31), "steps is 2147483648; expected"),
    "no steps": (lambda: GOOD._replace(evaluate_every=0), "evaluate_every is 0; expected"),
    "no batches": (
        lambda: GOOD._replace(evaluation={"test": GOOD.evaluation["test"]._replace(batches=0)}),
        "evaluation['test'].batches is 0",
    ),
    "a split called train": (lambda: GOOD._replace(evaluation={"train": GOOD.train}), "split 'train'"),
    "a source alone": (lambda: GOOD._replace(evaluation=GOOD.train), "evaluation is "),
    "texts as data": (lambda: with_train(arrays={"x": np.array(["a", "b"])}), "train.arrays['x'] is <U1[2]"),
    "a batch that fails": (
        lambda: with_train(batch=lambda arrays, step, key: arrays["z"]),
        "train.batch fails at line",
    ),
    "a branch": (lambda: with_learner(step=branching), "learner.step at line"),
    "an init without key": (lambda: with_learner(init=lambda: {}), "learner.init fails"),
    "an unknown side": (lambda: GOOD._replace(best=Best("test/loss", "less")), "best.better is 'less'"),  # pyright: ignore
    "no such best": (lambda: GOOD._replace(best=Best("test/los", "lower")), "by 'test/los': no such metric"),
    "a stopper that does not stop": (
        lambda: GOOD._replace(stop=Stopper(lambda: jnp.int32(0), lambda s, m: (s, m["test/loss"]))),
        "stop is float32[], expected bool[]",
    ),
    "a stopper that forgets": (
        lambda: GOOD._replace(stop=Stopper(lambda: jnp.int32(0), lambda s, m: (s * 0.5, m["test/loss"] > 1))),
        "state is float32[], expected int32[]",
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_what_was_found_and_what_was_expected(mistake, tmp_path):
    build, words = MISTAKES[mistake]
    with pytest.raises(ValueError) as error:
        fdl.check(built(lambda _: build(), None))
    assert words in str(error.value) and "\n" not in str(error.value), str(error.value)
    assert len(str(error.value)) < 700
    with pytest.raises(ValueError, match=r"\w"):
        fdl.sweep(lambda _: build(), fdl.grid(Config()), workdir=tmp_path / "here")
    assert not list(tmp_path.iterdir()), "nothing is written"
    try:
        made = build()
    except Exception:
        return
    for run in (fit, scan):
        with pytest.raises(ValueError) as other:
            run(made, KEY)
        assert "\n" not in str(other.value)


def test_a_good_experiment_is_not_refused_and_is_traced_once():
    calls = dict.fromkeys(("init", "step", "evaluate"), 0)

    def counting(name):
        def counted(*given):
            calls[name] += 1
            return getattr(GOOD.learner, name)(*given)

        return counted

    learner = Learner(counting("init"), counting("step"), counting("evaluate"))
    assert fdl.check(GOOD._replace(learner=learner)) == ("train/loss", "test/loss")
    assert calls == {"init": 1, "step": 1, "evaluate": 1}
    half = GOOD._replace(stop=early_stopping("test/loss", patience=1))
    assert fdl.check(half) == ("train/loss", "test/loss")
    assert fdl.check(with_metrics(lambda x: {"loss": Mean(x, x), "lr": 0.1, "ok": x.astype(jnp.bfloat16)}))


@pytest.mark.parametrize("key", [0, jax.random.PRNGKey(0), jax.random.split(KEY, 2)])
def test_a_key_that_is_none_is_refused(key):
    for run in (fit, scan):
        with pytest.raises(ValueError, match=r"key is .*; expected one key, as jax.random.key\(0\)"):
            run(GOOD, key)


def test_what_is_not_the_same_twice_is_refused():
    calls = []

    def step(state, batch, key):
        state, metrics = GOOD.learner.step(state, batch, key)
        calls.append(1)
        return state, metrics if len(calls) % 2 else {**metrics, "more": metrics["loss"]}

    with pytest.raises(ValueError, match=r"second time, so it is not pure: metrics are loss, more"):
        fit(with_learner(step=step), KEY)
    counts = itertools.chain((4,), itertools.repeat(5))
    with pytest.raises(ValueError, match=r"experiment\(config\).steps is 5 the second time, 4 the first"):
        fdl.sweep(lambda _: GOOD._replace(steps=next(counts)), fdl.grid(Config()))
    widths = itertools.chain((5,), itertools.repeat(6))

    def build(config):
        wide = next(widths)
        init = lambda key: {**GOOD.learner.init(key), "extra": jnp.zeros(wide)}  # noqa: E731
        return with_learner(init=init)

    with pytest.raises(
        ValueError, match=r"not pure: state\['extra'\] is float32\[6\], expected float32\[5\]"
    ):
        fdl.sweep(build, fdl.grid(Config()))


GENERATOR = np.random.default_rng(0)
DRAWS = {
    "NumPy's": lambda: np.random.rand(),
    "Python's": lambda: random.random(),
    "a generator's": lambda: GENERATOR.normal(),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("part", ["init", "step", "evaluate"])
def test_random_numbers_that_are_drawn_while_it_is_traced_are_refused(name, part):
    own = getattr(GOOD.learner, part)

    def noisy(*given):
        DRAWS[name]()
        return own(*given)

    with pytest.raises(
        ValueError, match=rf"(learner\.{part}|a function of the experiment) draws random numbers"
    ):
        fdl.check(GOOD._replace(learner=GOOD.learner._replace(**{part: noisy})))


def test_a_state_that_is_none_is_told():
    with pytest.raises(ValueError, match=r"learner\.init returns None"):
        fdl.check(GOOD._replace(learner=GOOD.learner._replace(init=lambda key: None)))


def test_numbers_that_32_bits_do_not_hold_are_refused(tmp_path):
    """JAX would wrap them around, and the mean of 3e9 and 5e9 be -3e8."""
    for number in (2**31, -(2**31) - 1, 2**63 - 1):
        np.save(tmp_path / "x.npy", np.full((3, 2), number))
        for x in (np.full((3, 2), number), np.load(tmp_path / "x.npy", mmap_mode="r")):
            train = GOOD.train._replace(arrays={**GOOD.train.arrays, "x": x})
            with pytest.raises(ValueError, match=rf"arrays\['x'\] has the number {number}, which int32"):
                fdl.check(GOOD._replace(train=train))
    fitting = {**GOOD.train.arrays, "unused": np.full(3, 2**31 - 1)}
    fdl.check(GOOD._replace(train=GOOD.train._replace(arrays=fitting)))
