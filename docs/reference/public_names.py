"""A hook of MkDocs: a package's reference page lists what its `__init__.py` exports, by the form `a as a`.

`::: fdl.tasks` alone would show nothing, since mkdocstrings lists what a module defines.
"""

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def exported(package: str) -> list[str]:
    """The public names of a package, as the type checker sees them.

    Raises:
      ValueError: a package that exports nothing.
    """
    tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module != "fdl":  # packages have pages of their own
            names |= {name.name for name in node.names if name.name == name.asname}
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            listed = ast.unparse(node.targets[0]) == "__all__"
            names |= {ast.literal_eval(one) for one in node.value.elts} if listed else set()
    if not names:
        raise ValueError(f"{package} exports nothing")
    return sorted(names, key=str.casefold)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this with the text of each page."""

    def listed(match: re.Match[str]) -> str:
        package = match[1]
        if not (ROOT / package.replace(".", "/")).is_dir():
            return match[0]
        members = "".join(f"\n        - {name}" for name in exported(package))
        return f"::: {package}\n    options:\n      members:{members}"

    return re.sub(r"^::: (\S+)$", listed, markdown, flags=re.MULTILINE)
