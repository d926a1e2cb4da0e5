"""How the arms of a result share a figure: which have a panel, which a colour, and which are not drawn."""

import math
from typing import NamedTuple

from fdl.cells import texts
from fdl.result import Result

MOST = 24
"""Arms that have a panel, or a row, of their own; of more, only those of the highest and lowest means do."""
HUES, PANELS = 8, 12
"""Colours that can be told apart, and panels of a page, at most, where two fields are crossed."""


class Layout(NamedTuple):
    """Which arms share a panel and which a colour: labels by arm, in the order of the sweep.

    Attributes:
      panel: the panel of each arm.
      hue: the colour of each arm that has a curve of its own.
      title: the heading of the legend.
      backdrop: whether each panel also shows all other arms faintly.
    """

    panel: dict[str, str]
    hue: dict[str, str]
    title: str
    backdrop: bool = False


def layout(result: Result, metric: str) -> Layout:
    """Two crossed fields become panels and colours. Otherwise up to eight arms share a panel, up to 24 have
    one each, and of more the four with the highest and the four with the lowest mean are drawn over all."""
    fields: tuple[str, ...] = () if result.lineages else result.varying
    first = result.frame.drop_duplicates("arm").set_index("arm")
    labels = {field: dict(zip(first.index, texts(first[field]), strict=True)) for field in fields}
    counts = {field: len(set(labels[field].values())) for field in fields}
    arms = {str(arm): str(arm) for arm in first.index}
    if len(fields) == 2 and len(arms) == math.prod(counts.values()):
        hue = min(reversed(fields), key=lambda field: counts[field])
        panel = fields[0] if hue == fields[1] else fields[1]
        if counts[hue] <= HUES and counts[panel] <= PANELS:
            return Layout(_titled(panel, labels[panel]), labels[hue], hue)
    one = len(fields) == 1
    names = labels[fields[0]] if one else arms
    if len(arms) <= HUES:
        return Layout(dict.fromkeys(arms, ""), names, fields[0] if one else "")
    if len(arms) <= MOST:
        panels = _titled(fields[0], names) if one else arms
        return Layout(panels, dict.fromkeys(arms, ""), "", backdrop=True)
    shown = extremes(result, metric, HUES)
    title = f"{f'{fields[0]}, ' if one else ''}highest and lowest of {len(arms)} arms"
    return Layout(dict.fromkeys(arms, ""), {arm: names[arm] for arm in shown}, title, backdrop=True)


def extremes(result: Result, metric: str, most: int) -> list[str]:
    """At most so many arms, from the highest mean of the last `metric` to the lowest: all, or both ends."""
    means = result.last().groupby("arm", sort=False)[metric].mean().dropna()
    arms = [str(arm) for arm in means.sort_values(ascending=False, kind="stable").index]
    return arms if len(arms) <= most else arms[: most // 2] + arms[-(most // 2) :]


def _titled(field: str, labels: dict[str, str]) -> dict[str, str]:
    return {arm: f"{field} = {label}" for arm, label in labels.items()}
