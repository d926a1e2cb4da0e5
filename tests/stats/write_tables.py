"""Writes the tables of docs/statistics.md, from the line that begins with "Made on" to the end.

uv run python -m tests.stats.write_tables
"""

import datetime
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from fdl.stats.criterion import Criterion
from fdl.stats.seeds_needed import seeds_needed
from fdl.stats.sentences import missed
from tests.stats.simulation import (
    BEYOND,
    HELD,
    MIXED,
    Family,
    above,
    all_supported,
    common_baseline,
    decided,
    draw,
    failing,
    interaction,
    students,
    unpaired,
    welchs,
    within,
)

SWEEPS = 4_000
PAIRS = (5, 8, 10, 16, 20, 30)
SIDES = "wrong to the side whose tail is short / long, %"
LOOKED = 64  # seeds up to which sweeps are looked at again and again
FILE = Path(__file__).parents[2] / "docs" / "statistics.md"


def table(corner: str, columns: Sequence[object], rows: Iterable[tuple[object, Sequence[str]]]) -> str:
    """A Markdown table."""
    lines = [f"| {corner} | " + " | ".join(map(str, columns)) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows]
    return "\n".join(lines)


def percent(*found: np.ndarray | np.bool) -> str:
    """As "4.3 / 0.1"."""
    return " / ".join(f"{100 * one.mean():.1f}" for one in found)


def errors(
    families: Sequence[Family],
    rule: Callable[[np.ndarray], np.ndarray],
    *,
    of: Callable[[Family, int], np.ndarray] = lambda family, n: draw(family, n, SWEEPS),
) -> str:
    """Wrong conclusions towards either side, by family and pairs."""

    def cell(family: Family, n: int) -> str:
        differences = of(family, n)
        return percent(rule(differences), rule(-differences))

    return table(
        SIDES,
        PAIRS,
        ((family.name, [cell(family, n) for n in PAIRS]) for family in families),
    )


def power(arms: int) -> str:
    """How often all arms, which differ alike from the baseline, are found; Student's t of one in brackets."""
    count = SWEEPS // 2 // arms  # so many arms in all

    def cell(effect: float, n: int) -> str:
        differences = common_baseline(effect, arms, n, count)
        by_t = f" ({percent(students(differences[:, 0]))})" if arms == 1 else ""
        return percent(all_supported(differences)) + by_t

    effects = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
    return table("effect, d_z", PAIRS, ((effect, [cell(effect, n) for n in PAIRS]) for effect in effects))


