"""The page: whole, escaped, the same numbers as in the terminal, and quiet in a browser."""

import base64
import dataclasses
import functools
import io
import itertools
import re
import shutil
import subprocess
import xml.etree.ElementTree
from pathlib import Path

import pytest
from rich.console import Console

from fdl.report import figures, html, show, style, tables
from fdl.result import Result
from fdl.stats import Verdict
from tests.report.examples import COMPARISON, crossed, example, lost, many, single, verdict
from tests.report.page import Page

EXAMPLES = {"crossed": crossed, "single": single, "many": many, "lost": lost}
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
]


def render(result: Result, verdict: Verdict | None = None) -> str:
    return html.render(result, verdict, figures.draw(result))


@functools.cache
def example_page(name: str) -> str:
    return render(EXAMPLES[name](), verdict())


@pytest.mark.medium
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_is_whole_and_needs_nothing_else(name: str):
    page = Page(example_page(name))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for _, attributes in page.elements:
        assert not {"href", "srcset", "action"} & {*attributes}
        assert attributes.get("src", "data:").startswith("data:")
        assert not any(attribute.startswith("on") for attribute in attributes)
    assert not re.search(r"url\(|@import|@font-face", "".join(page.styles))
    assert [element["content"] for element in page.having("meta") if "http-equiv" in element] == [
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_can_be_read_without_seeing_it(name: str):
    page = Page(example_page(name))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(len(image["alt"]) > 20 for image in page.having("img"))
    assert page.having("html") == [{"lang": "en"}]
    assert all(cell["scope"] in ("col", "row") for cell in page.having("th"))
    assert "SUPPORTED" in page.text


def test_the_page_says_when_how_and_from_what_it_was_made():
    made = {"date": "2026-11-26 19:00 UTC", "command": "fdl run 'a <b>.py'", "commit": "0a1b, with changes"}
    made["trained"] = "2026-11-25, by fdl sweep 'a <b>.py'"
    page = html.render(dataclasses.replace(single(), meta=made), None, [])
    text = Page(page).text
    for line in (
        "Trained: 2026-11-25, by fdl sweep 'a <b>.py'",
        "Reported: 2026-11-26 19:00 UTC",
        "Reported by: fdl run 'a <b>.py'",
        "Reported at commit: 0a1b, with changes",
    ):
        assert line in text
    assert "Reported by:" not in Page(example_page("single")).text


def test_the_pictures_alternative_texts_have_the_tables_numbers():
    result = crossed()
    texts = [image["alt"] for image in Page(example_page("crossed")).having("img")]
    shown = {column.name: column.cells for column in tables.results(result)}
    for cell in shown["test/accuracy"]:
        assert f": {cell}" in texts[0]


def test_every_section_is_there():
    page = Page(example_page("crossed"))
    for text in (
        "Do skip connections let deep plain networks train?",
        "He et al. 2016, sec. 4.1.",
        "fdl sweep skip_connections.py",
        "Skip connections add 0.609.",
        "at least 0.05 better",
        "jax 0.10.2",
        "cpu, 2 cores",
        "return 1 < 2",
        "2 min 11 s",
    ):
        assert text in page.text
    assert page.tables["Runs that ended because a metric that must be finite was not"][1:] == [
        ["depth=64 skip=False", "1", "23", "train/loss"],
        ["depth=64 skip=False", "4", "23", "train/loss"],
    ]
    programs = page.tables["Compiled programs: what ran in each, how, and what it took"]
    plan, reason = "6 members, 3 a device one after another", "measured: 2.1 times as fast as side by side"
    costs = ["2.2 s", "75.4 s", "0.0796", "3.00 MiB"]
    assert programs[1] == ["depth=4 skip=False", "6", "40", plan, reason, *costs]
    assert page.tables["The same in every arm"] == [["field", "value"], ["lr", "0.001"]]
    assert len(page.tables["Where the arms differ"]) == 7


def test_what_is_not_known_is_left_out():
    page = Page(render(single()))
    headings = {"Failures", "Plan and cost", "Configuration", "Environment", "Source", "Comparison"}
    assert not headings & {*page.texts}
    assert "verdict" not in {attributes.get("class", "").split(" ")[0] for _, attributes in page.elements}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_numbers_are_those_of_the_terminal(name: str):
    result = EXAMPLES[name]()
    page = Page(example_page(name))
    console = Console(file=io.StringIO(), width=400)
    show(result, verdict(), console)
    printed = console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    for label in (tables.caption(result), "Differences in test/accuracy against skip=False"):
        start = printed.index(label) + 1
        table = page.tables[label]
        lines = [
            printed[start],
            *printed[start + 2 : start + 1 + len(table)],
        ]  # less the rule under the heading
        assert [re.split(r" {2,}", line.strip()) for line in lines] == table


def test_what_comes_from_the_user_is_text():
    evil = "<script>alert('x')</script><img src=x onerror=\"alert(1)\"> & {{ 7 * 7 }}"
    told = ("name", "question", "source", "device")
    meta = {key: f"{key} {evil}" for key in told} | {
        "detail": f"detail {evil}\n\n    code {evil}",
        "versions": {f"package {evil}": f"version {evil}"},
        "configs": {f"arm {evil}": {f"field {evil}": f"value {evil}"}, "other": {f"field {evil}": 0}},
        "programs": [{"arms": [f"run {evil}"], "plan": f"plan {evil}", "reason": f"reason {evil}"}],
    }
    result = example({f"one {evil}": {"a": 1}, f"two {evil}": {"a": f"cell {evil}"}}, seeds=2, meta=meta)
    failures = result.failures.copy()
    failures.loc[0] = [f"one {evil}", 1, 0, 3, f"lost {evil}"]
    result = dataclasses.replace(result, failures=failures)
    judged = Verdict(
        "REFUTED", f"sentence {evil}", f"criterion {evil}", (COMPARISON._replace(arm=f"compared {evil}"),)
    )
    page = Page(render(result, judged))
    assert not page.having("script")
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.having("img"))
    text = re.sub(r"\s+", " ", page.text)
    words = "detail code package version arm field value run plan reason one two cell lost sentence criterion"
    for word in (*told, *words.split(), "compared"):
        assert f"{word} {evil}" in text, word
    for image in page.having("img"):
        assert "<script" not in decoded(image)


