"""What can be known to fail before a slice is paid for: the fdl command, its file, its bucket, the extras."""

import ast
import difflib
import itertools
import os
import re
import sys
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path

from tpu.options import check_flags

COMMANDS = (
    "run", "sweep", "search", "plan", "report", "reproduce", "watch", "export-results", "inspect", "predict",
    "check", "export", "list", "doctor", "data",
)  # fmt: skip
"""fdl's commands."""
OF_A_FILE = ("run", "sweep", "search", "plan", "report")
"""Those whose first word is an experiment's file."""
WRITING = ("run", "sweep", "search", "report")
"""Those whose results would die with the slice, were they not in a bucket."""
_NEEDED = {"sweep": ("SWEEP", True), "search": ("SEARCH", False)}
"""What in its file says which trials there are, and whether `--grid` does too."""
BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?", re.DOTALL)


def checked_command(words: Sequence[str], root: Path, files: Collection[str]) -> list[str]:
    """The words to run on a worker for an fdl command.

    Args:
      words: the command.
      root: the project.
      files: what of it goes to the workers, relative to `root`.

    Raises:
      ValueError: fdl has no such command, its file will not be on the workers or is no Python, or its results
        would die with the slice.
    """
    if not words or words[0].startswith("-"):
        raise ValueError("expected an fdl command after --, as -- sweep FILE --workdir gs://BUCKET/NAME")
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(COMMANDS)}"
        raise ValueError(f"there is no fdl command {words[0]!r}; {hint}")
    if words[0] == "reproduce":
        raise ValueError(
            "fdl reproduce writes beside the experiments, on the slice's disk, which goes with it; give "
            "it on your machine with --work gs://BUCKET/NAME, or fdl sweep on the slice"
        )
    if words[0] in OF_A_FILE:
        _check_file(words, root, files)
    if words[0] in WRITING:
        _check_bucket(words)
    return ["uv", "run", "--no-sync", "fdl", *words]


def check_extras(extras: Sequence[str], root: Path, files: Collection[str]) -> None:
    """Raises `ValueError` where uv could not install the project on a worker with these extras."""
    if "pyproject.toml" not in files:
        raise ValueError(f"{root} has no pyproject.toml that git knows; uv installs the project by it")
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except ValueError as error:
        raise ValueError(f"{root / 'pyproject.toml'} cannot be read: {error}") from None
    there = project.get("optional-dependencies", {})
    for extra in extras:
        if extra not in there:
            raise ValueError(f"the project has no extra {extra!r}; expected some of {', '.join(there)}")


def _check_file(words: Sequence[str], root: Path, files: Collection[str]) -> None:
    expected = f"fdl {words[0]} needs an experiment's file, relative to {root}"
    if len(words) < 2 or words[1].startswith("-"):
        raise ValueError(f"{expected}, first: as {words[0]} experiments/first.py")
    name = os.path.normpath(words[1])
    if Path(words[1]).is_absolute() or name.split("/")[0] == "..":
        raise ValueError(f"{expected}; {words[1]!r} is not in there, and only the project is copied")
    path = root / name
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"{expected}; there is no Python file {words[1]!r}")
    inside = path.resolve()
    try:
        sent = name in files and inside.relative_to(root.resolve()).as_posix() in files
    except ValueError:
        sent = False
    if not sent:
        raise ValueError(
            f"{words[1]} would not be on the slice: only what git does not ignore is copied, without "
            "submodules and what links lead to outside; see git check-ignore -v"
        )
    try:
        module = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        version = ".".join(map(str, sys.version_info[:2]))
        raise ValueError(f"{words[1]} is not Python {version}: {error}") from None
    if len(words) > 2 and not words[2].startswith("-"):
        raise ValueError(f"fdl {words[0]} takes one file, but {words[2]!r} comes after {words[1]!r}")
    check_flags(words, module)
    asked, drawn = _NEEDED.get(words[0], ("", False)), any(word.startswith("--grid.") for word in words)
    if asked[0] and not (asked[1] and drawn) and not _defines(module, asked[0]):
        grid = ", and --grid.FIELD is not given" * asked[1]
        raise ValueError(f"{words[1]} has no {asked[0]}{grid}: fdl {words[0]} would train nothing")


def _defines(module: ast.Module, name: str) -> bool:
    """Whether a file may define a name, itself or from where it imports."""
    names = {
        one.id if isinstance(one, ast.Name) else one.asname or one.name
        for one in ast.walk(module)
        if isinstance(one, ast.alias) or (isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))
    }
    return bool(names & {name, "*"})


def _check_bucket(words: Sequence[str]) -> None:
    given = [word.partition("=")[2] for word in words if word.startswith("--workdir=")]
    given += [after for word, after in itertools.pairwise(words) if word == "--workdir"]
    if not given:
        raise ValueError(
            f"fdl {words[0]} needs --workdir gs://BUCKET/NAME: what is on a slice's disks dies with it"
        )
    for place in given:
        if not BUCKET.fullmatch(place):
            raise ValueError(
                f"--workdir is {place!r}; expected gs://BUCKET/NAME, a bucket's name in small letters: "
                "what is on a slice's disks dies with it"
            )
