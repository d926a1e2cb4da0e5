"""Stub programs for the tests: `uv` everywhere; `gcloud`, or `ssh` and `scp` below the real one."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

UV = """#!/usr/bin/env bash
# `uv sync` takes note; `uv run --no-sync fdl COMMAND FILE ...` runs FILE itself.
case $1 in
    sync)
        echo "$*" >>"$HOME/synced"
        [ ! -e "$HOME/uv-fails" ] || { echo "no network" >&2; exit 1; }
        ;;
    run) shift 4; exec "$FAKE_PYTHON" "$@" ;;
esac
"""
MAIN = """#!{python} -SE
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.tpu import {module}
sys.exit({module}.{function}(Path({folder!r}), sys.argv[1:]))
"""


def write(folder: Path, *, real_gcloud: bool) -> Path:
    """Writes the programs to `folder/bin`, which goes first on the PATH."""
    programs = folder / "bin"
    programs.mkdir()
    _executable(programs / "uv", UV.replace('"$FAKE_PYTHON"', sys.executable))
    if real_gcloud:
        pairs = [("ssh", "fake_ssh", "ssh"), ("scp", "fake_ssh", "scp")]
    else:
        pairs = [("gcloud", "fake_gcloud", "main")]
    for name, module, function in pairs:
        text = MAIN.format(
            python=sys.executable, root=str(ROOT), module=module, function=function, folder=str(folder)
        )
        _executable(programs / name, text)
    return programs


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
