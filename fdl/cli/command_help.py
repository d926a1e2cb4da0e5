"""Help of a command without an experiment's file: its flags, read from `options.py` without importing it.

That file needs the parser, JAX and what commands call, which take seconds; its text takes none.
"""

import ast
import itertools
import textwrap
from pathlib import Path

from fdl.cli import Command

OPTIONS = Path(__file__).with_name("options.py")


def command_help(name: str, command: Command) -> str:
    """The usage and the flags of a command, with their defaults."""
    assert command.options
    lines = [f"usage: fdl {name} {form}\n         {what}" for form, what in command.usage]
    lines += ["", "FILE is an experiment's; each field of its Config is a flag too: see", ""]
    lines[-1:] = [f"  fdl {name} FILE --help", "", "flags:"]
    if name not in ("run", "search"):
        lines += [
            "  --grid.FIELD VALUE ...",
            "        values of a field of the Config to try, instead of the file's sweep",
        ]
    for flag, default, what in flags_of(command.options):
        lines.append(f"  {flag}{'' if default in ('None', 'False') else f' (default: {default})'}")
        lines += textwrap.wrap(what, 92, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join(lines) + "\n"


def flags_of(options: str) -> list[tuple[str, str, str]]:
    """Each flag of a class of options, those of the classes above it first: flag, default, what it does."""
    module = ast.parse(OPTIONS.read_text(encoding="utf-8"))
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    found: dict[str, tuple[str, str, str]] = {}

    def add(name: str) -> None:
        for base in reversed(classes[name].bases):
            add(ast.unparse(base))
        body = classes[name].body
        for field, doc in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and field.value:
                assert isinstance(field.target, ast.Name) and isinstance(doc.value, ast.Constant)
                found[field.target.id] = (
                    _flag(field.target.id, ast.unparse(field.annotation)),
                    ast.unparse(field.value).strip("'"),
                    " ".join(str(doc.value.value).split()),
                )

    add(options)
    return list(found.values())


def _flag(name: str, kind: str) -> str:
    flag = f"--{name.replace('_', '-')}"
    kinds = {"int": "INT", "float": "FLOAT", "str": "TEXT"}
    kind = kind.removesuffix(" | None")
    return flag if kind == "Switch" else f"{flag} {kinds.get(kind, 'WORD')}"
