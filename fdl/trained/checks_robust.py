"""Checks of a classifier under changed rows: attacks, noise with a certificate, corruptions of images.

Lengths are shares of a range: numbers are scaled by the least and the largest that they have in the rows,
those of images all alike, of other rows each column by itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdl import analysis
from fdl.report.model_card import NotChecked
from fdl.trained.checks_said import Found, rate
from fdl.trained.rows_said import Said
from fdl.trained.run import TrainedRun

STEPS = 20
QUERIES = 500
DRAWS = (100, 1000)
ALPHA = 0.001


class Scaled(NamedTuple):
    """Rows scaled to 0 to 1, and a classifier of such rows.

    Attributes:
      rows: `[N, ...]`.
      says: `says(state, rows) -> (labels, probabilities)`.
    """

    rows: jax.Array
    says: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]


def scaled_rows(x: np.ndarray, classify: Callable[[Any, Any], tuple[jax.Array, jax.Array]]) -> Scaled:
    """Rows and a classifier in the unit of their ranges; what is constant keeps its own unit."""
    axes = tuple(range(x.ndim)) if x.ndim == 4 else (0,)
    low, high = x.min(axes, keepdims=True)[0], x.max(axes, keepdims=True)[0]
    width = np.where(high > low, high - low, 1).astype(x.dtype)
    return Scaled(jnp.asarray((x - low) / width), lambda state, rows: classify(state, low + rows * width))


def is_scalable(said: Said) -> bool:
    """Whether the rows are arrays of floats."""
    return isinstance(said.x, np.ndarray) and np.issubdtype(said.x.dtype, np.floating)


def attack_checks(run: TrainedRun, said: Said, scaled: Scaled, *, epsilon: float) -> Found:
    """The share of rows that are right, and stay so under each attack, and under all."""
    rows, y = scaled.rows, jnp.asarray(said.y)

    def loss(state: Any, x: jax.Array, y: jax.Array, *, margin: bool) -> jax.Array:
        log = jnp.log(jnp.maximum(scaled.says(state, x)[1], jnp.finfo(jnp.float32).tiny))
        own = jnp.take_along_axis(log, y[:, None], 1)[:, 0]
        others = jnp.where(jax.nn.one_hot(y, log.shape[1], dtype=bool), -jnp.inf, log).max(1)
        return others - own if margin else -own

    def changed(state: Any, key: jax.Array) -> dict[str, jax.Array]:
        entropy = lambda x, y: loss(state, x, y, margin=False)  # noqa: E731
        margin = lambda x, y: loss(state, x, y, margin=True)  # noqa: E731
        step = 2.5 * epsilon / STEPS
        moved = {
            "FGSM": analysis.fgsm(entropy, rows, y, epsilon=epsilon),
            "PGD": analysis.pgd(entropy, rows, y, key, epsilon=epsilon, step=step, steps=STEPS),
            "queries": analysis.square_attack(margin, rows, y, key, epsilon=epsilon, queries=QUERIES),
        }
        slope = jax.grad(lambda x: jnp.sum(entropy(x, y)))(rows)
        flat = jnp.all(slope.reshape(len(y), -1) == 0, axis=1)
        return {**{name: scaled.says(state, one)[0] == y for name, one in moved.items()}, "flat": flat}

    found = jax.device_get(jax.jit(changed)(run.state, jax.random.key(0)))
    how = {"FGSM": "one step", "PGD": f"{STEPS} steps", "queries": f"square attack, {QUERIES} of them"}
    stays = {name: found[name] & said.right for name in how}
    all_stay = stays["FGSM"] & stays["PGD"] & stays["queries"]
    masked = stays["FGSM"] & stays["PGD"] & ~stays["queries"]
    at = f"within {epsilon:.3g}"
    return [
        rate("accuracy, rows attacked", said.right, of="unchanged"),
        *(rate(f"accuracy, {name}", one, of=at, how=how[name]) for name, one in stays.items()),
        rate("accuracy, all attacks", all_stay, of=at, how="a share of the range"),
        rate("fooled by queries alone", masked, of=at, how="many of these: gradients are masked"),
        rate("rows without a gradient", found["flat"], how="likewise"),
    ]


def smoothing_checks(run: TrainedRun, said: Said, scaled: Scaled, *, sigma: float) -> Found:
    """The share of rows that are certain to be right within Euclidean radii, with noise added."""
    classes = said.probability.shape[1]

    def counts(state: Any, key: jax.Array, samples: int) -> jax.Array:
        classify = lambda x: scaled.says(state, x)[0]  # noqa: E731
        return analysis.noisy_counts(
            classify, scaled.rows, key, sigma=sigma, samples=samples, classes=classes
        )

    drawn = jax.jit(counts, static_argnums=2)
    both = [drawn(run.state, jax.random.key(n), samples) for n, samples in enumerate(DRAWS)]
    found = analysis.certify(*map(np.asarray, both), sigma=sigma, alpha=ALPHA)
    how = f"smoothed by noise {sigma:g}, {DRAWS[1]:,} draws, each row certain at {1 - ALPHA:.1%}"
    hits = found.label == said.y
    radii = (0.0, sigma, 2 * sigma)
    return [
        rate("certified accuracy", hits & (found.radius > radius), of=f"radius > {radius:g}", how=how)
        for radius in radii
    ]


def corruption_checks(run: TrainedRun, said: Said, scaled: Scaled) -> Found:
    """Accuracy under each common corruption at each severity, of images."""
    if scaled.rows.ndim != 4:
        return [NotChecked("common corruptions", "the rows are no images [N, H, W, C]")]
    says = jax.jit(lambda state, rows: scaled.says(state, rows)[0])
    found: Found = []
    for place, one in enumerate(analysis.CORRUPTIONS):
        for severity in range(1, 6):
            key = jax.random.fold_in(jax.random.key(0), 5 * place + severity)
            rows = analysis.corrupted(one, scaled.rows, key, severity=severity)
            right = np.asarray(says(run.state, rows)) == said.y
            found.append(rate(f"accuracy, {one.name}", right, of=f"severity {severity}"))
    return found
