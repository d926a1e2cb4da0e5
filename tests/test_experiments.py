"""The committed table of experiments agrees with the code and with its own data, and would tell a falsehood.

Nothing is trained here: `experiments/results` has what every run came to.
"""

import functools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from fdl import stats
from fdl.cli.recording import row_id
from fdl.cli.reproduce import about_of, read_results
from fdl.experiment_file import ExperimentFile, criteria, judged, load_file
from fdl.report.claims_page import claims_page
from fdl.report.judged_table import read_judged
from fdl.result import Result
from fdl.stats import Verdict
from fdl.stats.recorded import corrected, recorded_claims
from tests import planted

FOLDER = Path(__file__).parents[1] / "experiments"
RESULTS = read_results(FOLDER)
ROWS = sorted(RESULTS["rows"])
DRAWS = 10
NO_CONTRAST: dict[str, str] = dict.fromkeys(
    ("A7.1", "A7.2"), "one net comes to a known optimum; the control is the same net after fewer updates"
)
"""Claims that may hold of arms that are all alike, each with the reason: as that an arm solves its task."""
_OTHER_ARM = "its control is the other arm, which shows the effect then"
NOT_REFUTED: dict[str, str] = {
    **dict.fromkeys(("F1.1", "F4.4", "F4.5", "F9.1", "F9.2", "F9.3", "F9.5"), _OTHER_ARM),
    **dict.fromkeys(("G2.1", "G2.2", "G5.6", "O3.2", "O4.2", "U4.4"), _OTHER_ARM),
    "A1.4": "to share weights harms where points are shuffled: mirrored, the control shows a gain",
}
"""Directional claims that are not SUPPORTED with the arms the other way round, but not REFUTED either, each
with the reason."""


@functools.cache
def row(name: str) -> tuple[ExperimentFile, Result]:
    return load_file(FOLDER / f"{name}.py"), read_judged((FOLDER / "results" / f"{name}.csv").read_text())


def said(name: str, plant: Callable[[Result], Result]) -> dict[str, Verdict]:
    """What the claims of a row say of a result with a falsehood, by id.

    It is planted between the arms; where a claim compares metrics of a run as arms, between these.
    """
    file, result = row(name)
    verdicts = said_of(file, plant(result))
    measured = [key for key, one in RESULTS["rows"][name]["claims"].items() if "/value " in one["criterion"]]
    if measured:
        made = stats.metrics_as_arms
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stats, "metrics_as_arms", lambda *given, **named: plant(made(*given, **named)))
            verdicts |= {key: one for key, one in said_of(file, result).items() if key in measured}
    return verdicts


def said_of(file: ExperimentFile, result: Result) -> dict[str, Verdict]:
    assert file.claim is not None
    verdict = judged(file.claim, result)
    return {one.claim.id: one.verdict for one in verdict.claims} or {row_id(file): verdict}


def directional(claim: dict) -> bool:
    """Whether a claim says that arms differ."""
    words = claim["criterion"]
    return "is within ±" not in words or " exceeds " in words or " is below " in words


def test_no_file_has_the_name_of_a_module_that_is_python_s():
    """`python experiments/FILE` looks for modules in that folder first; `compression` is one since 3.14."""
    files = {path.stem for place in (FOLDER, FOLDER / "benchmarks") for path in place.glob("*.py")}
    assert not files & {*sys.stdlib_module_names, "compression"}


def test_every_file_loads():
    assert all(load_file(FOLDER / f"{name}.py").question for name in about_of(FOLDER))


@pytest.mark.parametrize("name", ROWS)
def test_what_is_asked_is_what_was_recorded(name):
    asked = criteria(load_file(FOLDER / f"{name}.py"))
    for kind in ("rows", "accel"):
        recorded = RESULTS[kind].get(name, {}).get("criteria", asked)
        assert asked == recorded, f"what {name} asks has changed: fdl reproduce {name}"


def test_the_page_is_that_of_the_records():
    assert (FOLDER / "README.md").read_text() == claims_page(RESULTS, about_of(FOLDER))
    again = json.loads(json.dumps(RESULTS["rows"]))
    corrected(again.values())
    assert again == RESULTS["rows"] and ROWS


def test_the_table_of_landmarks_has_recorded_effects_alone():
    page = (FOLDER.parent / "docs/landmarks.md").read_text()
    effects = re.findall(r"[+−][\d.]+ \[[^]]*\]", page)
    recorded = (FOLDER / "README.md").read_text().replace("\\", "")
    assert effects and not [one for one in effects if one not in recorded]


@pytest.mark.parametrize("name", ROWS)
def test_the_verdicts_come_out_of_the_table_again(name):
    file, result = row(name)
    assert file.claim is not None
    recorded = RESULTS["rows"][name]["claims"]
    again = recorded_claims(judged(file.claim, result), row_id(file), file.question)
    assert again.keys() == recorded.keys()
    for key, claim in again.items():
        for part in ("statement", "criterion", "verdict", "control"):
            assert claim.get(part) == recorded[key].get(part), (key, part)
        assert [one["arm"] for one in claim["effects"]] == [one["arm"] for one in recorded[key]["effects"]]
        for mine, theirs in zip(claim["effects"], recorded[key]["effects"], strict=True):
            numbers = [[one[n] or 0.0 for n in ("difference", "low", "high")] for one in (mine, theirs)]
            np.testing.assert_allclose(*numbers, rtol=1e-6)  # other processors round otherwise


@pytest.mark.parametrize("name", ROWS)
def test_arms_that_are_made_equal_support_nothing(name):
    for key, verdict in said(name, planted.equal).items():
        if directional(RESULTS["rows"][name]["claims"][key]) and key not in NO_CONTRAST:
            assert verdict.status != "SUPPORTED", verdict.sentence


@pytest.mark.parametrize("name", ROWS)
def test_arms_that_change_places_by_chance_support_a_claim_no_oftener_than_it_allows(name):
    random = np.random.default_rng(0)
    permuted = functools.partial(planted.permuted, random=random)
    claims = RESULTS["rows"][name]["claims"]
    asked = [key for key in claims if directional(claims[key]) and key not in NO_CONTRAST]
    supported, allowed = dict.fromkeys(asked, 0), scipy.stats.binom.ppf(0.999, DRAWS, 0.05)
    for left in range(DRAWS, 0, -1):
        if max(supported.values(), default=-DRAWS) + left <= allowed:
            break  # those that are left cannot change what is found
        verdicts = said(name, permuted)
        for key in asked:
            supported[key] += verdicts[key].status == "SUPPORTED"
            assert supported[key] <= allowed, key


@pytest.mark.parametrize("name", ROWS)
def test_arms_the_other_way_round_refute_what_is_supported(name):
    claims = RESULTS["rows"][name]["claims"]

    def mirrored(result: Result) -> Result:
        return planted.mirrored(result, {one for one in result.metrics if not one.startswith("validation/")})

    for key, verdict in said(name, mirrored).items():  # metrics of validation only choose
        if claims[key]["verdict"] != "SUPPORTED" or not directional(claims[key]) or key in NO_CONTRAST:
            continue
        expected = ("REFUTED", "INCONCLUSIVE") if key in NOT_REFUTED else ("REFUTED",)
        assert verdict.status in expected, verdict.sentence
