"""The doors that users find: `import fdl` is enough, and what is listed is what is meant for them."""

import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import fdl


@pytest.mark.medium
def test_everything_is_reached_by_one_import_and_loaded_on_first_use():
    program = """
import sys, fdl
assert "jax" not in sys.modules
assert fdl.models.MLP(widths=(3,), outputs=2).outputs == 2
assert callable(fdl.tasks.classification) and callable(fdl.train.fit) and callable(fdl.grid)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_what_is_listed_is_public_and_there():
    listed = dir(fdl)
    assert {"models", "tasks", "data", "compare", "sweep"} <= set(listed)
    assert not [name for name in listed if name.startswith("_")]
    assert {"storage", "importlib", "os", "cli"}.isdisjoint(listed)
    for name in listed:
        assert getattr(fdl, name).__doc__, name
    with pytest.raises(AttributeError, match="nonsense"):
        fdl.nonsense  # noqa: B018


def test_help_is_a_map_of_one_screen_that_names_everything():
    shown = pydoc.plain(pydoc.render_doc(fdl)).partition("PACKAGE CONTENTS")[0]
    assert len(shown.splitlines()) <= 40
    assert not [name for name in dir(fdl) if name not in shown]


def test_types_are_published():
    assert Path(fdl.__file__).with_name("py.typed").exists()
