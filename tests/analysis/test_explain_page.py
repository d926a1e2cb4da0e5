"""The page that explains a prediction: its experiment trains, and its examples give what they show."""

import doctest
import sys
from pathlib import Path

import pytest

from fdl.cli import main

PAGE = Path(__file__).parents[2] / "docs/howto/explain.md"


@pytest.mark.slow
def test_the_page_runs_as_it_is_printed(tmp_path, monkeypatch):
    text = PAGE.read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = text.partition('```python title="digits.py"\n')[2].partition("```")[0]
    Path("digits.py").write_text(source)
    assert main(["sweep", "digits.py"]) == 0
    (table,) = Path("runs/digits").glob("*/results.parquet")
    known, told = {"DIRECTORY": str(table.parent)}, []
    test = doctest.DocTestParser().get_doctest(text, known, "explain.md", str(PAGE), 0)
    runner = doctest.DocTestRunner()
    runner.run(test, out=told.append)
    sys.modules.pop("digits", None)
    assert not runner.failures and Path("heat.png").exists(), "".join(told)
