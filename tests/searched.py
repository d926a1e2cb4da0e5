"""The toy with a validation split, and a space to search: also an experiment's file."""

import jax
import jax.numpy as jnp

import fdl
from fdl.metrics import Mean
from tests import toy
from tests.toy import Config

TOO_MUCH = 3e38
"""With so much noise the loss is not finite."""


def experiment(config: Config) -> fdl.Experiment:
    """Its `test` is the mean over other rows than `validation`."""
    one = toy.experiment(config, every=4)
    held_out = one.evaluation["test"]
    return one._replace(evaluation={"validation": held_out, "test": held_out._replace(batches=1)})


def weighed(config: Config) -> fdl.Experiment:
    """The same, with the mean size of the weights as a second metric, which small steps leave as it was."""
    one = experiment(config)

    def evaluate(state: dict, batch: dict, key: jax.Array) -> dict[str, Mean]:
        size = jnp.sum(jnp.abs(state["weights"]))
        told = one.learner.evaluate(state, batch, key)
        return {**told, "size": Mean(size, jnp.float32(state["weights"].size))}

    return one._replace(learner=one.learner._replace(evaluate=evaluate))


SEARCH = fdl.space(Config(steps=8), lr=fdl.log_uniform(1e-3, 0.5), noise=fdl.choice(0.0, 0.01, TOO_MUCH))
