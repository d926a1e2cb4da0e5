"""Do skip connections let deep plain networks train?

He et al. 2016, Deep residual learning for image recognition, fig. 1 and table 2: on ImageNet a plain
net of 34 layers errs more (28.5 %) than one of 18 (27.9 %); with skip connections it is the other way
round (25.0 % against 27.9 %). Here: a multilayer perceptron on scikit-learn's digits.

    fdl sweep experiments/skip_connections.py

Depth 4, 16, 64, with and without skips, 16 seeds each: under 3 minutes on 2 cores.
"""

import flax.linen as nn
import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    depth: int = fdl.static(32, low=1)
    """hidden layers of 64 units"""
    skip: bool = True
    """whether each layer adds to its input instead of replacing it"""
    lr: float = fdl.traced(1e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(500, low=1)
    """updates of 64 images each"""


def experiment(config: Config) -> fdl.Experiment:
    model = models.MLP(
        widths=(64,) * config.depth, outputs=10, skip=config.skip, initializer=nn.initializers.he_normal
    )
    return tasks.classification(model, data.digits(), optax.adam(config.lr), steps=config.steps)


SWEEP = fdl.grid(Config(), depth=(4, 16, 64), skip=(False, True), seeds=16)


def claim(result: fdl.Result) -> fdl.Verdict:
    """At depth 64, skips raise the test accuracy by at least 5 percentage points."""
    deep = result.where(depth=64)
    return fdl.compare(deep, metric="test/accuracy", arms="skip", better="higher", at_least=0.05).verdict