def decoded(image: dict[str, str]) -> str:
    return base64.b64decode(image["src"].partition("base64,")[2]).decode()


def test_figures_are_images_that_follow_the_theme():
    images = Page(example_page("crossed")).having("img")
    assert len(images) == 4  # curves and distributions of accuracy and loss
    for image in images:
        drawing = decoded(image)
        xml.etree.ElementTree.fromstring(drawing)
        assert "prefers-color-scheme: dark" in drawing
        assert drawing.count("var(--ink)") > 10
        assert style.INK not in drawing.partition("</style>")[2]


def test_the_same_result_is_the_same_page():
    assert render(single(), verdict()) == example_page("single")


def browse(page: Path, profile: Path, *flags: str) -> tuple[str, str]:
    """The page's document and what the browser logged."""
    assert BROWSER
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


@pytest.mark.medium
@pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome on the PATH")
def test_a_browser_shows_it_without_complaint(tmp_path: Path):
    page = tmp_path / "report.html"
    page.write_text(example_page("crossed"), encoding="utf-8")
    picture = tmp_path / "page.png"
    document, log = browse(page, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1280,2400")
    assert "CONSOLE" not in log
    assert "Do skip connections let deep plain networks train?" in document
    assert picture.stat().st_size > 50_000
    page.write_text("<img src='file:///nowhere.png'><script>console.error('seen')</script>", encoding="utf-8")
    assert "CONSOLE" in browse(page, tmp_path / "profile")[1]  # such a complaint would have been seen


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome on the PATH")
@pytest.mark.parametrize("width", [400, 1280])
def test_only_tables_and_figures_scroll_sideways(width: int, tmp_path: Path):
    probe = """<script>addEventListener("load", () => {
        const images = [...document.images].every(image => image.complete && image.naturalWidth > 0);
        document.title = [document.documentElement.scrollWidth, innerWidth, images].join(" ");
    })</script>"""
    document = re.sub(r"<meta http-equiv[^>]*>", "", example_page("crossed"))
    page = tmp_path / "report.html"
    page.write_text(document.replace("</body>", f"{probe}</body>"), encoding="utf-8")
    shown, _ = browse(page, tmp_path / "profile", f"--window-size={width},2400")
    title = re.search(r"<title>(\d+) (\d+) (\w+)</title>", shown)
    assert title
    assert int(title[1]) <= int(title[2])
    assert title[3] == "true"
