"""What an experiment shows, from the command line to the page."""

from pathlib import Path

import pytest

from fdl.cli import main
from tests.report.page import Page

EXPERIMENT = '''"""Can it be seen?"""

import fdl
from fdl import inspection
from tests.toy import Config
from tests.toy import experiment as toy


def experiment(config):
    inspect = lambda state, key: {"weights": inspection.Image(state["weights"][None] * 0.1 + 0.5)}
    return toy(config)._replace(inspect=inspect)


SWEEP = fdl.grid(Config(), lr=(0.01, 0.02), seeds=2)
'''


@pytest.mark.medium
def test_a_sweep_is_shown_on_its_page_and_again_by_report(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("seen.py").write_text(EXPERIMENT)
    for arms in (0, 1):
        assert main(["sweep", "seen.py", "--workdir", f"of-{arms}", "--inspect", str(arms)]) == 0
        assert len(list(Path(f"of-{arms}").glob("units/*/inspections/*/weights/step-*.png"))) == 4 * arms
    assert main(["report", "seen.py", "--workdir", "of-1"]) == 0
    page = Page(Path("of-1/report.html").read_text())
    steps = [label for label in page.having("label") if label["for"].startswith("steps-")]
    assert len(steps) == len(page.having("input")) == 4 and "lr=0.01, seed 0, at step" in page.text
    assert "Inspections" not in Path("of-0/report.html").read_text()
    assert main(["run", "seen.py", "--workdir", "one"]) == 0
    assert len(list(Path("one").glob("units/*/inspections/run seed=0/weights/*.png"))) == 4
