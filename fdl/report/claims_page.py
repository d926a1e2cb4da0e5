"""The page of a folder of experiments: its table of claims, and what was found of each experiment."""

import html
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from fdl import formats
from fdl.stats.recorded import Row, unstable

HEAD = """# Experiments

Each file is one experiment, with its source, its claims and its command in the docstring. `fdl reproduce` writes this
page, from results.json and the docstrings; `fdl reproduce ID` runs a row anew. From the tables in results/ the
verdicts come out again without training.

*Effect* is the difference that decides, with its 95 % interval. *p* is adjusted for all {tests} tests of this table by
Holm's method; a verdict is corrected for the claims of its own file alone. *Time* is that of the devices, compiling
with it; *date* the day on which the last run ended; *commit* that of the code that trained. The *hash* is a digest of
what the claim asks, with the commit since which the file asks it.

"""  # noqa: E501
_COLUMNS = (
    "id",
    "statement",
    "verdict",
    "effect",
    "criterion",
    "p",
    "seeds",
    "time",
    "hardware",
    "date",
    "commit",
    "hash",
)
LEFT = "Not reproduced yet"


class About(NamedTuple):
    """What an experiment's file says of itself.

    Attributes:
      question: the first line of its docstring.
      detail: the rest.
      accel: whether it has a sweep of the source's own size.
    """

    question: str
    detail: str = ""
    accel: bool = False


def claims_page(results: Mapping[str, Any], about: Mapping[str, About]) -> str:
    """The page as Markdown.

    Args:
      results: `rows`, by file's name without `.py` what `fdl reproduce` recorded; `accel`, likewise of what
        takes an accelerator; and `told`, what was found by hand.
      about: what the files say, in order; one that has neither a row nor anything told is listed as not run.
    """
    rows: dict[str, Row] = {name: results["rows"][name] for name in about if name in results["rows"]}
    tests = sum(claim["p"] is not None for row in rows.values() for claim in row["claims"].values())
    lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    lines += [_claim(name, key, row) for name, row in rows.items() for key in row["claims"]]
    parts = [HEAD.format(tests=tests) + "\n".join(lines)]
    told = results["told"]
    accel = results["accel"]
    parts += [
        _paragraphs(name, row, accel.get(name), about[name], told.get(name, "")) for name, row in rows.items()
    ]
    left = [name for name in about if name not in rows]
    if left:
        parts.append(_left(left, about, told))
    return "\n\n".join(parts) + "\n"


def effect_text(effect: Mapping[str, Any]) -> str:
    """A difference with its interval in words."""
    low, high, difference = (effect[name] for name in ("low", "high", "difference"))
    if difference is None:
        return formats.NONE
    if low is None or high is None:
        return f"{formats.number(difference)} (all seeds alike)"
    spread = (high - low) / 2
    return f"{formats.fixed(difference, spread, sign=True)} {formats.interval(low, high, spread)}"


def claim_effect(claim: Mapping[str, Any]) -> str:
    """What a recorded claim rests on, in words."""
    if claim["effects"]:
        return effect_text(claim["effects"][0])
    return "counted out" if claim["p"] is None else formats.NONE


def _claim(name: str, key: str, row: Row) -> str:
    claim, origin = row["claims"][key], row["introduced"]
    verdict, effects = claim["verdict"], claim["effects"]
    if key in unstable(row):
        verdict += " (unstable)"
    effect = claim_effect(claim)
    seeds = f"{len(row['seeds'])}"
    if effects and effects[0]["n"] != len(row["seeds"]):
        seeds += f", {effects[0]['n']} judge"
    p = formats.NONE if claim["p"] is None else formats.p_value(claim["p_table"])
    since = f", since {origin['commit'][:7]}" if origin else ", not committed"
    cells = [
        f"[{key}]({name}.py)",
        claim["statement"],
        verdict,
        effect,
        claim["criterion"],
        p,
        seeds,
        formats.duration(row["seconds"]) if row["seconds"] is not None else formats.NONE,
        row["hardware"],
        row["date"][:10],
        ", ".join(commit[:7] for commit in row["commits"]) or "unknown",
        f"{row['criteria'].get(key) or row['criteria']['claim']}{since}",
    ]
    return _line(cells)


def _paragraphs(name: str, row: Row, accel: Row | None, about: About, told: str) -> str:
    said = [
        f"**{key} {claim['verdict']}**: {_plain(claim['sentence'])}" for key, claim in row["claims"].items()
    ]
    said += [
        f"Unstable: of {key} other seeds say {', '.join(others)}." for key, others in unstable(row).items()
    ]
    parts = [f"## {_plain(about.question)}", "\n\n".join(said), _plain(registration(row))]
    if row["figure"]:
        shown = html.escape(f"What {row['id']} rests on", quote=True)
        parts.append(f'<img src="figures/{name}.svg" alt="{shown}" width="560">')
    parts += [_plain(part) for part in re.split(r"\n\s*\n", about.detail) if part.startswith("Against it")]
    if about.accel:
        parts.append(_at_full_size(accel))
    if told:
        parts.append(f"Of earlier runs: {told}")
    source = f"[{name}.py]({name}.py), [results/{name}.csv](results/{name}.csv), jax {row['jax']}"
    return "\n\n".join([*parts, f"`fdl reproduce {row['id']}`: {source}."])


def _at_full_size(row: Row | None) -> str:
    """What came of the source's own size."""
    if row is None:
        return "At the source's own size (`--tier accel`): *not run*."
    each = [
        f"{key} {claim['verdict']}" + "".join(f" ({effect_text(one)})" for one in claim["effects"][:1])
        for key, claim in row["claims"].items()
    ]
    where = f"{row['hardware']}, {row['date'][:10]}, {len(row['seeds'])} seeds"
    return f"At the source's own size (`--tier accel`; {where}): {_plain('; '.join(each))}."


def registration(row: Row) -> str:
    """Whether what is asked was written before the data was seen."""
    origin = row["introduced"]
    if row["changed"]:
        first = f"What is asked was changed after data was seen: {row['changed']}."
    elif origin is None:
        first = "What is asked was not committed when this was recorded."
    else:
        first = "What is asked is older than the runs."
    where = f" It stands so since commit {origin['commit'][:10]} ({origin['date'][:10]})." if origin else ""
    return first + where


def _left(names: list[str], about: Mapping[str, About], told: Mapping[str, str]) -> str:
    lines = [_line(("file", "question", "what was found")), _line(["---"] * 3)]
    for name in names:
        cells = [f"[{name}.py]({name}.py)", about[name].question]
        lines.append(f"{_line(cells)} {told.get(name) or '*not run*'} |")
    text = "What is told here came of the command in the file's docstring, and was written by hand."
    return f"## {LEFT}\n\n{text}\n\n" + "\n".join(lines)


def _line(cells: Any) -> str:
    return f"| {' | '.join(map(_plain_cell, cells))} |"


def _plain_cell(text: str) -> str:
    return text if text.startswith("[") or set(text) == {"-"} else _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """A text on one line, in which Markdown marks nothing."""
    return re.sub(r"([\\`*_<>\[\]])", r"\\\1", " ".join(text.split()))
