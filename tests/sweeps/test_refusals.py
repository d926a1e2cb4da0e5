"""Sweeps: what is refused before anything is trained, and what an experiment may do with its data."""

import functools

import jax
import numpy as np
import pandas as pd
import pytest

import fdl
from fdl.sweeps import grid, program_of, sweep
from tests.driver import in_use
from tests.toy import Config, arrays, experiment

SPACE = grid(Config(), lr=(0.01, 0.05), power=(1, 2), seeds=3)


@pytest.mark.parametrize(("field", "build"), [
    ("lr", lambda c: experiment(c, every=5 if c.lr > 0 else 10)),
    ("noise", lambda c: experiment(c, every=int(c.noise * 1000))),
    ("lr", lambda c: experiment(c)._replace(steps=int(c.lr * 1000))),
])  # fmt: skip
def test_a_traced_value_in_python_control_flow_names_the_field(field, build):
    with pytest.raises(ValueError, match=rf"Config\.{field}:.*static"):
        sweep(build, SPACE)


def test_a_traced_value_in_the_step_names_the_field():
    def build(config):
        good = experiment(config)

        def step(state, batch, key):
            return good.learner.step(state, batch, key) if config.noise < 1 else (state, {"loss": 0.0})

        return good._replace(learner=good.learner._replace(step=step))

    with pytest.raises(ValueError, match=r"Config\.noise:.*fdl\.static"):
        sweep(build, SPACE)


def test_a_field_that_is_a_column_is_refused():
    @fdl.config
    class Bad:
        seed: int = 0

    with pytest.raises(ValueError, match="'seed'"):
        sweep(lambda config: experiment(Config()), grid(Bad()))


LABELS = arrays()


@pytest.mark.medium
def test_a_directory_of_another_experiment_is_refused(tmp_path):
    one = grid(Config(steps=5), seeds=1)
    first = sweep(functools.partial(experiment, every=5), one, workdir=tmp_path)
    with pytest.raises(ValueError, match=r"every: 5 -> 4\).*--restart"):
        sweep(functools.partial(experiment, every=4), one, workdir=tmp_path)
    again = sweep(functools.partial(experiment, every=5), one, workdir=tmp_path)
    pd.testing.assert_frame_equal(first.frame, again.frame, check_exact=True)


@pytest.mark.medium
def test_other_data_under_the_same_code_is_refused(tmp_path):
    one = grid(Config(steps=5), seeds=1)
    path = tmp_path / "labels.npy"
    np.save(path, LABELS["y"])

    def build(config):
        built = experiment(config)
        return built._replace(train=built.train._replace(arrays={**LABELS, "y": np.load(path)}))

    sweep(build, one, workdir=tmp_path / "here")
    np.save(path, LABELS["y"][::-1])
    with pytest.raises(ValueError, match=r"data\.train\.arrays\.y: 'float32\[96\] \w+' -> 'float32\[96\]"):
        sweep(build, one, workdir=tmp_path / "here")
    moved = sweep(build, one, workdir=tmp_path / "here", restart=True)
    assert (tmp_path / "here.1" / "identity.json").exists() and len(moved.last()) == 1


@pytest.mark.medium
def test_a_directory_in_use_is_refused_until_its_process_ends(tmp_path):
    with in_use(tmp_path, program_of(experiment, SPACE)), pytest.raises(ValueError, match="in use"):
        sweep(experiment, SPACE, workdir=tmp_path)
    with in_use(tmp_path, program_of(experiment, SPACE)), pytest.raises(ValueError, match="in use"):
        sweep(experiment, SPACE, workdir=tmp_path, restart=True)
    assert len(sweep(experiment, SPACE, workdir=tmp_path).last()) == 12


def with_data(change):
    """The toy with another array of inputs, made by `change(config)`."""

    def build(config):
        one = experiment(config)
        return one._replace(train=one.train._replace(arrays={**one.train.arrays, "x": change(config)}))

    return build


def test_data_may_be_made_by_jax_and_loaded_once(plans):
    loads, calls = [], []

    @functools.cache
    def load(power):
        loads.append(power)
        return np.asarray(jax.jit(jax.random.normal, static_argnums=1)(jax.random.key(power), (96, 5)))

    def made(config):
        calls.append(config)
        return load(config.power)

    sweep(with_data(made), grid(Config(steps=10), lr=(0.01, 0.02)))
    assert loads == [1] and len(calls) <= 9


def test_a_traced_field_that_goes_to_numpy_is_one_line():
    with pytest.raises(
        ValueError, match=r"Config.noise: a traced value .* goes to NumPy; declare it `fdl.static"
    ):
        sweep(with_data(lambda config: np.full((96, 5), np.asarray(config.noise))), grid(Config(), seeds=2))
