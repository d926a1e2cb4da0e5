"""Does a convolutional net win because neighbours in a signal belong together?

On MNIST-1D, 4,000 signals of 40 points, Greydanus (2020, Scaling down Deep Learning, table 1) reports 32 %
test accuracy for logistic regression, 68 % for a multilayer perceptron and 94 % for a convolutional net;
with the points of all signals in one fixed random order the convolutional net falls to 56 % and the
perceptron keeps 68 %. Here the convolutional net is to beat the perceptron by at least 10 percentage
points on signals as they are, to lose at least 10 by the shuffling, and the perceptron to stay within 3.

    fdl sweep experiments/mnist1d.py

About 7 minutes on 2 shared cores.
"""

from collections.abc import Callable

import flax.linen as nn
import numpy as np
import optax

import fdl
from fdl import data, models, tasks


def logistic() -> nn.Module:
    """Logistic regression."""
    return models.MLP(widths=(), outputs=10)


def perceptron() -> nn.Module:
    """Two hidden layers of 100 units."""
    return models.MLP(widths=(100, 100), outputs=10)


def convolutional() -> nn.Module:
    """Three convolutions of 25 channels, 5 points wide, each with stride 2."""
    return models.ConvNet(stages=(models.Stage(25, size=5, strides=2),) * 3, hidden=(), outputs=10)


@fdl.config
class Config:
    model: Callable = convolutional
    """makes the model"""
    shuffled: bool = False
    """whether the points of every signal stand in one fixed random order"""
    lr: float = fdl.traced(3e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(1500, low=1)
    """updates of 100 signals each"""


def experiment(config: Config) -> fdl.Experiment:
    splits = data.synthetic.mnist1d()
    order = np.random.default_rng(0).permutation(40) if config.shuffled else np.arange(40)
    channel = lambda batch: {**batch, "x": batch["x"][:, order, None]}  # noqa: E731
    optimizer = optax.adam(config.lr)
    splits = splits._replace(prepare=channel)
    return tasks.classification(config.model(), splits, optimizer, steps=config.steps, batch_size=100)


SWEEP = fdl.grid(
    Config(),
    model=(logistic, perceptron, convolutional),
    shuffled=(False, True),
    lr=(1e-3, 3e-3, 1e-2),
    seeds=16,
)


def claim(result: fdl.Result) -> fdl.Verdict:
    """Each arm has the learning rate that is best on validation; the comparisons are on test."""
    best = result.best("lr", by="validation/accuracy")
    ordered = best.where(shuffled=False, model=[perceptron, convolutional])
    wins = fdl.compare(ordered, metric="test/accuracy", arms="model", baseline="perceptron", at_least=0.1)
    nets = best.where(model=convolutional)
    loses = fdl.compare(nets, metric="test/accuracy", arms="shuffled", baseline=True, at_least=0.1)
    plain = best.where(model=perceptron)
    same = fdl.compare(plain, metric="test/accuracy", arms="shuffled", baseline=False, equivalent=0.03)
    return fdl.all_of(wins.verdict, loses.verdict, same.verdict)
