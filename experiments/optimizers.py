"""Do adaptive optimizers learn faster than gradient descent, each at its own best learning rate?

Kingma & Ba 2015, Adam, sec. 6.2 and fig. 2: on MNIST multilayer nets Adam's training loss falls faster
than that of SGD with Nesterov momentum, RMSprop or AdaGrad. Choi et al. 2019, On empirical comparisons
of optimizers, sec. 4: where every optimizer is tuned as much, the more general ones never do worse, and
the order depends on how they were tuned.

    fdl sweep experiments/optimizers.py

Four optimizers, five learning rates each, 32 seeds, of which 16 choose and 16 judge. The criterion: after
300 updates (18 passes), RMSprop and Adam are each at least 1 percentage point of test accuracy above plain
SGD, all at the learning rate that is best on validation. About 2 minutes on 2 shared cores.
"""

from collections.abc import Callable

import optax

import fdl
from fdl import data, models, tasks


def momentum(learning_rate: float) -> optax.GradientTransformation:
    """Heavy-ball momentum of 0.9."""
    return optax.sgd(learning_rate, momentum=0.9)


@fdl.config
class Config:
    optimizer: Callable = optax.adam
    """learning rate -> optimizer"""
    lr: float = fdl.traced(1e-3, low=0.0)
    """the learning rate"""
    steps: int = fdl.static(300, low=1)
    """updates of 64 images each"""


def experiment(config: Config) -> fdl.Experiment:
    model = models.MLP(widths=(64, 64), outputs=10)
    return tasks.classification(model, data.digits(), config.optimizer(config.lr), steps=config.steps)


SWEEP = (
    fdl.grid(Config(), optimizer=(optax.sgd,), lr=(0.03, 0.1, 0.3, 1.0, 3.0), seeds=32)
    + fdl.grid(Config(), optimizer=(momentum,), lr=(0.003, 0.01, 0.03, 0.1, 0.3), seeds=32)
    + fdl.grid(Config(), optimizer=(optax.rmsprop,), lr=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2), seeds=32)
    + fdl.grid(Config(), optimizer=(optax.adam,), lr=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2), seeds=32)
)


def claim(result: fdl.Result) -> fdl.Verdict:
    best = result.best("lr", by="validation/loss", better="lower")
    adaptive = best.where(optimizer=[optax.sgd, optax.rmsprop, optax.adam])
    return fdl.compare(
        adaptive, metric="test/accuracy", arms="optimizer", baseline="sgd", at_least=0.01
    ).verdict
