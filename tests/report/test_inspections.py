"""What was shown of runs on the page: steps to choose from, escaped, within the page's room."""

import base64
import dataclasses
import itertools
import re
from pathlib import Path

import pytest

from fdl.inspection import Inspection
from fdl.report import html, inspections
from fdl.report.inspections import evenly, sliders
from tests.report.examples import single
from tests.report.page import Page

EVIL = '<script>alert(\'x\')</script>"><img src=x onerror="alert(1)"> & {{ 7 * 7 }}'


def shown(step: int, kind: str = "image", *, name: str = "samples", size: int = 4, **more) -> Inspection:
    suffix = {"image": "png", "figure": "png", "text": "txt", "histogram": "svg", "audio": "wav"}[kind]
    content = more.pop("content", step.to_bytes(4, "big") * (size // 4))
    return Inspection(step, name, kind, suffix, "words", len(content), content, "x=1", 0)._replace(**more)


def test_every_kind_is_on_the_page_and_what_comes_from_the_user_is_text():
    kinds = ("image", "figure", "text", "histogram", "audio")
    found = tuple(
        shown(
            step, kind, name=f"{kind} {EVIL}", arm=f"arm {EVIL}", words=f"words {EVIL}", content=EVIL.encode()
        )
        for kind in kinds
        for step in (10, 20)
    )
    page = Page(html.render(dataclasses.replace(single(), inspections=found), None, []))
    assert not page.having("script") and not page.having("form")
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    pictures, sounds = page.having("img"), page.having("audio")
    assert len(pictures) == 6 and len(sounds) == 2 and len(page.having("pre")) == 2
    for one in (*pictures, *sounds):
        head, _, rest = one["src"].partition(",")
        assert re.fullmatch(r"data:(image/png|image/svg\+xml|audio/wav);base64", head)
        assert base64.b64decode(rest).decode() == EVIL
        words = one.get("alt") or one["aria-label"]
        assert re.search(r"of arm .*, seed 0 at step (10|20): words ", words) and EVIL in words
    for word in ("arm", "words", "image", "text"):
        assert f"{word} {EVIL}" in page.text, word
    assert page.text.count(EVIL) >= 12, "of the texts too"


def test_one_step_is_chosen_of_each_run_and_each_has_a_label():
    found = tuple(shown(step, arm=arm) for arm in ("x=1", "x=2") for step in (20, 10))
    page = Page(html.render(dataclasses.replace(single(), inspections=found), None, []))
    choices = page.having("input")
    assert {one["type"] for one in choices} == {"radio"} and len({one["id"] for one in choices}) == 4
    assert [one["for"] for one in page.having("label")] == [one["id"] for one in choices]
    groups = [one["name"] for one in choices]
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert ["checked" in one for one in choices] == [False, True, False, True], "the last step, in order"
    assert len(page.having("fieldset")) == len(page.having("legend")) == 2


def test_without_inspections_there_is_no_section():
    assert "Inspections" not in Page(html.render(single(), None, [])).text


@pytest.mark.parametrize("count", [1, 2, 11, 12, 13, 100])
@pytest.mark.parametrize("most", [1, 2, 12])
def test_steps_are_evenly_spaced_with_the_first_and_the_last(count, most):
    found = [shown(step) for step in range(count)]
    steps = [one.step for one in evenly(found, most)]
    assert len(steps) == len(set(steps)) == min(count, most) and steps == sorted(steps)
    assert steps[-1] == count - 1 and (most == 1 or steps[0] == 0)
    gaps = {b - a for a, b in itertools.pairwise(steps)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_the_page_keeps_to_its_room_and_says_what_is_left_out(monkeypatch):
    monkeypatch.setattr(inspections, "PAGE_BYTES", 8 * 400)
    few = sliders([shown(step, size=300) for step in range(20)])["samples"][0]
    assert len(few.panels) == 8 and (few.panels[0].step, few.panels[-1].step) == (0, 19)
    assert few.left_out == "8 of 20 steps are on this page; all are kept with the run"
    many = sliders([shown(step, size=300, seed=seed) for seed in range(9) for step in (1, 2)])["samples"]
    assert [len(one.panels) for one in many] == [1] * 8 + [0]
    assert many[-1].left_out == "0 of 2 steps are on this page; all are kept with the run"
    assert [panel.step for panel in many[0].panels] == [2]
    whole = sliders([shown(step) for step in range(12)])["samples"][0]
    assert len(whole.panels) == 12 and whole.left_out == ""


def test_a_long_text_is_cut_and_a_file_that_is_gone_is_said(tmp_path: Path):
    gone = shown(1, place=tmp_path / "gone.png")
    long = shown(2, "text", content=b"a" * 30_000)
    cut = shown(3, "text", content=("a" * 19_999 + "é").encode())  # whose last letter is of two bytes
    first, second, third = sliders([gone, long, cut])["samples"][0].panels
    assert third.text == "a" * 19_999
    assert (first.kind, first.text) == ("text", f"cannot be read: {tmp_path}/gone.png is not there any more")
    assert second.text == "a" * 20_000 and "the first 20,000 of 30,000 bytes" in second.words