def seeds() -> str:
    """The seeds needed, and how often so many end SUPPORTED."""

    def cell(effect: float, arms: int) -> str:
        n = seeds_needed(effect, 1.0, Criterion("higher", 0.0, None, arms))
        differences = common_baseline(effect, arms, n, min(1_000, 50_000 // n // arms))
        return f"{n}: {percent(all_supported(differences))}"

    counts = (1, 2, 4, 10)
    return table(
        "effect, d_z; arms:",
        counts,
        ((effect, [cell(effect, arms) for arms in counts]) for effect in (0.5, 0.7, 1.0, 1.5, 2.5)),
    )


def failures() -> str:
    """Arms of whose runs some fail, against a baseline."""
    kinds = {
        "both alike, 20 % of either fail": (0.2, 0.2, 0.0),
        "both alike, 50 % of either fail": (0.5, 0.5, 0.0),
        "10 standard deviations better, 5 % fail": (0.05, 0.0, 10.0),
        "10 standard deviations better, 20 % fail": (0.2, 0.0, 10.0),
        "10 standard deviations better, 50 % fail": (0.5, 0.0, 10.0),
        "alike, 50 % of the baseline's fail": (0.0, 0.5, 0.0),
    }

    def cell(n: int, arm: float, baseline: float, gap: float) -> str:
        differences = failing(n, SWEEPS, arm=arm, baseline=baseline, gap=gap)
        return percent(above(differences), above(-differences))

    rows = ((name, [cell(n, *kind) for n in PAIRS]) for name, kind in kinds.items())
    return table("SUPPORTED / REFUTED, %", PAIRS, rows)


def holm_errors() -> str:
    """Any of several arms, each against its own baseline, wrongly found."""

    def cell(family: Family, arms: int, n: int) -> str:
        return percent(above(draw(family, n, arms * 2_000), arms=arms).reshape(-1, arms).any(axis=1))

    families = (HELD[0], HELD[4], HELD[5])
    rows = ((f"{f.name}, {a} arms", [cell(f, a, n) for n in PAIRS]) for f in families for a in (4, 10))
    return table("any wrong to the side whose tail is short, %", PAIRS, rows)


def anytime_errors() -> str:
    """Wrong conclusions of the test at any time, looked at after every 4 seeds up to 64."""

    def cells(family: Family) -> list[str]:
        rows = family.draw(np.random.default_rng(0), (10 * SWEEPS, LOOKED))
        many = (decided(rows[: 10 * 2_000], arms=10) > 0).reshape(-1, 10).any(axis=1)
        return [percent(decided(rows[:SWEEPS]) > 0, decided(-rows[:SWEEPS]) > 0), percent(many)]

    families = (*HELD, *BEYOND, *MIXED)
    return table(
        "wrong, %", ("short / long tail", "any of 10 arms, short"), ((f.name, cells(f)) for f in families)
    )


def anytime_seeds() -> str:
    """Mean seeds, and how often decided, against the number fixed before that has 80 % power."""

    def cells(effect: float) -> list[str]:
        rows = np.random.default_rng(0).normal(size=(SWEEPS, LOOKED)) + effect
        found = decided(rows)
        fixed = seeds_needed(effect, 1.0, Criterion("higher", 0.0, None, 1))
        used = np.where(found > 0, found, LOOKED)
        within = percent((found > 0) & (found <= fixed))
        return [str(fixed), f"{used.mean():.1f}", f"{np.median(used):.0f}", percent(found > 0), within]

    head = ("seeds fixed before", "mean", "median", "decided by 64, %", "by the number fixed before, %")
    return table("effect, d_z", head, ((d, cells(d)) for d in (0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)))


def bounded_seeds() -> str:
    """Mean seeds for accuracies with and without bounds: differences that vary by 2 points."""

    def cells(difference: float) -> list[str]:
        rows = np.random.default_rng(0).normal(difference, 0.02, size=(SWEEPS // 4, 4 * LOOKED)).clip(-1, 1)
        found = (decided(rows, bounds=(-1.0, 1.0)), decided(rows))
        return [f"{np.where(one > 0, one, 4 * LOOKED).mean():.1f}" for one in found]

    sizes = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
    return table("difference", ("bounds=(0, 1)", "without"), ((d, cells(d)) for d in sizes))


def contrasts() -> str:
    """Wrong conclusions of unpaired arms, by this rule and by Welch's test, and of interactions; power."""
    unlike = errors(HELD[:6], above, of=lambda family, n: np.subtract(*unpaired(family, n, SWEEPS)))

    def by_welch(family: Family, n: int) -> str:
        arm, baseline = unpaired(family, n, SWEEPS)
        return percent(welchs(arm, baseline), welchs(-arm, -baseline))

    welch = ((family.name, [by_welch(family, n) for n in PAIRS]) for family in HELD[:6])
    crossed = errors(HELD[:6], above, of=lambda family, n: interaction(family, n, SWEEPS))

    def found(gap: float, n: int) -> str:
        arm, baseline = np.random.default_rng(n).normal(size=(2, SWEEPS, n))
        return f"{percent(above(arm + gap - baseline))} ({percent(welchs(arm + gap, baseline))})"

    gaps = (1.0, 1.5, 2.0, 3.0)
    return "\n\n".join(
        [
            "Two independent arms of one mean, one of a family, the other normal and a fifth as wide:",
            unlike,
            "Welch's test alone, for comparison:",
            table(SIDES, PAIRS, welch),
            "Differences in differences of four arms that are alike, of a family each:",
            crossed,
            "Two independent normal arms so many of their standard deviations apart, how often that is "
            "found; in brackets by Welch's test:",
            table("gap", PAIRS, ((gap, [found(gap, n) for n in PAIRS]) for gap in gaps)),
        ]
    )


def document() -> str:
    """The part of the file that is made here."""
    shares = ", ".join(f"{n}: {100 * missed(n):.0f} %" for n in PAIRS)
    today = datetime.datetime.now(datetime.UTC).date()
    parts = [
        f"Made on {today} by `uv run python -m tests.stats.write_tables`: {SWEEPS:,} sweeps a cell "
        "(standard error 0.3 % at 5 %), columns are pairs.",
        "### Wrong at the edge: `better`, `at_least`, and REFUTED `equivalent`\n\n" + errors(HELD, above),
        "### Wrong at the edge: SUPPORTED `equivalent`\n\n" + errors(HELD, within),
        "Student's t alone, for comparison:\n\n" + errors(HELD, students),
        "### Where no method can hold it\n\nA rare fall that no seed shows "
        f"(in 5 % of sweeps none of so many seeds shows what happens in this share of seeds: {shares}):\n\n"
        + errors(MIXED, above)
        + "\n\nNone of the seeds shows it in so many sweeps:\n\n"
        + table("%", PAIRS, ((f.name, [f"{100 * (1 - f.rare) ** n:.1f}" for n in PAIRS]) for f in MIXED))
        + "\n\nMore skewed than exponential differences:\n\n"
        + errors(BEYOND, above),
        "### Several arms\n\n" + holm_errors(),
        "### Power\n\nNormal differences, one arm; in brackets Student's t:\n\n"
        + power(1)
        + "\n\nFour arms that differ alike from one baseline, all found, with Holm's correction:\n\n"
        + power(4),
        "### Seeds needed\n\nThe number stated, and in how many per cent of sweeps of so many seeds all "
        "arms are SUPPORTED:\n\n" + seeds(),
        "### Unpaired arms and interactions\n\n" + contrasts(),
        '### Failed runs under `failures="worst"`\n\n' + failures(),
        f"### At any stopping time\n\nUp to {LOOKED} seeds, looked at after every 4 from 8 on. Wrong at the "
        "edge of the criterion:\n\n" + anytime_errors(),
        "Seeds used by normal differences, one arm; sweeps that are not decided count as 64:\n\n"
        + anytime_seeds(),
        f"Mean seeds, up to {4 * LOOKED}, where accuracies differ by so much, with a standard deviation of "
        "0.02:\n\n" + bounded_seeds(),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    before, _, _ = FILE.read_text(encoding="utf-8").partition("Made on ")
    FILE.write_text(before + document(), encoding="utf-8")
    print(f"wrote {FILE}", file=sys.stderr)
