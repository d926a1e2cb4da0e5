"""The claims of a folder of experiments as one HTML page that needs nothing else: no script, no network."""

import base64
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fdl import formats
from fdl.report.claims_page import About, claim_effect, registration
from fdl.report.html import from_template
from fdl.report.terminal import ICONS
from fdl.stats.recorded import Row, unstable

THEMES = {
    "F": "Foundations",
    "O": "Optimisation",
    "G": "Generalisation",
    "A": "Architectures",
    "L": "Landmarks",
    "U": "Understanding",
    "E": "Engineering",
    "R": "Responsibility",
}
"""By the letter with which a row's id begins."""
OTHERS = "Others"


def claims_html(
    results: Mapping[str, Any],
    about: Mapping[str, About],
    sources: Mapping[str, str],
    figures: Mapping[str, bytes],
    *,
    name: str,
) -> str:
    """The page; whatever comes from files is escaped.

    Args:
      results: as of `claims_page`.
      about: what the files say, in order.
      sources: the files' texts, by name.
      figures: SVG by name, of rows that have one.
      name: of the folder.
    """
    recorded: dict[str, Row] = {one: results["rows"][one] for one in about if one in results["rows"]}
    rows = [_row(one, row, about[one], sources[one], figures.get(one)) for one, row in recorded.items()]
    themes = (*THEMES.values(), OTHERS)
    rows.sort(key=lambda row: (themes.index(row["theme"]), len(row["id"]), row["id"]))
    claims = [claim for row in rows for claim in row["claims"]]
    found = {row["theme"] for row in rows}
    return from_template(
        "claims.html",
        name=name,
        rows=rows,
        claims=len(claims),
        tests=sum(claim["p"] is not None for row in recorded.values() for claim in row["claims"].values()),
        verdicts=dict(sorted(Counter(claim["verdict"] for claim in claims).items())),
        themes=[theme for theme in themes if theme in found],
        left=[
            {"name": one, "question": said.question, "told": results["told"].get(one)}
            for one, said in about.items()
            if one not in recorded
        ],
    )


def theme(row_id: str) -> str:
    """What a row's id, as `O1`, is about."""
    return THEMES.get(row_id[0], OTHERS) if re.fullmatch(r"[A-Z]\d+", row_id) else OTHERS


def _row(name: str, row: Row, about: About, source: str, figure: bytes | None) -> dict[str, Any]:
    parts = [" ".join(part.split()) for part in re.split(r"\n\s*\n", about.detail) if part.strip()]
    seconds = formats.NONE if row["seconds"] is None else formats.duration(row["seconds"])
    flips = [f"Unstable: of {key} other seeds say {', '.join(said)}." for key, said in unstable(row).items()]
    made = f"{len(row['seeds'])} seeds, {seconds} of devices on {row['hardware']}, {row['date'][:10]}, "
    commits = ", ".join(one[:7] for one in row["commits"]) or "unknown"
    return {
        "name": name,
        "id": row["id"],
        "theme": theme(row["id"]),
        "question": about.question,
        "detail": [part for part in parts if not part.startswith("Against it")],
        "against": [part for part in parts if part.startswith("Against it")],
        "claims": [_claim(key, row) for key in row["claims"]],
        "figure": figure and f"data:image/svg+xml;base64,{base64.b64encode(figure).decode()}",
        "registration": registration(row),
        "made": " ".join([f"{made}commit {commits}, jax {row['jax']}.", *flips]),
        "source": source,
    }


def _claim(key: str, row: Row) -> dict[str, Any]:
    claim = row["claims"][key]
    return {
        "id": key,
        "statement": claim["statement"],
        "published": claim.get("published", ""),
        "verdict": claim["verdict"],
        "icon": ICONS[claim["verdict"]],
        "sentence": claim["sentence"],
        "effect": claim_effect(claim),
        "criterion": claim["criterion"],
        "p": formats.NONE if claim["p"] is None else formats.p_value(claim["p_table"]),
        "hash": row["criteria"].get(key) or row["criteria"]["claim"],
    }
