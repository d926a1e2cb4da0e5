"""The report as one HTML page that needs nothing else: no script, no network, no font."""

import base64
import importlib.resources
import io
import itertools
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2
import markupsafe
import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from fdl import formats
from fdl.cells import text
from fdl.report import tables
from fdl.report.costs import cost_of_answer, cost_table, costs, spent
from fdl.report.figures import ARMS_FRONT, FRONT, LINEAGE, TIMELINE, Drawing
from fdl.report.importance import importance
from fdl.report.inspections import sliders
from fdl.report.lineage import best_schedule
from fdl.report.model_card import ModelCard, card_section
from fdl.report.schedule import schedule
from fdl.report.search_table import trials
from fdl.report.style import FAINT, INK
from fdl.report.terminal import ICONS
from fdl.result import Result
from fdl.stats import Verdict
from fdl.train.restart import lost_time

# An SVG image asks for the theme by itself; its two colours of text and grid become variables.
_THEME = """<style>
svg { --ink: #24292f; --faint: #d3d8de; }
@media (prefers-color-scheme: dark) { svg { --ink: #d5dae1; --faint: #3b424c; } }
</style>
"""


_MADE = {
    "trained": "Trained",
    "date": "Reported",
    "command": "Reported by",
    "commit": "Reported at commit",
    "criteria": "Criteria",
}
"""What the page says of its making, by its name in `Result.meta`: runs may have been trained earlier, by
other commands, at other commits where `experiment` means the same."""


class _Picture(NamedTuple):
    """A figure as a page holds it.

    Attributes:
      source: a data URI.
      alt: what it shows in words.
      width: in CSS pixels.
    """

    source: str
    alt: str
    width: int


def render(
    result: Result, verdict: Verdict | None, drawings: Sequence[Drawing], card: ModelCard | None = None
) -> str:
    """One HTML page with everything in it; whatever comes from the user is escaped.

    Args:
      result: what was measured; sections that its `meta` has nothing for are left out.
      verdict: what the claim came to, if there is one.
      drawings: the result's figures.
      card: a run's model card, if one was checked.
    """
    meta, found, best = result.meta, costs(result), best_schedule(result)
    pictures: dict[str, list[_Picture]] = {}
    for drawing in drawings:
        if drawing.kind not in (TIMELINE, FRONT, ARMS_FRONT, LINEAGE):
            pictures.setdefault(drawing.metric, []).append(_picture(drawing))
    return from_template(
        "template.html",
        name=meta.get("name", "experiment"),
        question=meta.get("question", meta.get("name", "Report")),
        detail=_blocks(meta.get("detail", "")),
        verdict=verdict,
        icons=ICONS,
        comparisons=tables.comparisons(verdict) if verdict and verdict.comparisons else None,
        pairing=tables.pairing(verdict) if verdict else "",
        facts=_facts(result),
        caption=tables.caption(result),
        results=tables.results(result),
        search=trials(meta["search"]) if "search" in meta else None,
        front=next((_picture(drawing) for drawing in drawings if drawing.kind == FRONT), None),
        arms_front=next((_picture(drawing) for drawing in drawings if drawing.kind == ARMS_FRONT), None),
        schedule=schedule(meta["schedule"]) if "schedule" in meta else None,
        best_schedule=tables.first(*best) if best else None,
        lineage=next((_picture(drawing) for drawing in drawings if drawing.kind == LINEAGE), None),
        importance=_importance(result),
        model_card=markupsafe.Markup(card_section(card)),
        pictures=pictures,
        workers=next((_picture(drawing) for drawing in drawings if drawing.kind == TIMELINE), None),
        inspections=sliders(result.inspections),
        failures=tables.first(
            "Runs that ended because a metric that must be finite was not", tables.failures(result)
        ),
        programs=tables.first(
            "Compiled programs: what ran in each, how, and what it took",
            tables.programs(meta.get("programs", ())),
        ),
        costs=cost_table(found) if found else None,
        cost_of_answer=cost_of_answer(result, verdict) if verdict else None,
        shared_config=tables.shared_config(meta.get("configs", {})),
        arm_configs=tables.arm_configs(meta.get("configs", {}), tables.shown_arms(result)),
        versions=meta.get("versions", {}),
        device=meta.get("device", ""),
        made={text: meta[name] for name, text in _MADE.items() if meta.get(name)},
        source=meta.get("source", ""),
    )


def from_template(template: str, **values: Any) -> str:
    """A page of this package's templates, which share their style; values are escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    files = importlib.resources.files("fdl.report")
    style = markupsafe.Markup(files.joinpath("style.css").read_text("utf-8"))
    return environment.from_string(files.joinpath(template).read_text("utf-8")).render(style=style, **values)


def _importance(result: Result) -> tuple[str, tuple[tables.Column, ...]] | None:
    metrics = tables.main_metrics(result)
    found = importance(result, metrics[0]) if metrics else None
    return tables.shares(found) if found else None


def _facts(result: Result) -> dict[str, str]:
    """The size of the experiment: short answers by name."""
    runs = pd.concat([result.frame, result.failures.assign(status="failed")])
    runs = runs.drop_duplicates(["arm", "seed"])
    facts = {"Arms": text(runs["arm"].nunique()), "Seeds": text(runs["seed"].nunique())}
    counts = runs["status"].value_counts()
    facts |= {f"Runs {status}": text(count) for status, count in counts.items()}
    if len(result.frame):
        facts["Steps"] = text(result.frame["step"].max())
    programs = result.meta.get("programs", ())
    if programs:
        facts["Programs"] = text(len(programs))
        for name, key in (("Compiling", "compile_seconds"), ("Training", "train_seconds")):
            facts[name] = formats.duration(sum(program.get(key, 0.0) for program in programs))
    if lost := lost_time(one for program in programs for one in program.get("restarts", ())):
        facts["Lost to restarts"] = f"at least {lost}"
    if found := costs(result):
        facts["Device time"] = spent(found)
    if "seconds" in result.meta:
        facts["Wall time of the last command"] = formats.duration(result.meta["seconds"])
    return facts


def _picture(drawing: Drawing) -> _Picture:
    pixels = round(96 * drawing.figure.get_figwidth())
    return _Picture(_embedded(drawing.figure), drawing.alt, pixels)


def _embedded(figure: Figure) -> str:
    """A data URI of a figure that follows the reader's theme."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "fdl"}):  # the same figure is the same text
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    head, tag, rest = buffer.getvalue().partition("<defs>")
    rest = rest.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    image = head + _THEME + tag + rest
    return f"data:image/svg+xml;base64,{base64.b64encode(image.encode()).decode()}"


def _blocks(detail: str) -> list[tuple[bool, str]]:
    """Paragraphs of a docstring: whether it is indented (shown as it is), and its text."""
    blocks = []
    lines = detail.splitlines()
    for kind, group in itertools.groupby(lines, key=lambda line: (bool(line.strip()), line[:1].isspace())):
        filled, indented = kind
        if filled:
            part = list(group)
            blocks.append((indented, textwrap.dedent("\n".join(part)) if indented else " ".join(part)))
    return blocks
