"""Criteria are recorded before the first run; one that changed after it is told with its verdict."""

import json
from pathlib import Path

import pytest

from fdl.cli import main

FILE = '''"""Q?"""
import fdl
from tests.toy import Config, experiment
SWEEP = fdl.grid(Config(steps=4, noise=0.1), lr=(0.0, 0.05), seeds=5)
LEAST = 0.0
def asked(result):
    return fdl.compare(result, metric="test/loss", arms="lr", better="lower", at_least=LEAST).verdict
CLAIMS = (fdl.Claim("a", "It learns.", asked), fdl.Claim("b", "So too.", lambda result: asked(result)))
'''
SAID = "The criterion was written, or changed, after the first run began."


@pytest.fixture
def swept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def sweep(text: str, command: str = "sweep") -> tuple[dict, str]:
        Path("file.py").write_text(text)
        capsys.readouterr()
        assert main([command, "file.py", "--workdir", "runs", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        return {one["id"]: SAID in one["sentence"] for one in told["claims"]}, Path(
            told["report"]
        ).read_text()

    return sweep


@pytest.mark.medium
def test_a_criterion_that_changed_after_the_runs_is_told(swept):
    told, page = swept(FILE)
    assert told == {"a": False, "b": False} and "as when the first run began" in page
    told, page = swept(FILE.replace("def asked", "# A comment.\ndef asked"))
    assert not any(told.values()) and SAID not in page
    told, page = swept(FILE.replace("LEAST = 0.0", "LEAST = 0.1"), "report")  # both read it
    assert told == {"a": True, "b": True} and SAID in page
    more = FILE.replace("CLAIMS = (", "CLAIMS = (fdl.Claim('c', 'More.', asked), ")
    assert swept(more)[0] == {"a": False, "b": False, "c": True}
