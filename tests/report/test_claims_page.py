"""The page of experiments: a pure function of what is recorded."""

import pytest

from fdl import formats
from fdl.report.claims_page import About, claims_page, effect_text
from fdl.report.effects import effects_figure, figure_svg

EFFECT = {"metric": "test/loss", "arm": "a=1", "baseline": "a=0", "n": 8, "status": "SUPPORTED"}
EFFECT |= {"difference": 0.123, "low": 0.05, "high": 0.2}
CLAIM = {"statement": "A helps.", "criterion": "a | b", "verdict": "SUPPORTED", "sentence": "It *does*."}
CLAIM |= {"p": 0.01, "p_table": 0.02, "effects": [EFFECT, {**EFFECT, "metric": "test/error"}]}
SHORT = {"date": "2026-01-02T00:00:00+00:00", "commits": ["c" * 40], "criteria": {"A": "f00d"}}
ROW = {
    "id": "A",
    "criteria": {"A": "f00d"},
    "introduced": {"commit": "d" * 40, "date": "2026-01-01T00:00:00"},
}
ROW |= {"changed": None, "seeds": list(range(12)), "seconds": 61.0, "hardware": "2 x cpu", "jax": "0.10"}
ROW |= {"claims": {"A": CLAIM}, "earlier": [], "other_seeds": {}, "figure": True, **SHORT}
ABOUT = {"a": About("Does A\nhelp?", "Text.\n\nAgainst it: much.\n\nMore.", accel=True), "b": About("And b?")}
TOLD = {"a": "Before.", "b": "By *hand*."}
LINE = (
    r"| [A](a.py) | A helps. | SUPPORTED | +0.123 \[0.050, 0.200\] | a \| b | 0.020 | 12, 8 judge | 61.0 s |"
    " 2 x cpu | 2026-01-02 | ccccccc | f00d, since ddddddd |"
)


def page(accel=None, **changed) -> str:
    results = {"rows": {"a": {**ROW, **changed}}, "accel": accel or {}, "told": TOLD}
    return claims_page(results, ABOUT)


def test_a_row_is_told_whole():
    shown = page()
    assert LINE in shown.splitlines()
    found = shown[shown.index("## Does A help?") : shown.index("## Not reproduced yet")]
    parts = found.strip().split("\n\n")
    assert parts[1] == r"**A SUPPORTED**: It \*does\*."
    assert parts[2] == (
        "What is asked is older than the runs. It stands so since commit dddddddddd (2026-01-01)."
    )
    assert parts[3].startswith('<img src="figures/a.svg"')
    full = "At the source's own size (`--tier accel`): *not run*."
    assert parts[4:7] == ["Against it: much.", full, "Of earlier runs: Before."]
    ran = {**ROW, "hardware": "1 x gpu"}
    full = "(`--tier accel`; 1 x gpu, 2026-01-02, 12 seeds): A SUPPORTED (+0.123 "
    assert full in page({"a": ran})
    assert "| [b.py](b.py) | And b? | By *hand*. |" in shown.splitlines()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"changed": "A asked something else"}, "was changed after data was seen: A asked something else."),
        ({"introduced": None}, "f00d, not committed |"),
        ({"introduced": None}, "was not committed when this was recorded."),
        ({"other_seeds": {"9": {"verdicts": {"A": "REFUTED"}}}}, "| SUPPORTED (unstable) |"),
        (
            {"other_seeds": {"9": {"verdicts": {"A": "REFUTED"}}}},
            "of A other seeds say REFUTED with seeds +9.",
        ),
        ({"commits": []}, "| unknown |"),
    ],
)
def test_what_is_doubtful_is_told(changed, told):
    assert told in page(**changed) and told not in page()


def test_a_row_with_the_same_verdicts_of_other_seeds_is_stable():
    assert page(other_seeds={"9": {"verdicts": {"A": "SUPPORTED"}}}) == page()


def test_effects_without_an_interval_are_told_as_they_are():
    assert effect_text({**EFFECT, "low": None}) == "0.1230 (all seeds alike)"
    assert effect_text({**EFFECT, "difference": None}) == formats.NONE


def test_the_figure_has_a_panel_for_each_metric_and_is_the_same_each_time():
    figures = [effects_figure({"A": CLAIM, "B": {**CLAIM, "effects": []}}) for _ in range(2)]
    assert effects_figure({"B": {**CLAIM, "effects": []}}) is None
    drawn = [figure_svg(one) for one in figures if one]
    assert drawn[0] == drawn[1] and b"A: a=1" in drawn[0]
    assert figures[0] and [axis.get_title(loc="left") for axis in figures[0].axes] == [
        f"Difference in test/{name}, 95 % interval" for name in ("loss", "error")
    ]
