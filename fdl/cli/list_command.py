"""`fdl list`: experiments and their questions, read without running them."""

import ast
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

USAGE = "usage: fdl list [--json] [FOLDER]   (default: experiments)"


def listing(words: Sequence[str]) -> int:
    """Prints every experiment of a folder with its question; returns the exit code."""
    if "-h" in words or "--help" in words:
        print(USAGE)
        return 0
    as_json = "--json" in words
    rest = [word for word in words if word != "--json"]
    unknown = [word for word in rest if word.startswith("-")]
    if unknown or len(rest) > 1:
        print(f"error: fdl list does not take {(unknown or rest[1:])[0]!r}; {USAGE}", file=sys.stderr)
        return 2
    folder = Path(rest[0] if rest else "experiments")
    if not folder.is_dir():
        print(f"error: {folder} is not a folder; name the one that holds the experiments", file=sys.stderr)
        return 2
    found = {str(path): question(path) for path in sorted(folder.glob("*.py"))}
    found = {path: text for path, text in found.items() if text}
    width = max(map(len, found), default=0)
    if as_json:
        print(json.dumps(found))
    else:
        return _printed(f"{path:{width}}  {text}" for path, text in found.items())
    return 0


def _printed(lines: Iterable[str]) -> int:
    """Prints; returns the exit code: 1 where the reader is gone, as in `fdl list | head`."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        for line in lines:  # a file's name may be of bytes that are no text
            print(line.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def question(path: Path) -> str | None:
    """The first line of an experiment's docstring; `None` if the file defines no experiment."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            return "(cannot be read: not a file)"
        module = ast.parse(path.read_bytes())
        docstring = ast.get_docstring(module)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"(cannot be read: {type(error).__name__})"
    defined = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    targets = (target for node in module.body if isinstance(node, ast.Assign) for target in node.targets)
    defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    imports = (node.names for node in module.body if isinstance(node, ast.ImportFrom))
    if "experiment" not in defined | {alias.asname or alias.name for names in imports for alias in names}:
        return None
    return (docstring or "(no question)").splitlines()[0]
