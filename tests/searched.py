"""The toy with a validation split, and a space to search: also an experiment's file."""

import fdl
from tests import toy
from tests.toy import Config

TOO_MUCH = 3e38
"""With so much noise the loss is not finite."""


def experiment(config: Config) -> fdl.Experiment:
    """Its `test` is the mean over other rows than `validation`."""
    one = toy.experiment(config, every=4)
    held_out = one.evaluation["test"]
    return one._replace(evaluation={"validation": held_out, "test": held_out._replace(batches=1)})


SEARCH = fdl.space(Config(steps=8), lr=fdl.log_uniform(1e-3, 0.5), noise=fdl.choice(0.0, 0.01, TOO_MUCH))
