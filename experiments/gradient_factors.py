"""By what factor does a gradient grow or shrink from layer to layer, and what keeps it?

Textbooks: gradients vanish or explode with depth, and careful initialisation or skip connections mend it.
Of a ReLU net whose weights have the variance 2/n the factor is 1, of 1/n it is 1/sqrt(2) (He et al. 2015,
Delving Deep into Rectifiers, sec. 2.2); a sigmoid's slope is at most 1/4 (Hochreiter 1991). Here it is
measured at the start: the root mean square of the loss's gradient with respect to a layer's outputs, over
that of the next layer's, in the geometric mean over 38 of the 40 layers of 256 units. The baseline is a
linear net of reflections, whose factor is 1. Then nets of 30 layers of 48 units learn to read
scikit-learn's digits.

Against it: skips do not mend it by themselves. x + f(x) makes gradients grow (Hanin and Rolnick 2018, How
to Start Training, sec. 4); x + f(x) / sqrt(L) does not.

    fdl sweep experiments/gradient_factors.py

102 s of CPU time.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import fdl
from fdl import analysis, data, losses, metrics, models, tasks
from fdl.tasks.gradient import variables

DEPTH, ROWS = 40, 16


def identity(x):
    """No nonlinearity."""
    return x


def reflections() -> nn.initializers.Initializer:
    """Diagonal kernels of random signs, which change no gradient's size."""
    return lambda key, shape, dtype: (
        jnp.eye(*shape, dtype=dtype) * jax.random.rademacher(key, shape[1:], dtype)
    )


def he_without_scale() -> nn.initializers.Initializer:
    """He's times sqrt(L), which undoes the 1 / sqrt(L) of `MLP`'s skips: ReLU gives on positive factors."""
    return nn.initializers.variance_scaling(2.0 * (DEPTH - 1), "fan_in", "normal")


@fdl.config
class Config:
    depth: int = fdl.static(DEPTH, low=3)
    """hidden layers"""
    width: int = fdl.static(256, low=1)
    """units of each"""
    activation: Callable = nn.relu
    """after each"""
    initializer: Callable = nn.initializers.he_normal
    """of the kernels"""
    skip: bool = False
    """whether x + f(x) / sqrt(L) takes the place of f(x)"""
    theory: float = fdl.traced(1.0, low=0.0)
    """the factor that theory has"""
    steps: int = fdl.static(1, low=1)
    """updates of 64 images each; 1 is to measure at the start, where nothing is learned"""
    lr: float = fdl.traced(0.0, low=0.0)
    """Adam's learning rate"""


def experiment(config: Config) -> fdl.Experiment:
    model = models.MLP(
        (config.width,) * config.depth,
        10,
        activation=config.activation,
        skip=config.skip,
        initializer=config.initializer,
    )
    splits = data.digits()
    optimizer = optax.adam(config.lr) if config.steps > 1 else optax.set_to_zero()
    made = tasks.classification(model, splits, optimizer, steps=config.steps, evaluate_every=config.steps)
    if config.steps > 1:
        return made
    few = {name: array[:ROWS] for name, array in splits.train.items()}
    learner = made.learner._replace(evaluate=functools.partial(factor, model, config.theory))
    return made._replace(learner=learner, evaluation={"start": data.sequential(few, batch_size=ROWS)})


