"""A trained classifier's model card: all checks that apply to it, and why the others do not."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fdl.arguments import Count, Positive, checked
from fdl.report.model_card import Checked, ModelCard, NotChecked
from fdl.trained.checks_energy import prediction_energy
from fdl.trained.checks_logits import energy_check
from fdl.trained.checks_robust import (
    attack_checks,
    corruption_checks,
    is_scalable,
    scaled_rows,
    smoothing_checks,
)
from fdl.trained.checks_said import Found, group_checks, plain_checks, temperature_checks
from fdl.trained.checks_seen import membership_check, unlike_check
from fdl.trained.rows_said import Said, classify_of, rows_by_value, rows_in, said_of, said_of_rows
from fdl.trained.run import TrainedRun

FITTED_ON = "validation"
_MEMBERS = 2048


@checked
def model_card(
    run: TrainedRun,
    *,
    split: str = "test",
    groups: Sequence[str] = (),
    other: Any = None,
    epsilon: Positive[float] = 8 / 255,
    sigma: Positive[float] = 0.25,
    rows: Count = 500,
) -> ModelCard:
    """What can be checked of a trained classifier, each number with its interval.

    Args:
      run: as `fdl.load(DIR).run(...)` gives it.
      split: whose rows it is checked on.
      groups: columns of these rows whose values are groups; `x[3]` is a number of x.
      other: rows unlike those of the training, as `TrainedRun.predict` takes them.
      epsilon: how far attacks change a number, as a share of its range.
      sigma: the noise of randomised smoothing, likewise.
      rows: of so many rows, drawn at random, attacks, noise and corruptions are checked.

    Raises:
      ValueError: a run that is no classifier, a split or a column that is not there, other rows unlike in
        shape.
    """
    classify = classify_of(run)
    said = said_of(run, split, classify)
    of_groups = {name: rows_by_value(said, name) for name in groups}
    unlike = None if other is None else run.predict(other)["probability"]
    found: Found = plain_checks(said)
    fitted = split != FITTED_ON and FITTED_ON in run.experiment.evaluation
    validation = said_of(run, FITTED_ON, classify) if fitted else None
    found += temperature_checks(said, validation, split=FITTED_ON)
    for name, one in of_groups.items():
        found += group_checks(said, one, name)
    if not groups:
        found.append(NotChecked("groups: parity, odds", "no column was given by --group"))
    found += _robust(run, said, classify, epsilon=epsilon, sigma=sigma, rows=rows)
    found += _seen(run, said, classify, unlike)
    if other is not None:
        found.append(energy_check(run, said, other))
    rows_again = {"x": said.x, "y": said.y}
    found += prediction_energy(lambda: said_of_rows(run, rows_again, classify), len(said.y))
    found += _NEVER
    found.append(_parameters(run))
    return ModelCard(
        {"Run": f"{run.arm} seed {run.seed}", "Step": f"{run.step:,}", "Checked on": split}
        | {"Rows": f"{len(said.y):,}", "Classes": f"{said.probability.shape[1]}"},
        tuple(one for one in found if isinstance(one, Checked)),
        tuple(one for one in found if isinstance(one, NotChecked)),
    )


_NEVER = [
    NotChecked("exposure of canaries", "it is of language models, by --canaries"),
]


def _robust(run: TrainedRun, said: Said, classify: Any, *, epsilon: float, sigma: float, rows: int) -> Found:
    if not is_scalable(said):
        return [NotChecked("attacks, certified radius, corruptions", "x is no array of floats")]
    part = said.taken(np.sort(np.random.default_rng(0).permutation(len(said.y))[:rows]))
    scaled = scaled_rows(part.x, classify)
    return [
        *attack_checks(run, part, scaled, epsilon=epsilon),
        *smoothing_checks(run, part, scaled, sigma=sigma),
        *corruption_checks(run, part, scaled),
    ]


def _seen(run: TrainedRun, said: Said, classify: Any, unlike: np.ndarray | None) -> Found:
    source = run.experiment.train
    size = len(jax.tree.leaves(jax.eval_shape(source.batch, source.arrays, 0, jax.random.key(0)))[0])
    batches = max(1, min(source.batches, _MEMBERS // size))
    members = said_of_rows(run, rows_in(source, seed=run.seed, batches=batches), classify)
    found = membership_check(members, said)
    if unlike is None:
        return [*found, NotChecked("out-of-distribution detection", "no other rows were given by --other")]
    return [*found, *unlike_check(said, unlike)]


def _parameters(run: TrainedRun) -> Checked:
    count = sum(one.size for one in jax.tree.leaves(run.variables["params"]))
    return Checked("parameters", "", float(count), None, None, None)
