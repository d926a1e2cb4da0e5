"""Can a net learn labels that mean nothing, and what becomes of what it learns?

Zhang et al. 2017, Understanding deep learning requires rethinking generalization, table 1: nets that classify
CIFAR-10 fit random labels as exactly as right ones, and then guess on test. Here perceptrons of 128 and 128
units learn 200 of scikit-learn's digits, drawn anew for every seed, of whose labels a share was drawn anew.

Against it: that nets can memorise says not that they do where there is something to learn: patterns come
first (Arpit et al. 2017, A Closer Look at Memorization in Deep Networks, sec. 3), and random labels take
longer.

    fdl sweep experiments/random_labels.py

43 s of CPU time.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

import fdl
from fdl import data, metrics, models, rng, tasks

ROWS, NOISE = 200, (0.0, 0.2, 0.5, 1.0)


@fdl.config
class Config:
    hidden: tuple = (128, 128)
    """units of the hidden layers"""
    noise: float = fdl.traced(0.0, low=0.0, high=1.0)
    """share of training rows whose label is drawn anew, uniformly"""
    lr: float = fdl.traced(3e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(200, low=20)
    """updates, each of all rows"""


def drawn(config: Config, arrays: Any, step: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
    """The rows and labels of this run, the same at every step."""
    del step
    index = jax.random.permutation(rng.stream(key, "rows"), len(arrays["y"]))[:ROWS]
    anew = jax.random.uniform(rng.stream(key, "whether"), (ROWS,)) < config.noise
    labels = jax.random.randint(rng.stream(key, "label"), (ROWS,), 0, 10)
    return {"x": arrays["x"][index], "y": jnp.where(anew, labels, arrays["y"][index])}


def counting(learner: fdl.Learner) -> fdl.Learner:
    """The learner that also counts its steps until the loss is below 0.1."""

    def step(state, batch, key):
        inner, found = learner.step(state[0], batch, key)
        return (inner, state[1] + (found["loss"].value >= 0.1)), found

    def evaluate(state, batch, key):
        found = learner.evaluate(state[0], batch, key)
        return {**found, "log2_steps": metrics.mean(jnp.log2(state[1] + 1.0)[None])}

    return fdl.Learner(lambda key: (learner.init(key), jnp.zeros(())), step, evaluate, learner.required)


def experiment(config: Config) -> fdl.Experiment:
    splits = data.digits()
    model, every = models.MLP(config.hidden, 10), config.steps // 10
    made = tasks.classification(
        model, splits, optax.adam(config.lr), steps=config.steps, evaluate_every=every
    )
    source = fdl.Source(dict(splits.train), functools.partial(drawn, config), 1)
    return made._replace(learner=counting(made.learner), train=source)


NETS = fdl.grid(Config(), noise=NOISE, seeds=20)
LINEAR = fdl.grid(Config(), hidden=((),), lr=(3e-2,), noise=(1.0,), seeds=20)
SWEEP = NETS + LINEAR


def memorised(result: fdl.Result, hidden: tuple) -> fdl.Verdict:
    """Whether in the last tenth of the steps no label was wrong, in at least 70 % of seeds."""
    own = result.where(hidden=hidden)
    return fdl.compare_rates(own, metric="train/accuracy", threshold=1.0, at_least=0.7, arms="noise").verdict


def guesses(result: fdl.Result, noise: float) -> fdl.Verdict:
    own = result.where(hidden=(128, 128), noise=noise)
    return fdl.compare_rates(own, metric="test/accuracy", threshold=0.2, at_least=0.7, better="lower").verdict


def by_noise(result: fdl.Result, metric: str, noise: list[float], **criterion: Any) -> fdl.Verdict:
    own = result.where(hidden=(128, 128), noise=noise)
    return fdl.compare(own, metric=metric, arms="noise", baseline=0.0, **criterion).verdict


CLAIMS = (
    fdl.Claim(
        "G2.1",
        "A net learns all labels by heart, however many are random; a linear classifier does not.",
        lambda result: memorised(result, (128, 128)),
        control=lambda result: memorised(result, ()),
        published="100 % of random labels of CIFAR-10 (Zhang et al. 2017, table 1)",
    ),
    fdl.Claim(
        "G2.2",
        "Of random labels it learns nothing: it reads at most 20 % of the test digits; of right ones more.",
        lambda result: guesses(result, 1.0),
        control=lambda result: guesses(result, 0.0),
        published="9.8 to 10.5 % of CIFAR-10 (Zhang et al. 2017, table 1)",
    ),
    fdl.Claim(
        "G2.3",
        "Wrong labels that are learned by heart do harm: a fifth of them and more costs 5 points on test.",
        lambda result: by_noise(result, "test/accuracy", list(NOISE), better="lower", at_least=0.05),
        control=lambda result: by_noise(result, "train/accuracy", list(NOISE), better="lower", at_least=0.05),
        published="test error grows with the share of random labels (Zhang et al. 2017, fig. 1c)",
    ),
    fdl.Claim(
        "G2.4",
        "Random labels take at least 1.5 and at most 3.5 times as many steps as right ones.",
        lambda result: fdl.all_of(
            by_noise(result, "test/log2_steps", [0.0, 1.0], at_least=math.log2(1.5)),
            by_noise(result, "test/log2_steps", [0.0, 1.0], equivalent=math.log2(3.5)),
        ),
        published="a small constant factor (Zhang et al. 2017, sec. 2.1)",
    ),
)