def factor(model: nn.Module, theory: Any, state: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
    """The factor of a net's gradients a layer, and that by what theory has."""
    del key
    loss = lambda logits: jnp.mean(losses.cross_entropy(logits, batch["y"]))  # noqa: E731
    found = analysis.layer_gradients(loss, model.apply, variables(state), batch["x"])
    each = found["Layer_1"]  # all layers but the first, which has another shape, first to last
    largest = jnp.max(jnp.abs(each), axis=(1, 2), keepdims=True)  # else squares of small numbers are 0
    sizes = jnp.sqrt(jnp.mean((each / largest) ** 2, axis=(1, 2))) * largest.ravel()
    measured = jnp.exp((jnp.log(sizes[0]) - jnp.log(sizes[-1])) / (len(sizes) - 1))
    return {"factor": metrics.mean(measured[None]), "by_theory": metrics.mean((measured / theory)[None])}


LECUN, HE = nn.initializers.lecun_normal, nn.initializers.he_normal
AT_START = (
    fdl.grid(Config(), activation=(identity,), initializer=(reflections,), seeds=20)
    + fdl.grid(Config(), initializer=(HE,), skip=(False, True), seeds=20)
    + fdl.grid(Config(), initializer=(he_without_scale,), skip=(True,), seeds=20)
    + fdl.grid(Config(), initializer=(LECUN,), theory=(0.5**0.5,), seeds=20)
    + fdl.grid(Config(), initializer=(LECUN,), activation=(nn.sigmoid, nn.tanh), seeds=20)
)
TRAINED = fdl.grid(
    Config(width=48, steps=250),
    depth=(30, 4),
    initializer=(HE, LECUN),
    lr=(3e-4, 1e-3, 3e-3),
    seeds=16,
)
SWEEP = AT_START + TRAINED


def beside_reflections(
    result: fdl.Result, metric: str, arms: dict[str, Any], **criterion: Any
) -> fdl.Verdict:
    """An arm against the linear net of reflections."""
    two = result.where(steps=1, activation=identity) + result.where(steps=1, **arms)
    return fdl.compare(
        two, metric=f"start/{metric}", baseline=str(two.frame["arm"].iloc[0]), **criterion
    ).verdict


def within(result: fdl.Result, bound: float, **arms: Any) -> fdl.Verdict:
    return beside_reflections(result, "by_theory", arms, equivalent=bound)


def vanishes(result: fdl.Result, activation: Callable) -> fdl.Verdict:
    arms = {"activation": activation}
    return beside_reflections(result, "factor", arms, better="lower", at_least=0.7)


def trains(result: fdl.Result, depth: int) -> fdl.Verdict:
    """He's start against LeCun's for ReLU, each at the rate that four other seeds have chosen."""
    best = result.where(steps=250, depth=depth).best("lr", by="validation/accuracy", seeds=4)
    return fdl.compare(best, metric="test/accuracy", arms="initializer", baseline=LECUN, at_least=0.5).verdict


CLAIMS = (
    fdl.Claim(
        "O1.1",
        "A ReLU net's factor is 1 with He's variance 2/n, and 1/sqrt(2) with 1/n, both within 2 %.",
        lambda result: fdl.all_of(
            within(result, 0.02, activation=nn.relu, initializer=HE, skip=False),
            within(result, 0.02, activation=nn.relu, initializer=LECUN),
        ),
        control=lambda result: within(result, 0.02, activation=nn.tanh),
        published="1 and 1/sqrt(2) (He et al. 2015, sec. 2.2)",
    ),
    fdl.Claim(
        "O1.2",
        "With sigmoids gradients shrink to less than 0.3 a layer; with tanh, the control, they do not.",
        lambda result: vanishes(result, nn.sigmoid),
        control=lambda result: vanishes(result, nn.tanh),
        published="a slope of at most 1/4 (Hochreiter 1991)",
    ),
    fdl.Claim(
        "O1.3",
        "30 layers of ReLU learn from He's start, by 50 points more than from 1/n; of 4 layers not so.",
        lambda result: trains(result, 30),
        control=lambda result: trains(result, 4),
        published="30 layers train with 2/n and stall with 1/n (He et al. 2015, fig. 3)",
    ),
    fdl.Claim(
        "O1.4",
        "Skips as they stand in textbooks, x + f(x), keep gradients: the factor is within 5 % of 1.",
        lambda result: within(result, 0.05, initializer=he_without_scale),
        published="they grow exponentially (Hanin and Rolnick 2018, sec. 4)",
    ),
    fdl.Claim(
        "O1.5",
        "Skips with branches over sqrt(L) keep them: the factor is within 5 % of 1.",
        lambda result: within(result, 0.05, initializer=HE, skip=True, activation=nn.relu),
        published="bounded (Hanin and Rolnick 2018, sec. 4)",
    ),
)
