"""What a file's claims ask, as its text says it: for versions of the file that need not run any more."""

import ast

from fdl.identity.syntax import canonical, reduced

_ROOTS = ("CLAIMS", "claim")


def asked_syntax(source: str) -> str:
    """The syntax of a file's `CLAIMS`, or of its `claim`, and of all that they use of the file's own: its
    functions, classes and constants. Comments, docstrings and layout are no part of it. A local name that is
    also one of the file's counts as that one: so two texts may differ where nothing that is asked does.

    Raises:
      SyntaxError: the source is not Python.

    Example:
      >>> from fdl.identity.asked import asked_syntax
      >>> one = asked_syntax("LEAST = 0.1\\nOTHER = 1\\ndef claim(result): return LEAST")
      >>> one == asked_syntax("OTHER = 2\\nLEAST = 0.1\\ndef claim(result):  # so\\n    return LEAST")
      True
      >>> one == asked_syntax("LEAST = 0.2\\ndef claim(result): return LEAST")
      False
    """
    defined: dict[str, list[ast.stmt]] = {}
    for statement in ast.parse(source).body:
        for name in _names_given_by(statement):
            defined.setdefault(name, []).append(statement)
    found: dict[str, str] = {}
    ahead = [name for name in _ROOTS if name in defined]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found[name] = "; ".join(canonical(reduced(one)) for one in defined[name])
        used = {one.id for node in defined[name] for one in ast.walk(node) if isinstance(one, ast.Name)}
        ahead += sorted(used & defined.keys() - found.keys())
    return "\n".join(f"{name}: {found[name]}" for name in sorted(found))


def _names_given_by(statement: ast.stmt) -> set[str]:
    """The names that a statement at a file's top defines or assigns."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return set()
    return {
        one.id for one in ast.walk(statement) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }
