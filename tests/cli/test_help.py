"""Help comes at once, and says every flag."""

import dataclasses
import subprocess
import sys

import pytest

from fdl.cli import COMMANDS, command_help, main

OF_A_FILE = [name for name, command in COMMANDS.items() if command.options]


@pytest.mark.parametrize("name", OF_A_FILE)
def test_a_command_without_a_file_says_every_flag_with_its_meaning(name, capsys):
    from fdl.cli import options

    assert main([name, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(getattr(options, COMMANDS[name].options or "")):
        assert f"--{field.name.replace('_', '-')}" in shown
    flags = command_help.flags_of(COMMANDS[name].options or "")
    assert all(what and what in shown for _, _, what in flags)
    assert ("--grid.FIELD" in shown) == (name not in ("run", "search"))


HELPFUL = [["--help"], *([name, "--help"] for name in OF_A_FILE), ["list", "--help"]]
MISTAKEN = [["plan", "x.py", "--topology", "v6e:4x5"], ["plan", "x.py", "--topology=v9:2x2"]]


@pytest.mark.parametrize(("words", "code"), [*((one, 0) for one in HELPFUL), *((one, 2) for one in MISTAKEN)])
def test_help_and_a_mistaken_slice_import_nothing_heavy(words, code):
    program = f"""
import sys
from fdl.cli import main
assert main({words!r}) == {code}
heavy = {{"jax", "pandas", "numpy", "tyro", "rich", "matplotlib", "scipy"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_help_lists_every_command_and_each_entry_is_there(capsys):
    import importlib

    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert all(f"fdl {name} {form}" in shown and what in shown for form, what in command.usage)
        module, _, function = command.entry.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
