"""`fdl sweep --until-decided` adds seeds until the claim is decided; `fdl plan --power` says how many."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

import fdl
from fdl.cli import main
from fdl.cli.until_decided import until_decided
from fdl.stats.planning import seeds_for
from tests.stats.results import METRIC, arms
from tests.stats.simulation import above, decided
from tests.toy import Config

HEAD = '"""Q?"""\nimport fdl\nfrom tests.toy import Config, experiment\n'
SWEEP = "SWEEP = fdl.grid(Config(steps=20, noise=0.1), lr=({}), seeds=4)\n"
CLAIM = "def claim(result):\n    one = fdl.compare(result, metric='test/loss', arms='lr', better='lower'{})\n"
ANYTIME = CLAIM.format(", anytime=True")


def written(rates: str, claim: str = ANYTIME + "    return one.verdict\n") -> None:
    Path("file.py").write_text(HEAD + SWEEP.format(rates) + claim)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words: str, code: int = 0) -> tuple[Any, str]:
        capsys.readouterr()
        assert main([words[0], "file.py", *words[1:], "--json"]) == code
        out, error = capsys.readouterr()
        return json.loads(out) if not code else None, error

    return run


@pytest.mark.medium
def test_seeds_are_added_until_the_claim_is_decided(command):
    written("0.0, 0.05")
    told, said = command("sweep", "--until-decided", "--max-seeds", "24")
    assert told["verdict"] == "SUPPORTED" and "anytime-valid p" in told["sentence"]
    seeds = told["runs"] // 2
    assert 8 <= seeds < 24 and seeds % 4 == 0
    looks = [line for line in said.splitlines() if "of at most 24" in line]
    assert looks[:-1] == [f"INCONCLUSIVE after {n} seeds of at most 24" for n in range(4, seeds, 4)]
    assert looks[-1] == f"SUPPORTED after {seeds} seeds of at most 24"
    again, said = command("sweep", "--until-decided", "--max-seeds", "24")
    assert again == told and said.count("all of them are finished already") == len(looks)
    shown, _ = command("report")  # of the seeds that decided
    assert [shown[name] for name in ("sentence", "runs", "report")] == [
        told[name] for name in ("sentence", "runs", "report")
    ]
    assert command("report", "--seeds", "4")[0]["verdict"] == "INCONCLUSIVE"
    told, _ = command("plan", "--power", "0.8", "--effect", "0.01", "--seeds", "8")
    assert [row["pairs"] for row in told["seeds"]] == [8] and told["seeds"][0]["needed"] > 8
    told, said = command("plan", "--power", "0.8", "--effect", "1e-9", "--seeds", "8")
    assert told["seeds"][0]["or_more"] and "1,024 or more" in said  # as far as bets are followed


@pytest.mark.medium
def test_at_most_so_many(command):
    written("0.05, 0.0500001")
    told, said = command("sweep", "--until-decided", "--max-seeds", "6")
    assert told["verdict"] == "INCONCLUSIVE" and told["runs"] == 12
    written("0.05, 0.0500001", CLAIM.format("") + "    return one.verdict\n")
    _, complaint = command("report", code=2)  # a test for a fixed number of seeds, after looks at several
    assert "use fdl.compare(..., anytime=True) for every comparison" in complaint
    assert "INCONCLUSIVE after 6 seeds of at most 6" in said


BAD = {
    "a test for a fixed number of seeds": (
        CLAIM.format("") + "    return one.verdict",
        ["sweep", "--until-decided"],
        "looked at so often it would be wrong in more than 5 %",
    ),
    "one such among others": (
        ANYTIME + CLAIM[CLAIM.index("    ") :].format("").replace("one", "two") + "    return fdl.all_of("
        "one.verdict, two.verdict)",
        ["sweep", "--until-decided"],
        "use fdl.compare(..., anytime=True) for every comparison",
    ),
    "seeds that choose and are not named": (
        ANYTIME.replace("result, m", "result.best('lr', by='test/loss', better='lower'), m").replace(
            "arms='lr'", "arms='power'"
        )
        + "    return one.verdict",
        ["sweep", "--until-decided"],
        "anytime=True needs best(..., seeds=4)",
    ),
    "no claim": ("", ["sweep", "--until-decided"], "--until-decided needs a claim"),
    "another sweep": (None, ["sweep", "--until-decided", "--grid.lr", "0.1", "0.2"], "needs a claim about"),
    "fewer than there are": (None, ["sweep", "--until-decided", "--max-seeds", "3"], "expected 4 or more"),
    "a most without the rest": (None, ["sweep", "--max-seeds", "8"], "--max-seeds 8 needs --until-decided"),
    "power alone": (None, ["plan", "--power", "0.8"], "--power and --effect go together"),
    "a power of 1": (None, ["plan", "--power", "1", "--effect", "0.1"], "--power is 1.0; expected"),
    "no effect": (None, ["plan", "--power", "0.8", "--effect", "0"], "--effect is 0.0; expected"),
    "a directory alone": (None, ["plan", "--workdir", "here"], "--workdir of fdl plan needs --power"),
    "no earlier runs": (None, ["plan", "--power", "0.8", "--effect", "0.1"], "holds no finished run"),
}


@pytest.mark.medium
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_before_anything_is_written(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    claim, words, expected = BAD[case]
    written("0.0, 0.05", ANYTIME + "    return one.verdict\n" if claim is None else claim)
    if "choose" in case:
        text = Path("file.py").read_text().replace("seeds=4)\n", "power=(1, 2), seeds=12)\n", 1)
        Path("file.py").write_text(text)
    assert main([words[0], "file.py", *words[1:]]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error and expected in error, error
    assert not Path("runs").exists()


def test_a_claim_that_fails_ends_the_sweep():
    """What was measured is reported then, and how the claim fails."""

    def fails(_: fdl.Result) -> fdl.Verdict:
        raise ValueError("no")

    space = fdl.grid(Config(), seeds=2)
    file: Any = type("File", (), {"claim": staticmethod(fails)})
    options: Any = type("Options", (), {"max_seeds": 10})
    said: list[str] = []
    _, trials = until_decided(file, options, space, lambda _: arms({0: [1.0]}), said.append)
    assert len(trials.trials) == 2 and len(said) == 1 and "the claim failed after 2 seeds" in said[0]


def compared(spread: float, *, count: int, anytime: bool) -> fdl.Comparison:
    rows = {"base": np.zeros(8)} | {f"{i}": spread * scipy.stats.zscore(np.arange(8)) for i in range(count)}
    return fdl.compare(arms(rows), metric=METRIC, arms="skip", anytime=anytime).comparisons[0]


@pytest.mark.parametrize("count", [1, 4])
def test_the_pairs_planned_are_enough(count: int) -> None:
    """In so many simulated sweeps of so many pairs the rule of `compare` tells the effect."""
    one = compared(2.0, count=count, anytime=False)
    n = seeds_for(one, effect=1.6, power=0.8)
    rows = np.random.default_rng(0).normal(size=(1_000, n)) + 1.6 / one.spread
    assert 0.74 < above(rows, arms=count).mean() < 0.88


@pytest.mark.parametrize("count", [1, 4])
def test_the_pairs_planned_for_bets_are_enough(count: int) -> None:
    one = compared(2.0, count=count, anytime=True)
    n = seeds_for(one, effect=1.6, power=0.8)
    rows = np.random.default_rng(1).normal(size=(1_000, n)) + 1.6 / one.spread
    assert 0.76 < (decided(rows, arms=count) > 0).mean() < 0.9
    assert (decided(rows[:, : n - 4], arms=count) > 0).mean() < 0.84
