"""What workers of a sweep train in tests: they import it by its name."""

from fdl.experiment import Experiment
from tests import toy
from tests.toy import Config


def experiment(config: Config) -> Experiment:
    """The toy, seldom evaluated."""
    return toy.experiment(config, every=max(config.steps // 5, 1))


def chosen(config: Config) -> Experiment:
    """The same with a validation split, of other rows than `test`."""
    one = experiment(config)
    held_out = one.evaluation["test"]
    return one._replace(evaluation={"validation": held_out, "test": held_out._replace(batches=1)})
