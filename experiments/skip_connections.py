"""Do skip connections let deep plain networks train?

He et al. 2016, Deep residual learning for image recognition, fig. 1 and table 2: on ImageNet a plain
net of 34 layers errs more (28.5 %) than one of 18 (27.9 %); with skip connections it is the other way
round (25.0 % against 27.9 %). Here: multilayer perceptrons of 64 layers on scikit-learn's digits. Those
with skips are to have a test accuracy higher by at least 5 percentage points, both where all start at
random, as He's do, and where a net may instead start as the identity, by which plain ones too can
be trained (Zagoruyko & Komodakis 2017, DiracNets).

    fdl sweep experiments/skip_connections.py

Each arm at the learning rate, and the start, that is best on validation by the first 6 of 12 seeds:
about 2 minutes on 2 cores.
"""

from collections.abc import Callable

import flax.linen as nn
import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    depth: int = fdl.static(64, low=1)
    """hidden layers of 64 units"""
    skip: bool = True
    """whether each layer adds to its input instead of replacing it"""
    start: Callable = nn.initializers.he_normal
    """makes the initialiser of the weights"""
    lr: float = fdl.traced(1e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(500, low=1)
    """updates of 64 images each"""


def experiment(config: Config) -> fdl.Experiment:
    model = models.MLP(widths=(64,) * config.depth, outputs=10, skip=config.skip, initializer=config.start)
    return tasks.classification(model, data.digits(), optax.adam(config.lr), steps=config.steps)


STARTS = (nn.initializers.he_normal, models.identity)
SWEEP = fdl.grid(Config(), skip=(False, True), start=STARTS, lr=(3e-4, 1e-3), seeds=12)


def claim(result: fdl.Result) -> fdl.Verdict:
    """At depth 64, skips raise the test accuracy by at least 5 points: from He's start, and from the best."""
    random = result.where(start=nn.initializers.he_normal).best("lr", by="validation/accuracy")
    tuned = result.best(("start", "lr"), by="validation/accuracy")
    return fdl.every(
        *(
            fdl.compare(best, metric="test/accuracy", arms="skip", baseline=False, at_least=0.05).verdict
            for best in (random, tuned)
        )
    )
