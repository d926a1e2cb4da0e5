"""The HTML page of a folder's claims."""

import re
from pathlib import Path

import pytest

from fdl.report.claims_html import claims_html, theme
from fdl.report.claims_page import About
from tests.report.test_claims_page import ABOUT, CLAIM, ROW, TOLD
from tests.report.test_html import BROWSER, browse

SOURCES = {"a": "x = 1 < 2  # <script>", "b": "", "o": ""}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"></svg>'
REFUTED = {**ROW, "id": "O1", "claims": {"O1.1": {**CLAIM, "verdict": "REFUTED"}}, "figure": False}
PROBE = """<script>addEventListener("load", () => {
    const all = [...document.querySelectorAll("article")];
    const shown = all.filter(one => one.offsetHeight).map(one => one.id);
    const images = [...document.images].every(image => image.complete && image.naturalWidth > 0);
    document.title = [document.documentElement.scrollWidth, innerWidth, images, ...shown].join(" ");
})</script>"""


def page() -> str:
    about = {**ABOUT, "o": About("Is O so?")}
    results = {"rows": {"a": ROW, "o": {**REFUTED, "criteria": {"O1.1": "0123"}}}, "accel": {}, "told": TOLD}
    return claims_html(results, about, SOURCES, {"a": SVG}, name="mine")


def test_a_row_has_all_that_is_known_of_it_and_files_are_escaped():
    shown = page()
    for told in ("A helps.", "It *does*.", "+0.123 [0.050, 0.200]", "Against it: much.", "f00d", "Text."):
        assert shown.count(told) >= 1, told
    assert "x = 1 &lt; 2  # &lt;script&gt;" in shown and "<script" not in shown
    assert "fdl reproduce O1" in shown and "By *hand*." in shown.partition("Not reproduced yet")[2]
    assert "REFUTED (1)" in shown and "SUPPORTED (1)" in shown


@pytest.mark.parametrize(
    ("row_id", "of"), [("F2", "Foundations"), ("O10", "Optimisation"), ("Found", "Others")]
)
def test_themes_are_those_of_ids(row_id, of):
    assert theme(row_id) == of


@pytest.mark.medium
@pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome on the PATH")
@pytest.mark.parametrize(
    ("width", "chosen", "left"),
    [(400, None, "o a"), (1400, "v-REFUTED", "o"), (1400, "t-2", "a"), (400, "v-SUPPORTED", "a")],
)
def test_a_browser_shows_the_rows_that_are_asked_for(tmp_path: Path, width, chosen, left):
    document = re.sub(r"<meta http-equiv[^>]*>", "", page()).replace("</body>", f"{PROBE}</body>")
    if chosen:
        document = document.replace(f'id="{chosen}"', f'id="{chosen}" checked')
    file = tmp_path / "page.html"
    file.write_text(document, encoding="utf-8")
    shown, _ = browse(file, tmp_path / "profile", f"--window-size={width},2400")
    title = re.search(r"<title>(\d+) (\d+) (\w+) ([\w ]*)</title>", shown)
    assert title and int(title[1]) <= int(title[2]) and title[3] == "true"
    assert title[4] == left
