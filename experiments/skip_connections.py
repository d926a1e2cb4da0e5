"""Do skip connections let deep plain networks train?

He et al. 2016, Deep residual learning for image recognition, fig. 1 and table 2: on ImageNet a plain
net of 34 layers errs more (28.5 %) than one of 18 (27.9 %); with skip connections it is the other way
round (25.0 % against 27.9 %). Here: multilayer perceptrons of 64 layers on scikit-learn's digits. Those
with skips are to have a test accuracy higher by at least 5 percentage points, both where all weights start
at random and where they may start as the identity instead, by which plain nets too can be trained
(Zagoruyko & Komodakis 2017, DiracNets: Training Very Deep Neural Networks Without Skip-Connections).

    fdl sweep experiments/skip_connections.py

Each arm at the learning rate, and the start, that is best on validation: 4 seeds choose, 8 others judge.
About 4 minutes on 2 shared cores.
"""

from collections.abc import Callable

import flax.linen as nn
import optax

import fdl
from fdl import data, models, tasks
from fdl.models.initializers import orthogonal


def random() -> nn.initializers.Initializer:
    """Orthogonal, of He's variance: plain nets do better with it than with He's normal one."""
    return orthogonal(2**0.5)


@fdl.config
class Config:
    depth: int = fdl.static(64, low=1)
    """hidden layers of 64 units"""
    skip: bool = True
    """whether each layer adds to its input instead of replacing it"""
    start: Callable = random
    """makes the initialiser of the weights"""
    lr: float = fdl.traced(1e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(500, low=1)
    """updates of 64 images each"""


def experiment(config: Config) -> fdl.Experiment:
    model = models.MLP(widths=(64,) * config.depth, outputs=10, skip=config.skip, initializer=config.start)
    return tasks.classification(model, data.digits(), optax.adam(config.lr), steps=config.steps)


SWEEP = fdl.grid(Config(), skip=(False, True), start=(random, models.identity), lr=(3e-4, 1e-3), seeds=12)


def claim(result: fdl.Result) -> fdl.Verdict:
    """Skips raise the test accuracy by at least 5 points: from random weights, and from the best ones."""
    verdicts = (
        fdl.compare(
            weights.best(("start", "lr"), by="validation/accuracy", seeds=4),
            metric="test/accuracy",
            arms="skip",
            baseline=False,
            at_least=0.05,
        ).verdict
        for weights in (result.where(start=random), result)
    )
    return fdl.all_of(*verdicts)
