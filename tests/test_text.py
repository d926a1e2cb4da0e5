"""What is kept of a command has no password in it."""

import sys

import pytest

from fdl.cli.reports import made
from fdl.text import command_text
from fdl.train import folder, history

URLS = {
    "postgresql://me:se:cr@et@host/trials": "postgresql://me:***@host/trials",
    "--storage=mysql+pymysql://me:secret@host:33/trials": "--storage=mysql+pymysql://me:***@host:33/trials",
    "postgresql:///trials?host=/tmp&password=secret&user=me": (
        "postgresql:///trials?host=/tmp&password=***&user=me"
    ),
    "postgresql://host:5432/trials": "postgresql://host:5432/trials",
    "gs://bucket/runs": "gs://bucket/runs",
}


@pytest.mark.parametrize("word", URLS)
def test_passwords_in_urls_are_not_shown(word):
    assert command_text(["fdl", word]).replace("'", "") == f"fdl {URLS[word]}"


def test_nothing_that_keeps_a_command_keeps_its_password(monkeypatch):
    words = ["search", __file__, "--storage", "postgresql://me:secret@host/trials"]
    monkeypatch.setattr(sys, "argv", ["fdl", *words])
    for kept in (history.here()["command"], folder._myself()["command"], made(words)["command"]):
        assert "secret" not in kept and "me:***@host" in kept
