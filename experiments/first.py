"""How well does a small multilayer perceptron read handwritten digits?

LeCun et al. 1998, Gradient-based learning applied to document recognition, table II: a 784-300-10 net
errs on 4.7 % of MNIST. Here: scikit-learn's 8x8 digits, a hundred times smaller.

    fdl run experiments/first.py --lr 3e-3 --seed 1
    fdl sweep experiments/first.py

About 15 seconds on 2 cores.
"""

from collections.abc import Callable

import flax.linen as nn
import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    width: int = fdl.static(64, low=1)
    """units in each hidden layer"""
    depth: int = fdl.static(2, low=0)
    """hidden layers"""
    activation: Callable = nn.relu
    """between the layers"""
    lr: float = fdl.traced(1e-3, low=0.0)
    """Adam's learning rate"""
    dropout: float = fdl.traced(0.0, low=0.0, high=1.0)
    """share of hidden units dropped in a step"""
    steps: int = fdl.static(1000, low=1)
    """updates of 64 images each"""


def experiment(config: Config) -> fdl.Experiment:
    widths = (config.width,) * config.depth
    model = models.MLP(widths=widths, outputs=10, activation=config.activation, dropout=config.dropout)
    return tasks.classification(model, data.digits(), optax.adam(config.lr), steps=config.steps)


SWEEP = fdl.grid(Config(), lr=(3e-4, 1e-3, 3e-3), seeds=8)


def claim(result: fdl.Result) -> fdl.Verdict:
    return fdl.compare(result, metric="test/accuracy", arms="lr", baseline=1e-3, equivalent=0.02).verdict
