"""Which fields set the arms of a sweep apart: the main effects of each, in a forest of regression trees."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fdl.cells import identities
from fdl.report.layout import MOST
from fdl.result import Result

ARMS, BACKGROUND, VALUES, TREES = 2_000, 512, 16, 64
"""At most: arms that the forest learns from, points over which it is averaged, values of a field tried."""
LEAST, TOGETHER = 0.3, 0.5
"""Nothing is said where the forest foretells less than this share of arms that it has not seen, or where
the ranks of two fields correlate more than this: what each does alone is not in the data then."""


class Importance(NamedTuple):
    """Shares of the variance between arms.

    Attributes:
      metric: whose mean over seeds.
      shares: by field, that of its main effect; what is left is of fields together.
      foretold: the share of the variance that the forest foretells of arms left out (out-of-bag R²).
      arms: how many it learned from.
    """

    metric: str
    shares: dict[str, float]
    foretold: float
    arms: int


def importance(result: Result, metric: str) -> Importance | None:
    """The share of each varying field's main effect, of more than 24 arms that vary in two fields or more.

    Functional ANOVA of a random forest (Hutter, Hoos and Leyton-Brown 2014), fields taken as independent,
    each with the values that the arms have; by averages of the forest over 512 points, so to about
    0.03. Arms without a finite mean are left out.

    Returns:
      The shares, or None where the arms do not tell them (`LEAST`, `TOGETHER`).
    """
    means = result.last().groupby("arm", sort=False)[metric].mean().astype(float)
    means = means[np.isfinite(means)]
    fields = () if result.lineages else result.varying
    if len(means) <= MOST or len(fields) < 2 or not means.std() > 0:
        return None
    rows = result.runs().drop_duplicates("arm").set_index("arm").loc[means.index]
    columns = np.column_stack([_numbers(rows[field]) for field in fields])
    random = np.random.default_rng(0)
    chosen = np.sort(random.choice(len(means), min(ARMS, len(means)), replace=False))
    columns, values = columns[chosen], means.to_numpy()[chosen]
    together = np.atleast_2d(pd.DataFrame(columns).rank().corr().fillna(1.0))
    if np.abs(together - np.eye(len(fields))).max() > TOGETHER:
        return None
    found = _shares(columns, values, random)
    if found is None:
        return None
    shares, foretold = found
    return Importance(metric, dict(zip(fields, shares, strict=True)), foretold, len(values))


def _shares(
    columns: np.ndarray, values: np.ndarray, random: np.random.Generator
) -> tuple[list[float], float] | None:
    from sklearn.ensemble import RandomForestRegressor  # half a second that small sweeps need not wait

    forest = RandomForestRegressor(TREES, oob_score=True, random_state=0).fit(columns, values)
    if not forest.oob_score_ > LEAST:
        return None
    evenly = (np.arange(BACKGROUND) + 0.5) / BACKGROUND  # a Latin hypercube: each field alone as it is
    spread = [np.quantile(column, evenly, method="nearest") for column in columns.T]
    points = np.column_stack([random.permutation(values) for values in spread])
    whole, shares = forest.predict(points).var(), []
    for place, column in enumerate(columns.T):
        tried = np.unique(np.quantile(column, np.linspace(0, 1, VALUES), method="nearest"))
        at_each = []
        for value in tried:
            points_there = points.copy()
            points_there[:, place] = value
            at_each.append(forest.predict(points_there).mean())
        nearest = np.abs(column[:, None] - tried).argmin(axis=1)
        shares.append(float(np.asarray(at_each)[nearest].var() / whole) if whole > 0 else 0.0)
    return shares, float(forest.oob_score_)


def _numbers(column: pd.Series) -> np.ndarray:
    """Numbers as they are, whose order is all that trees ask for; other values by their first appearance."""
    there = identities(column)
    if all(isinstance(value, int | float) for _, value in there):
        return np.array([float(value) for _, value in there])
    places = {one: place for place, one in enumerate(dict.fromkeys(there))}
    return np.array([float(places[one]) for one in there])
