"""Checks that take a classifier's probabilities alone: accuracy, calibration, groups, staying silent."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fdl import metrics
from fdl.analysis import fit_temperature
from fdl.report.model_card import Checked, NotChecked
from fdl.stats import success_rate
from fdl.stats.of_rows import bootstrap_interval, calibration_interval, ranges_interval
from fdl.trained.rows_said import Said

Found = list[Checked | NotChecked]
BINS = 15
FEW = 10
_FITTED = 2000
_REFITS = 200


def rate(name: str, hits: np.ndarray, *, of: str = "", how: str = "") -> Checked:
    """The share of rows that a check holds of, `[N]`, with Wilson's interval."""
    value, low, high = success_rate(int(hits.sum()), len(hits))
    return Checked(name, of, value, low, high, len(hits), how)


def calibration_error(
    name: str, said: Said, probability: np.ndarray, *, of: str = "", how: str = ""
) -> Checked:
    """The expected calibration error of probabilities `[N, C]` of the rows."""
    sums = metrics.calibration(
        jnp.asarray(probability), jnp.asarray(said.y), jnp.ones(len(said.y)), bins=BINS
    )
    confidence = probability.max(1)
    place = np.searchsorted(np.arange(1, BINS, dtype=np.float32) / np.float32(BINS), confidence, side="left")
    low, high = calibration_interval(confidence, probability.argmax(1) == said.y, place)
    method = f"{BINS} bins; drawn, holds at 0 too, wide"
    return Checked(name, of, float(sums.value), low, high, len(said.y), f"{how}; {method}" if how else method)


def plain_checks(said: Said) -> Found:
    """Accuracy, calibration, and the rows of which the classifier is surest."""
    found: Found = [
        rate("accuracy", said.right),
        calibration_error("calibration error", said, said.probability),
    ]
    sure, wrong = said.probability.max(1), ~said.right
    kept = np.argsort(-sure, kind="stable")[: max(1, round(0.8 * len(sure)))]
    found.append(rate("accuracy", said.right[kept], of="the surest 80 %", how="selective prediction"))
    if wrong.sum() < FEW:
        few = f"{int(wrong.sum())} rows are wrong; fewer than {FEW} leave no interval"
        return [*found, NotChecked("risk-coverage area (AURC)", few)]
    area = metrics.risk_coverage(sure, wrong).area
    ends = bootstrap_interval(lambda at: metrics.risk_coverage(sure[at], wrong[at]).area, len(sure))
    name, how = "risk-coverage area (AURC)", "mean risk over thresholds; bootstrap"
    return [*found, Checked(name, "", area, *ends, len(sure), how)]


def temperature_checks(said: Said, fitted: Said | None, *, split: str) -> Found:
    """The temperature that other rows ask for, and the calibration error with it."""
    name = "temperature scaling"
    if fitted is None:
        return [NotChecked(name, f"{split} is checked itself, and there are no other rows to fit it on")]
    if (wrong := int((~fitted.right).sum())) < FEW:
        few = f"{wrong} rows of {split} are wrong; fewer than {FEW} do not tell a temperature"
        return [NotChecked(name, few)]
    taken = np.random.default_rng(0).permutation(len(fitted.y))[:_FITTED]
    logits, labels = jnp.asarray(fitted.log_probability[taken]), jnp.asarray(fitted.y[taken])
    best = float(jax.jit(fit_temperature)(logits, labels))

    def refitted(key: jax.Array) -> jax.Array:
        at = jax.random.randint(key, (len(labels),), 0, len(labels))
        return fit_temperature(logits[at], labels[at])

    drawn = jax.jit(lambda keys: jax.lax.map(refitted, keys))(jax.random.split(jax.random.key(0), _REFITS))
    low, high = np.quantile(drawn, [0.025, 0.975])
    how = f"least cross-entropy on {split}; bootstrap"
    scaled = np.asarray(jax.nn.softmax(said.log_probability / best, axis=1))
    after = calibration_error("calibration error", said, scaled, of=f"temperature {best:.3g}")
    return [Checked("temperature", split, best, float(low), float(high), len(labels), how), after]


def group_checks(said: Said, groups: Mapping[str, np.ndarray], name: str) -> Found:
    """Accuracy and calibration of each group, and how far decisions differ between groups."""
    found: Found = []
    for title, rows in groups.items():
        part = said.taken(rows)
        found.append(rate("accuracy", part.right, of=title))
        found.append(calibration_error("calibration error", part, part.probability, of=title))
    place = np.zeros(len(said.y), int)
    for number, rows in enumerate(groups.values()):
        place[rows] = number
    classes = [1] if said.probability.shape[1] == 2 else range(said.probability.shape[1])
    how = "yes is class 1" if len(classes) == 1 else "each class in turn is yes; the largest"
    decisions = [(said.label == one, said.y == one) for one in classes]
    everywhere = [np.ones(len(said.y), bool)]
    parity = max(metrics.demographic_parity_difference(yes, true, place) for yes, true in decisions)
    ends = _ends(decisions, place, lambda true: everywhere)
    exact = f"{how}; exact, Bonferroni"
    found.append(Checked("demographic parity diff.", name, parity, *ends, len(said.y), exact))
    odds = [metrics.equalised_odds_difference(yes, true, place) for yes, true in decisions]
    title = "equalised odds diff."
    if np.isnan(odds).any():
        reason = f"a group of {name} has no row with, or none without, one of the classes"
        return [*found, NotChecked(f"{title}, {name}", reason)]
    ends = _ends(decisions, place, lambda true: [true, ~true])
    return [*found, Checked(title, name, max(odds), *ends, len(said.y), exact)]


def _ends(
    decisions: Sequence[tuple[np.ndarray, np.ndarray]],
    place: np.ndarray,
    conditions: Callable[[np.ndarray], Sequence[np.ndarray]],
) -> tuple[float, float]:
    """Of the largest difference between groups, of any class, of the rates of yes where a condition holds."""
    families = [
        [
            (int(yes[rows].sum()), int(rows.sum()))
            for rows in ((place == g) & where for g in range(place.max() + 1))
        ]
        for yes, true in decisions
        for where in conditions(true)
    ]
    return ranges_interval(families)
