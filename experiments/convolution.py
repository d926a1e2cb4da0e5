"""What makes a convolutional net win: that it looks at neighbours, shares weights, pools, or is deep?

LeCun et al. 1989, Backpropagation Applied to Handwritten Zip Code Recognition, give a net local connections
and shared weights. On MNIST-1D, 4,000 signals of 40 points, Greydanus (2020, Scaling down Deep Learning,
table 1) reports 94 % for a convolutional net and 68 % for a perceptron; with the points of all signals in one
fixed random order, 56 % and 68 %. Here nets differ by a step each, of about 2,000 parameters, or of 13,000
where a local net with the convolution's units has so many; all have 600 updates of 32 signals. Each has the
best of three learning rates by validation of 4 seeds; 10 others judge.

Against it: convolution and pooling are Fukushima's (1980, Neocognitron). Pooling can be left out for steps
(Springenberg et al. 2015, Striving for Simplicity, sec. 3). A dense net finds local connections by itself,
given more data (Neyshabur 2020, Towards Learning Convolutions from Scratch).

    fdl sweep experiments/convolution.py

About 4 minutes of CPU time. After a pilot of 6 other seeds batches have 32 signals for 50, and dense nets of
one layer stand in for those of three, which were worse. Then, at rates of 0.01 to 0.1, 8 seeds judged: too
few for 8 claims, none of which could be decided whatever came out (2 / 2^8 is no p below 0.05 / 8), and the
highest rate was the best of no net. So this is of other seeds, at lower rates; the criteria are the same.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import optax

import fdl
from fdl import data, models, tasks

POINTS = 40
STEPPED = models.Stage(12, size=5, strides=2)
POOLED = models.Stage(12, size=5, pool=models.max_pool)


def net(*stages: models.Stage) -> models.ConvNet:
    return models.ConvNet(stages, (), 10)


def dense() -> models.MLP:
    """Every unit sees all points; 2,050 parameters, the perceptron."""
    return models.MLP((40,), 10)


def wide_dense() -> models.MLP:
    """The same with 13,015."""
    return models.MLP((255,), 10)


def deep_dense() -> models.MLP:
    """The same as `dense`, of three layers; 2,232."""
    return models.MLP((30, 20, 12), 10)


def local() -> models.ConvNet:
    """Every unit sees 5 neighbours, with weights of its own; 13,030."""
    return net(*(STEPPED._replace(shared=False),) * 3)


def narrow_local() -> models.ConvNet:
    """The same with 4 channels for 12; 1,950."""
    return net(*(STEPPED._replace(shared=False, channels=4),) * 3)


def convolution() -> models.ConvNet:
    """The same weights at every place; 2,146."""
    return net(*(STEPPED,) * 3)


def pooled() -> models.ConvNet:
    """Of every two places the larger, for steps of two; 2,146."""
    return net(*(POOLED,) * 3)


def shallow() -> models.ConvNet:
    """One stage; 2,482."""
    return net(STEPPED)


@fdl.config
class Config:
    model: Callable = convolution
    """makes the net"""
    shuffled: bool = False
    """whether the points of every signal stand in one fixed random order"""
    lr: float = fdl.traced(3e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(600, low=1)
    """updates of 32 signals each"""


def experiment(config: Config) -> fdl.Experiment:
    splits = data.synthetic.mnist1d()
    order = np.random.default_rng(0).permutation(POINTS) if config.shuffled else np.arange(POINTS)
    splits = splits._replace(prepare=lambda batch: {**batch, "x": batch["x"][:, order, None]})
    options: dict[str, Any] = {"steps": config.steps, "batch_size": 32, "evaluate_every": config.steps}
    return tasks.classification(config.model(), splits, optax.adam(config.lr), **options)


LRS, SEEDS = (3e-3, 1e-2, 3e-2), range(100, 114)
NETS = (dense, wide_dense, deep_dense, local, narrow_local, convolution, pooled, shallow)
PERMUTED = (dense, wide_dense, local, convolution, pooled)
AS_THEY_ARE = fdl.grid(Config(), model=NETS, shuffled=(False,), lr=LRS, seeds=SEEDS)
SWEEP = AS_THEY_ARE + fdl.grid(Config(), model=PERMUTED, shuffled=(True,), lr=LRS, seeds=SEEDS)


def gain(result: fdl.Result, net: str, over: str, shuffled: bool = False, **criterion: Any) -> fdl.Verdict:
    """What a net reads better on test than another, each at the learning rate that validation chose."""
    own = result.where(model=[over, net], shuffled=shuffled).best("lr", by="validation/accuracy", seeds=4)
    return fdl.compare(own, metric="test/accuracy", arms="model", baseline=over, **criterion).verdict


def gains(
    number: int, statement: str, net: str, over: str, by: float, *, control: Any = True, published: str = ""
) -> fdl.Claim:
    """That a net gains as much; the control is the same of shuffled points, unless another is given."""
    same = functools.partial(gain, net=net, over=over, at_least=by)
    other = functools.partial(same, shuffled=True) if control is True else control
    return fdl.Claim(f"A1.{number}", statement, same, control=other, published=published)


DEEPER_DENSE = functools.partial(gain, net="deep_dense", over="dense", at_least=0.05)
CLAIMS = (
    gains(
        1,
        "A convolutional net reads at least 10 points more than a dense one with as many parameters.",
        "convolution",
        "dense",
        0.1,
        published="94 % against 68 % (Greydanus 2020, table 1)",
    ),
    gains(2, "Locality alone adds at least 5 points, of 13,000 parameters.", "local", "wide_dense", 0.05),
    gains(
        3,
        "Locality alone adds at least 5 points of 2,000 parameters, too.",
        "narrow_local",
        "dense",
        0.05,
        control=None,
    ),
    gains(4, "Sharing adds at least 2 points to as many local units.", "convolution", "local", 0.02),
    gains(
        5,
        "Sharing adds at least 10 points to as many parameters.",
        "convolution",
        "narrow_local",
        0.1,
        control=functools.partial(gain, net="convolution", over="local", shuffled=True, at_least=0.1),
    ),
    gains(6, "Pooling adds at least 5 points to steps of two.", "pooled", "convolution", 0.05),
    fdl.Claim(
        "A1.7",
        "Pooling can be left out for steps: it changes nothing by more than 3 points.",
        functools.partial(gain, net="pooled", over="convolution", equivalent=0.03),
        published="without loss in accuracy (Springenberg et al. 2015, abstract)",
    ),
    gains(
        8,
        "Three stages read at least 5 points more than one with as many parameters.",
        "convolution",
        "shallow",
        0.05,
        control=DEEPER_DENSE,
    ),
)
