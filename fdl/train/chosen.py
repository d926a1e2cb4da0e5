"""An experiment with another state of each run as its result than it says itself."""

from typing import Any, NamedTuple

from fdl.experiment import Best, Experiment
from fdl.train.check import built
from fdl.train.run import Build


class Chosen(NamedTuple):
    """`config -> Experiment`, as `build`, but each run's result is its best state by a metric.

    Attributes:
      build: the experiment as a function of the config.
      best: which state it is.
    """

    build: Build
    best: Best

    def __call__(self, config: Any) -> Experiment:
        """The experiment of a config."""
        return built(self.build, config)._replace(best=self.best)
