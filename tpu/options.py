"""Which flags an fdl command takes, read from its source: fdl itself cannot be imported where JAX is not."""

import ast
import difflib
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "fdl/cli/options.py"
_GIVEN = ("grid", "config")
"""What may stand before a field's name and a point."""


def check_flags(words: Sequence[str], file: ast.Module) -> None:
    """Raises `ValueError` for a flag that is no option of the command and no field of the file's config.

    A config that the file imports, or that has a base class, is not looked into: then nothing is said.

    Args:
      words: the fdl command, its file second.
      file: the experiment's file.
    """
    config = next((one for one in file.body if isinstance(one, ast.ClassDef) and one.name == "Config"), None)
    if config is None or config.bases:
        return
    fields, options = _fields(config), options_of(words[0])
    for word in words[2:]:
        if not word.startswith("--") or word == "--":
            continue
        flag = word.partition("=")[0].removeprefix("--").replace("_", "-")
        prefix, _, rest = flag.partition(".")
        name = (rest if prefix in _GIVEN else flag).partition(".")[0]
        known = fields if prefix in _GIVEN else fields | options | {"help"}
        if not {name, name.removeprefix("no-")} & known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"did you mean --{near[0]}?" if near else f"see fdl {words[0]} {words[1]} --help"
            raise ValueError(f"fdl {words[0]} {words[1]} has no flag --{flag}; {hint}")


def options_of(command: str) -> set[str]:
    """The names of a command's options, with dashes."""
    body = ast.parse(SOURCE.read_text(encoding="utf-8")).body
    classes = {one.name: one for one in body if isinstance(one, ast.ClassDef)}
    tables = [one.value for one in body if isinstance(one, ast.Assign) and isinstance(one.value, ast.Dict)]
    homes = {
        ast.unparse(key): ast.unparse(home)
        for key, home in zip(tables[0].keys, tables[0].values, strict=True)
        if key
    }
    found: set[str] = set()
    left = [homes[repr(command)]]
    while left:
        home = classes[left.pop()]
        found |= _fields(home)
        left += [base.id for base in home.bases if isinstance(base, ast.Name)]
    return found


def _fields(home: ast.ClassDef) -> set[str]:
    """The names of a dataclass's own fields as flags."""
    there = (one.target for one in home.body if isinstance(one, ast.AnnAssign))
    return {one.id.strip("_").replace("_", "-") for one in there if isinstance(one, ast.Name)}
