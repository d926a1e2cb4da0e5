"""Checks of what a classifier says of rows that it was trained on, and of rows unlike those."""

import numpy as np

from fdl import metrics
from fdl.report.model_card import Checked
from fdl.stats.of_rows import area_interval
from fdl.trained.checks_said import Found
from fdl.trained.rows_said import Said


def area(name: str, above: np.ndarray, below: np.ndarray, how: str) -> Checked:
    """How well a score tells two kinds of rows apart, `[N]` and `[M]`: the area under the ROC curve."""
    scores = np.concatenate([above, below])
    value = metrics.roc_auc(scores, np.repeat([1, 0], [len(above), len(below)]))
    low, high = area_interval(value, len(above), len(below))
    return Checked(name, "", value, low, high, len(scores), f"{how}; Newcombe")


def membership_check(members: Said, others: Said) -> Found:
    """How well a row's loss tells whether it was trained on (Yeom et al. 2018, sec. 3.2); half: not so."""
    own, other = (one.log_probability[np.arange(len(one.y)), one.y] for one in (members, others))
    how = f"AUC of the loss, {len(members.y):,} rows of train as it sees them"
    return [area("membership inference", own, other, how)]


def unlike_check(said: Said, probability: np.ndarray) -> Found:
    """How well the largest probability tells the split's rows from others that are unlike them."""
    how = f"AUROC of the largest probability, against {len(probability):,} other rows"
    return [area("out-of-distribution detection", said.probability.max(1), probability.max(1), how)]
