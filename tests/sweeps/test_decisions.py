"""What a scheduler may have an arm go on as, and what is refused before it counts."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fdl
from fdl import data, models, tasks
from fdl.sweeps.check import checked_groups
from fdl.sweeps.decision_check import checked_decision
from fdl.sweeps.schedule_check import check_scheduler
from fdl.train.read_fields import read_by_step
from tests.searched import experiment
from tests.sweeps.test_schedulers import LOSS
from tests.toy import Config

CONFIGS = [Config(), Config(lr=0.1), Config(power=2)]
LR: dict[str, Any] = {"lr": fdl.log_uniform(1e-3, 0.3)}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (fdl.Next(0, copy=9), "copies arm 9; expected one of those that wait"),
        (fdl.Next(0, copy=2), "lets arm 0 copy arm 2, which differs in power: its state is of another"),
        (fdl.Next(0, Config(power=3)), "arm 0 go on with another power; its program is compiled"),
        (fdl.Next(0, {"lr": 0.1}), r"with the config \{'lr': 0.1\}; expected a Config"),
        (fdl.Next(0, Config(lr=jnp.float32(0.1))), r"with lr an array of JAX; expected a number, as float"),
    ],
)
def test_what_no_arm_can_go_on_as_is_refused(one, words):
    with pytest.raises(ValueError, match=words):
        checked_decision([one], (0, 1, 2), CONFIGS)


def test_what_is_as_before_is_no_change():
    same = [fdl.Next(1, Config(lr=0.1), copy=1), fdl.Next(0, Config(lr=0.2), copy=1)]
    assert checked_decision(same, (0, 1), CONFIGS) == [fdl.Next(0, Config(lr=0.2), 1), fdl.Next(1)]


def unread(config: Config) -> fdl.Experiment:
    """Its steps read no noise."""
    return experiment(Config(lr=config.lr, steps=config.steps))


def best_kept(config: Config) -> fdl.Experiment:
    return experiment(config)._replace(best=fdl.Best("validation/loss", "lower"))


@pytest.mark.parametrize(
    ("build", "fields", "words"),
    [
        (unread, {**LR, "noise": fdl.uniform(0, 1)}, "changes noise, which no training step reads"),
        (best_kept, LR, "keeps each run's best state by validation/loss, and an arm that copies has none"),
        (experiment, {"power": fdl.uniform(1, 2)}, "cannot explore 'power', which is 1: expected a traced"),
        (experiment, {"lrr": fdl.uniform(1, 2)}, "Config has no field 'lrr'"),
    ],
)
def test_what_pbt_cannot_explore_is_refused_before_anything_is_trained(build, fields, words):
    space = fdl.grid(Config(steps=20), lr=(0.1, 0.2))
    with pytest.raises(ValueError, match=words):
        check_scheduler(
            fdl.pbt(every=4, resample=0.0, **LOSS, **fields), checked_groups(build, space, None), space
        )


def test_a_claim_that_compares_what_will_have_changed_is_refused_before_anything_is_trained():
    claim = lambda result: fdl.compare(result, metric="test/loss", better="lower")  # noqa: E731
    space = fdl.grid(Config(steps=20), lr=(0.1, 0.2), seeds=2)
    with pytest.raises(ValueError, match=r"needs arms of one config each.*tried before training"):
        fdl.sweep(experiment, space, scheduler=fdl.pbt(every=4, **LOSS, **LR), claim=claim)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "no fields to explore"),
        ({"lr": fdl.choice(0.1, 0.2)}, "cannot explore 'lr': it is a choice"),
        ({"lr": fdl.uniform(0, 1).when(power=2)}, "it counts only for some values of others"),
        ({"lr": 0.1}, "cannot explore 'lr': it is 0.1; expected fdl.uniform"),
        ({**LR, "quantile": 0.6}, "quantile is 0.6; expected above 0 and at most 0.5"),
        ({**LR, "factors": ()}, "factors is"),
    ],
)
def test_wrong_arguments_of_pbt_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        fdl.pbt(every=4, **LOSS, **wrong)


def test_what_a_step_reads():
    """Not what only the beginning reads, nor a learning rate that the optimizer keeps in its state."""
    rows = {"x": np.ones((4, 2), np.float32), "y": np.ones((4, 1), np.float32)}
    splits = data.Splits(rows, rows, rows)

    def kept(config: Config) -> fdl.Experiment:
        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=config.lr)
        return tasks.regression(models.MLP((), 1), splits, optimizer, steps=4)

    def closed(config: Config) -> fdl.Experiment:
        optimizer = optax.sgd(optax.cosine_decay_schedule(config.lr, 4))
        return tasks.regression(models.MLP((), 1), splits, optimizer, steps=4)

    assert read_by_step(experiment, Config()) == {"lr", "noise"}
    assert read_by_step(unread, Config()) == {"lr"}
    assert read_by_step(kept, Config()) == set() and read_by_step(closed, Config()) == {"lr"}
