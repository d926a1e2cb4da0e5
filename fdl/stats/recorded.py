"""Verdicts as a table of many experiments keeps them: JSON-able, corrected for all, compared over seeds."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from fdl.stats.comparison import Comparison
from fdl.stats.inference import holm
from fdl.stats.verdict import Verdict

Row = dict[str, Any]
"""What is recorded of one experiment; its `claims` by id, each of `recorded_claims`."""


def recorded_claims(verdict: Verdict, name: str, statement: str) -> dict[str, dict[str, Any]]:
    """What became of each claim, by its id: statement, published number, criterion, verdict and why, p, what
    its control came to, and the comparisons behind it, the one first that tells most.

    Args:
      verdict: on all claims of an experiment, or on its only one.
      name: stands for the id where the claim is one function without.
      statement: stands for the statement then.
    """
    if not verdict.claims:
        return {name: _recorded(verdict, verdict.p, statement)}
    return {
        one.claim.id: {
            **_recorded(one.verdict, one.p, one.claim.statement),
            **({"published": one.claim.published} if one.claim.published else {}),
            **({"control": one.control.status} if one.control else {}),
        }
        for one in verdict.claims
    }


def corrected(rows: Iterable[Row]) -> None:
    """Writes into every claim that has a p-value its `p_table`, adjusted for all claims of all rows that have
    one (`holm`)."""
    claims = [claim for row in rows for claim in row["claims"].values()]
    tests = [claim for claim in claims if claim["p"] is not None]
    for claim, p in zip(tests, holm([claim["p"] for claim in tests]) if tests else (), strict=True):
        claim["p_table"] = float(p)


def flipped(row: Row, verdicts: Mapping[str, str]) -> list[str]:
    """The claims of which other seeds say something else than is recorded, or nothing."""
    return [name for name, claim in row["claims"].items() if verdicts.get(name) != claim["verdict"]]


def unstable(row: Row) -> dict[str, list[str]]:
    """By claim that flipped what other seeds said, each as "REFUTED with seeds +1000"."""
    found: dict[str, list[str]] = {}
    for offset, other in row.get("other_seeds", {}).items():
        for name in flipped(row, other["verdicts"]):
            said = other["verdicts"].get(name, "nothing")
            found.setdefault(name, []).append(f"{said} with seeds +{offset}")
    return found


def _recorded(verdict: Verdict, p: float | None, statement: str) -> dict[str, Any]:
    decisive = sorted(verdict.comparisons, key=lambda one: one.status != verdict.status)  # stable
    return {
        "statement": statement,
        "criterion": verdict.criterion,
        "verdict": verdict.status,
        "sentence": verdict.sentence,
        "p": p,
        "effects": [_effect(one) for one in decisive],
    }


def _effect(one: Comparison) -> dict[str, Any]:
    numbers = {"difference": one.difference, "low": one.low, "high": one.high}
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    told = {"metric": one.metric, "arm": one.arm, "baseline": one.baseline, "n": one.n}
    return {**told, **finite, "status": one.status}
