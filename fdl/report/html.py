"""The report as one HTML page that needs nothing else: no script, no network, no font."""

import base64
import importlib.resources
import io
import itertools
from typing import Any, NamedTuple

import jinja2
import matplotlib
from matplotlib.figure import Figure

from fdl.report import figures, formats, tables
from fdl.report.terminal import ICONS
from fdl.result import Result
from fdl.stats import Verdict

# An SVG image asks for the theme by itself; its two colours of text and grid become variables.
_THEME = """<style>
svg { --ink: #24292f; --faint: #d3d8de; }
@media (prefers-color-scheme: dark) { svg { --ink: #d5dae1; --faint: #3b424c; } }
</style>
"""


class _Picture(NamedTuple):
    """A figure as a page holds it: `source`, a data URI, and `alt`, what it shows in words."""

    source: str
    alt: str


def render(result: Result, verdict: Verdict | None) -> str:
    """One HTML page with everything in it; whatever comes from the user is escaped.

    Args:
      result: what was measured; sections that its `meta` has nothing for are left out.
      verdict: what the claim came to, if there is one.
    """
    meta = result.meta
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = importlib.resources.files("fdl.report").joinpath("template.html").read_text("utf-8")
    return environment.from_string(page).render(
        name=meta.get("name", "experiment"),
        question=meta.get("question", meta.get("name", "Report")),
        detail=_blocks(meta.get("detail", "")),
        verdict=verdict,
        icon=ICONS[verdict.status] if verdict else "",
        comparisons=tables.comparisons(verdict) if verdict and verdict.comparisons else None,
        facts=_facts(result),
        caption=tables.caption(result),
        results=tables.results(result),
        pictures=[_pictures(result, metric) for metric in tables.main_metrics(result)],
        failures=tables.failures(result),
        programs=tables.programs(meta.get("programs", ())),
        shared_config=tables.shared_config(meta.get("configs", {})),
        arm_configs=tables.arm_configs(meta.get("configs", {})),
        versions=meta.get("versions", {}),
        device=meta.get("device", ""),
        source=meta.get("source", ""),
    )


def _facts(result: Result) -> dict[str, str]:
    """The size of the experiment: short answers by name."""
    runs = result.frame.drop_duplicates(["arm", "seed"])
    facts = {"Arms": tables.text(runs["arm"].nunique()), "Seeds": tables.text(runs["seed"].nunique())}
    counts = runs["status"].value_counts()
    facts |= {f"Runs {status}": tables.text(count) for status, count in counts.items()}
    facts["Steps"] = tables.text(result.frame["step"].max())
    programs = result.meta.get("programs", ())
    if programs:
        facts["Programs"] = tables.text(len(programs))
        for name, key in (("Compiling", "compile_seconds"), ("Training", "train_seconds")):
            facts[name] = formats.seconds(sum(program.get(key, 0.0) for program in programs))
    if "seconds" in result.meta:
        facts["Wall time"] = formats.seconds(result.meta["seconds"])
    return facts


def _pictures(result: Result, metric: str) -> tuple[str, list[_Picture]]:
    curves = _embedded(figures.learning_curves(result, metric))
    pictures = [_Picture(curves, f"Learning curves: the mean of {metric} over seeds by step, for each arm.")]
    if result.last().duplicated("arm").any():
        ends = _embedded(figures.distribution(result, metric))
        pictures.append(_Picture(ends, f"Box plots: {metric} of every seed at the last evaluation, by arm."))
    return metric, pictures


def _embedded(figure: Figure) -> str:
    """A data URI of a figure that follows the reader's theme."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "fdl"}):  # the same figure is the same text
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    head, tag, rest = buffer.getvalue().partition("<defs>")
    rest = rest.replace(figures.INK, "var(--ink)").replace(figures.FAINT, "var(--faint)")
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
            blocks.append((indented, "\n".join(part) if indented else " ".join(part)))
    return blocks
