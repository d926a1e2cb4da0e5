"""Several metrics of the same runs, as arms to compare."""

import dataclasses
from collections.abc import Mapping

import pandas as pd

from fdl.arguments import NotEmpty, checked
from fdl.result import Result, check_metric


@checked
def metrics_as_arms(result: Result, metrics: NotEmpty[Mapping[str, str]], *, name: str = "measure") -> Result:
    """Several metrics of each run side by side: each becomes an arm, and its values the metric
    `name/value`, so that `compare` judges one against another, paired by seed.

    Args:
      result: the runs.
      metrics: by the arm's name the metric, as `{"gradient": "test/kept_gradient"}`.
      name: of the new field, and of the metric.

    Returns:
      The same runs once for each metric, with a field `name` more, whose value is the arm's name.

    Raises:
      ValueError: an unknown metric, a field `name` that is there, or arms that `best` chose or a scheduler
        stopped or changed.

    Example:
      >>> import fdl, pandas as pd
      >>> rows = [("a", seed, 10, "finished", 0.9 + seed / 100, 0.2 + seed / 90) for seed in range(6)]
      >>> frame = pd.DataFrame(rows, columns=["arm", "seed", "step", "status", "test/one", "test/two"])
      >>> failures = pd.DataFrame(columns=["arm", "seed", "step", "metric"])
      >>> result = fdl.Result(frame, (), failures, {})  # as fdl.sweep gives it
      >>> both = fdl.stats.metrics_as_arms(result, {"two": "test/two", "one": "test/one"})
      >>> fdl.compare(both, metric="measure/value", arms="measure", at_least=0.5).verdict.status
      'SUPPORTED'
    """
    for metric in metrics.values():
        check_metric(result, metric)
    if name in result.frame:
        raise ValueError(f"there is a column {name!r} already; name the metrics otherwise")
    if result.selection or result.stopped or result.lineages:
        raise ValueError("arms were chosen, stopped or changed; expected a result as fdl.sweep gives it")

    def copies(table: pd.DataFrame, *, valued: bool) -> pd.DataFrame:
        made = []
        for value, metric in metrics.items():
            arms = [f"{arm}, {name}={value}" for arm in table["arm"]]
            column = {f"{name}/value": table[metric]} if valued else {}
            made.append(table.assign(arm=arms, **{name: value}, **column))
        return pd.concat(made, ignore_index=True)

    return dataclasses.replace(
        result,
        frame=copies(result.frame, valued=True),
        fields=(*result.fields, name),
        failures=copies(result.failures, valued=False),
        meta={},
        log=None,
        inspections=(),
    )
