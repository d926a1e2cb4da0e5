"""Do more features than rows make least squares overfit, or less?

Belkin et al. 2019, Reconciling modern machine-learning practice and the classical bias-variance trade-off,
fig. 2: the test error of random Fourier features and the solution of least norm falls, peaks where there
are as many features as rows, and falls again, below where it had been. Here every seed draws 100 of
scikit-learn's digits and 10 to 2,000 features cos(w x + b), w normal with deviation 0.1. Nothing is
trained: `init` solves it, by the Gram-Schmidt method (the modified one, with the labels as further
columns, which is as exact as Householder's: Björck 1967).

Against it: that "large nets do not overfit" is wrong. The peak is overfitting; what does not hold is only
that it grows with every parameter. A ridge, chosen on validation by other seeds, has no peak (Nakkiran et
al. 2021, Optimal Regularization Can Mitigate Double Descent), and a perceptron that Adam trains need not
show one in its width. Where labels are random, more features help nothing.

    fdl sweep experiments/double_descent.py

1 minute of CPU time. A pilot came before, with seeds 500 to 505: of the ridges 1e-3, 1e-2 and 1e-1 the
highest was the best, so that there is a higher one. G1.4 and G1.5 had allowed for a point more errors.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

import fdl
from fdl import data, metrics, rng

ROWS, MOST = 100, 2000
FEW, MORE = (10, 20, 40, 70), (200, MOST)


@fdl.config
class Config:
    features: int = fdl.static(ROWS, low=1)
    """random Fourier features"""
    regularised: bool = fdl.static(False)
    """whether there is a ridge; if not, it is the solution of least norm"""
    ridge: float = fdl.traced(0.0, low=0.0)
    """factor of the squared weights"""
    noise: float = fdl.traced(0.0, low=0.0, high=1.0)
    """share of training rows whose label is drawn anew, uniformly"""


def featured(state: dict[str, Any], x: jax.Array) -> jax.Array:
    """`[B, D]` to `[B, N]`: of a row's features the squares sum to about 1."""
    size = state["phases"].shape[0]
    return jnp.sqrt(2 / size) * jnp.cos(x @ state["weights"] + state["phases"])


