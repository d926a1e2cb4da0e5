"""Are poor local minima an obstacle to gradient descent?

LeCun, Bengio and Hinton 2015, Deep learning: "poor local minima are rarely a problem with large networks".
Safran and Shamir 2018, Spurious Local Minima are Common in Two-Layer ReLU Neural Networks: where a student
of n ReLU units learns a sum of k orthogonal ones of normal inputs, minima that are not global are there for
n = k from 6 to 20, and descent ends in them the oftener the larger k; one or two units more, and it hardly
does. Both are half of one truth: it is over-parameterisation that removes the obstacle, not size.

The loss over all inputs is known exactly, without a sample (the arc-cosine kernel, Cho and Saul 2009). Every
seed is a start; 40 for each k and n. A run is *stuck* if it ends above 0.001 where the gradient is below
0.001 and the Hessian has no eigenvalue below -0.001.

Against it: the teacher is made for the proof, its inputs are normal; in small ReLU nets on data dead units
make further minima (Swirszcz et al. 2016, Local minima in training of neural networks).

    fdl sweep experiments/local_minima.py

About 1 minute on 2 shared cores. After a pilot of 20 other starts two arms that never got stuck were dropped,
of 100 starts 40 were kept, and "95 %" became "90 %", which so many can show.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fdl
from fdl import data, metrics


@fdl.config
class Config:
    teacher: int = fdl.static(8, low=1)
    """its units k, and the inputs"""
    more: int = fdl.static(0, low=0)
    """units that the student has beyond those, n - k"""
    steps: int = fdl.static(4000, low=1)
    """of gradient descent at 0.05 with momentum 0.9"""


def kernel(one: jax.Array, other: jax.Array, same: jax.Array | None = None) -> jax.Array:
    """E relu(u x) relu(v x) over normal x of the rows u `[n, d]` and v `[m, d]`: `[n, m]`; `same` says which
    rows are each other, whose angle is 0 and has no derivative."""
    lengths = jnp.linalg.norm(one, axis=1)[:, None] * jnp.linalg.norm(other, axis=1)
    near = 1 - 1e-6  # beyond, float32 has no angle
    cosine = jnp.clip(one @ other.T / lengths, -near, near)
    angle = jnp.arccos(cosine)
    found = lengths / (2 * jnp.pi) * (jnp.sin(angle) + (jnp.pi - angle) * cosine)
    return found if same is None else jnp.where(same, jnp.square(one).sum(axis=1) / 2, found)


def loss_of(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """Half the mean squared difference of the two sums of units, over all inputs."""
    own, theirs = jnp.eye(len(student), dtype=bool), jnp.eye(len(teacher), dtype=bool)
    within = kernel(student, student, own).sum() + kernel(teacher, teacher, theirs).sum()
    return within / 2 - kernel(student, teacher).sum()


def least_eigenvalue(matrix: jax.Array) -> jax.Array:
    """Of a symmetric matrix, by squaring what is to be the power of its mirror 20 times."""
    bound = jnp.abs(matrix).sum(axis=0).max()
    power = bound * jnp.eye(len(matrix)) - matrix
    for _ in range(20):
        power = power / jnp.linalg.norm(power)
        power = power @ power
    vector = power @ jax.random.normal(jax.random.key(0), (len(matrix),))
    vector = vector / jnp.linalg.norm(vector)
    return vector @ matrix @ vector


def experiment(config: Config) -> fdl.Experiment:
    units, teacher = config.teacher + config.more, jnp.eye(config.teacher)
    optimizer = optax.sgd(0.05, momentum=0.9)
    loss = functools.partial(loss_of, teacher=teacher)

    def init(key: jax.Array) -> Any:
        student = jax.random.normal(key, (units, config.teacher)) / jnp.sqrt(config.teacher)
        return student, optimizer.init(student)

    def step(state: Any, batch: Any, key: jax.Array) -> tuple[Any, Any]:
        value, gradient = jax.value_and_grad(loss)(state[0])
        updates, optimized = optimizer.update(gradient, state[1])
        return (state[0] + updates, optimized), {"loss": value}

    def evaluate(state: Any, batch: Any, key: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(loss)(state[0])
        size = state[0].size
        hessian = jax.hessian(lambda flat: loss(flat.reshape(state[0].shape)))(state[0].ravel())
        least = least_eigenvalue(hessian.reshape(size, size))
        steepness, poor = jnp.linalg.norm(gradient), value > 1e-3
        stuck = poor & (steepness < 1e-3) & (least > -1e-3)
        told = {"loss": value, "gradient": steepness, "least": least, "stuck": stuck}
        return {name: metrics.mean(jnp.asarray(one, jnp.float32)) for name, one in told.items()}

    nothing = data.sequential({"x": np.zeros((1, 1), np.float32)}, batch_size=1)
    learner = fdl.Learner(init, step, evaluate)
    return fdl.Experiment(learner, nothing, {"all": nothing}, config.steps, config.steps)


SWEEP = fdl.grid(Config(), teacher=(8,), more=(0, 2), seeds=40)
SWEEP += fdl.grid(Config(), teacher=(12,), more=(0, 1), seeds=40)


def escapes(result: fdl.Result, teacher: int, more: int) -> fdl.Verdict:
    """Whether nine of ten runs do not end in a minimum that is not global."""
    own = result.where(teacher=teacher, more=more)
    options = {"threshold": 0, "better": "lower", "at_least": 0.9, "arms": "more"}
    return fdl.compare_rates(own, metric="all/stuck", **options).verdict


def sticks(result: fdl.Result, teacher: int, more: int, at_least: float) -> fdl.Verdict:
    """Whether this share of runs ends in a minimum that is not global."""
    own = result.where(teacher=teacher, more=more)
    return fdl.compare_rates(own, metric="all/stuck", threshold=1, at_least=at_least, arms="more").verdict


def frees(result: fdl.Result, teacher: int, more: int, at_least: float) -> fdl.Verdict:
    """Whether with more units fewer runs end so."""
    own = result.where(teacher=teacher, more=[0, more])
    options = {"arms": "more", "baseline": 0, "better": "lower", "at_least": at_least}
    return fdl.compare(own, metric="all/stuck", **options).verdict


def oftener(result: fdl.Result, at_least: float) -> fdl.Verdict:
    """Whether more runs end so where 12 units learn 12 than where 8 learn 8."""
    own = result.where(more=0)
    options = {"arms": "teacher", "baseline": 8, "at_least": at_least}
    return fdl.compare(own, metric="all/stuck", **options).verdict


CLAIMS = (
    fdl.Claim(
        "O4.1",
        "Poor local minima are no obstacle: of 12 units for 12, 90 % of runs do not end in one.",
        functools.partial(escapes, teacher=12, more=0),
    ),
    fdl.Claim(
        "O4.2",
        "They are common where a net has just the units it needs: of 12 for 12 at least 30 % end in one.",
        functools.partial(sticks, teacher=12, more=0, at_least=0.3),
        control=functools.partial(sticks, teacher=8, more=2, at_least=0.3),
        published="common for n = k from 6 to 20 (Safran and Shamir 2018)",
    ),
    fdl.Claim(
        "O4.3",
        "The larger the net, the oftener: more often with 12 for 12 than with 8 for 8, by at least 0.2.",
        functools.partial(oftener, at_least=0.2),
    ),
    fdl.Claim(
        "O4.4",
        "One unit more frees runs: with 13 for 12 fewer end so, by at least 0.2.",
        functools.partial(frees, teacher=12, more=1, at_least=0.2),
        published="mild over-parameterisation drastically reduces them (Safran and Shamir 2018)",
    ),
    fdl.Claim(
        "O4.5",
        "With two more, 10 for 8, 90 % of runs do not end in one.",
        functools.partial(escapes, teacher=8, more=2),
        control=functools.partial(escapes, teacher=12, more=0),
    ),
)
