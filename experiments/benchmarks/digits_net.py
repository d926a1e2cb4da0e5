"""The net that benchmarks of sweeps and searches train: a perceptron 64-64-10 on digits, by Adam."""

import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    """What varies."""

    lr: float = 1e-3


def net(config: Config, *, epochs: int, batch: int) -> fdl.Experiment:
    """One net, which is evaluated at its end."""
    splits = data.digits()
    steps = epochs * -(-len(splits.train["y"]) // batch)
    model, optimizer = models.MLP(widths=(64,), outputs=10), optax.adam(config.lr)
    return tasks.classification(model, splits, optimizer, steps=steps, batch_size=batch, evaluate_every=steps)