def orthogonal(rows: jax.Array, along: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rows `[n, N]` made orthonormal one after another, and what the same sums make of `along` `[n, K]`."""

    def one(place: jax.Array, both: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rows, along = both
        size = jnp.linalg.norm(rows[place])
        row, beside = rows[place] / size, along[place] / size
        share = jnp.where(jnp.arange(len(rows)) > place, rows @ row, 0.0)[:, None]
        return (rows - share * row).at[place].set(row), (along - share * beside).at[place].set(beside)

    return jax.lax.fori_loop(0, len(rows), one, (rows, along))


def least_norm(matrix: jax.Array, y: jax.Array) -> jax.Array:
    """The least of the `[N, K]` that minimise the squares of `[n, N] @ it - [n, K]`."""
    n, size = matrix.shape
    if size >= n:
        basis, sums = orthogonal(matrix, y)
        return basis.T @ sums
    basis, sums = orthogonal(matrix.T, jnp.eye(size))
    return sums.T @ (basis @ y)


def solved(config: Config, part: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Rows, labels and features that are drawn of a key, and the weights of least squares."""
    draw = functools.partial(rng.stream, key)
    rows = jax.random.permutation(draw("rows"), len(part["y"]))[:ROWS]
    anew = jax.random.uniform(draw("whether"), (ROWS,)) < config.noise
    labels = jnp.where(anew, jax.random.randint(draw("label"), (ROWS,), 0, 10), jnp.asarray(part["y"])[rows])
    weights = 0.1 * jax.random.normal(draw("weights"), (part["x"].shape[1], MOST))
    phases = jax.random.uniform(draw("phases"), (MOST,), maxval=2 * jnp.pi)
    state = {"weights": weights[:, : config.features], "phases": phases[: config.features]}
    matrix, y = featured(state, jnp.asarray(part["x"])[rows]), jax.nn.one_hot(labels, 10)
    if config.regularised:  # a ridge is the solution of least norm with a further feature for each row
        matrix = jnp.concatenate([matrix, jnp.sqrt(config.ridge) * jnp.eye(ROWS)], 1)
    return {**state, "solution": least_norm(matrix, y)[: config.features]}


def experiment(config: Config) -> fdl.Experiment:
    splits = data.digits()

    def evaluate(state: Any, batch: Any, key: jax.Array) -> Any:
        del key
        said = featured(state, batch["x"]) @ state["solution"]
        return {"error": metrics.mean(1 - metrics.accuracy(said, batch["y"]), batch["weight"])}

    init = functools.partial(solved, config, splits.train)
    learner = fdl.Learner(init, lambda state, batch, key: (state, {}), evaluate, required=("error",))
    validation, test = (data.sequential(part, batch_size=400) for part in (splits.validation, splits.test))
    return fdl.Experiment(learner, test, {"validation": validation, "test": test}, steps=1, evaluate_every=1)


SEEDS, RIDGES = 16, (1e-2, 1e-1, 1.0)
SWEEP = fdl.grid(Config(), features=(*FEW, ROWS, *MORE), noise=(0.0, 0.2, 1.0), seeds=SEEDS) + fdl.grid(
    Config(), features=(70, ROWS, 200), regularised=(True,), ridge=RIDGES, seeds=SEEDS
)


def differ(result: fdl.Result, baseline: int, **criterion: Any) -> fdl.Verdict:
    """The errors with all other numbers of features against those with one."""
    return fdl.compare(result, metric="test/error", arms="features", baseline=baseline, **criterion).verdict


def peaks(result: fdl.Result) -> fdl.Verdict:
    """Whether 100 features make more errors than each other number, by 20 points."""
    own = result.where(regularised=False, noise=0.0)
    return differ(own, ROWS, better="lower", at_least=0.2)


def peaks_with_ridge(result: fdl.Result) -> fdl.Verdict:
    own = result.where(regularised=True).best("ridge", by="validation/error", better="lower", seeds=4)
    return differ(own, ROWS, better="lower", at_least=0.2)


def most_is_best(result: fdl.Result, noise: float) -> fdl.Verdict:
    """Whether every number of features below that of rows makes more errors than 2,000."""
    own = result.where(regularised=False, noise=noise, features=[*FEW, MOST])
    return differ(own, MOST, better="higher", at_least=0.01)


def improves(result: fdl.Result) -> fdl.Verdict:
    """Whether 100 features make fewer errors than 70, and 200 than 100."""
    few, more = result.where(features=[70, ROWS]), result.where(features=[ROWS, 200])
    return fdl.all_of(differ(few, 70, better="lower"), differ(more, ROWS, better="lower"))


def improves_with_ridge(result: fdl.Result) -> fdl.Verdict:
    own = result.where(regularised=True).best("ridge", by="validation/error", better="lower", seeds=4)
    return improves(own)


def improves_without(result: fdl.Result) -> fdl.Verdict:
    return improves(result.where(regularised=False, noise=0.0))


def no_overfitting(result: fdl.Result) -> fdl.Verdict:
    """Whether 100 features make fewer errors than 40."""
    own = result.where(regularised=False, noise=0.0, features=[40, ROWS])
    return differ(own, 40, better="lower")


CLAIMS = (
    fdl.Claim(
        "G1.1",
        "Of as many features as rows the error is 20 points above that of each other number.",
        peaks,
        control=peaks_with_ridge,
        published="a peak at N = n (Belkin et al. 2019, fig. 2)",
    ),
    fdl.Claim(
        "G1.2",
        "Of 2,000 features it is at least a point below that of each number below 100.",
        functools.partial(most_is_best, noise=0.0),
        control=functools.partial(most_is_best, noise=1.0),
        published="the least error is at the most features (Belkin et al. 2019, fig. 2)",
    ),
    fdl.Claim(
        "G1.3",
        "So it is where a fifth of the labels is random.",
        functools.partial(most_is_best, noise=0.2),
        control=functools.partial(most_is_best, noise=1.0),
        published="of label noise the peak is higher (Nakkiran et al. 2020, Deep Double Descent)",
    ),
    fdl.Claim(
        "G1.4",
        "With the ridge that is best on validation more features make fewer errors: 70, 100, 200.",
        improves_with_ridge,
        control=improves_without,
        published="optimal regularisation has no peak (Nakkiran et al. 2021)",
    ),
    fdl.Claim(
        "G1.5",
        "Overfitting is a myth: 100 features make fewer errors than 40.",
        no_overfitting,
        published="the peak (Belkin et al. 2019)",
    ),
)
