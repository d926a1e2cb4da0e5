"""The syntax of running code: found in its source, and reduced to what has a meaning.

Comments, layout, docstrings and the annotations of undecorated functions do nothing, so they are left out.
All cuts are made between nodes of the syntax tree, never between lines, which count differently elsewhere.
"""

import ast
import copy
import functools
import linecache
import symtable
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from fdl.identity.members import code_of

_CHANGING = {"add", "append", "clear", "extend", "insert", "pop", "setdefault", "update"}
"""Methods that change lists, dictionaries and sets."""


def function_syntax(code: CodeType, scope: Mapping[str, Any]) -> ast.AST | None:
    """The reduced syntax of the function whose code this is; `None` where its source is not to be seen.

    A source that was changed after it was loaded is not the function's: it is compiled again and compared.

    Args:
      code: the function's.
      scope: its global names.
    """
    parsed = _parsed(_source(code.co_filename, scope), code.co_filename)
    if parsed is None:
        return None
    if not parsed.has(code):
        return None
    named = parsed.functions.get((code.co_name, code.co_firstlineno))
    found = _lambda(parsed.tree, code) if code.co_name == "<lambda>" else named
    return None if found is None else reduced(found)


def class_syntax(cls: type, scope: Mapping[str, Any]) -> ast.AST | None:
    """The reduced syntax of a class; `None` where its source is not to be seen.

    Args:
      cls: the class.
      scope: its module's names.
    """
    methods = [code for code in map(code_of, vars(cls).values()) if code and code.co_filename[:1] != "<"]
    own = [code for code in methods if code.co_qualname == f"{cls.__qualname__}.{code.co_name}"]
    name = own[0].co_filename if own else scope.get("__file__") or ""
    parsed = _parsed(_source(name, scope), name)
    if parsed is None or not all(map(parsed.has, own)):
        return None
    nodes = [node for qualname, node in _classes(parsed.tree) if qualname == cls.__qualname__]
    line = vars(cls).get("__firstlineno__")
    if line is not None:
        nodes = [node for node in nodes if _first_line(node) == line]
    for code in own:
        nodes = [n for n in nodes if n.lineno <= code.co_firstlineno <= (n.end_lineno or n.lineno)]
    return reduced(nodes[0]) if len(nodes) == 1 else None


def reduced(node: ast.AST) -> ast.AST:
    """A copy of some syntax without what does nothing."""
    return ast.fix_missing_locations(_Reduce().visit(copy.deepcopy(node)))


def canonical(node: Any) -> str:
    """Some syntax in words that are the same on every version of Python and for every layout."""
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={canonical(value)}"
            for name, value in ast.iter_fields(node)
            if name not in ("ctx", "kind", "type_comment") and value is not None and value != []
        ]
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(canonical, node))}]"
    return repr(node)


def global_uses(node: ast.AST, free: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """The global names that some syntax reads, each with the attributes taken of it: `np.pi` is np, (pi,).

    Args:
      node: a function, a class or a lambda, reduced.
      free: its names that belong to a function around it.

    Returns:
      Sorted and unique.
    """
    inner: Any = [ast.Expr(node)] if isinstance(node, ast.expr) else [node]
    arguments = ast.arguments([], [ast.arg(name) for name in free], None, [], [], None, [])
    around = ast.FunctionDef("_", arguments, inner, [], None, None)
    if "type_params" in ast.FunctionDef._fields:
        around.type_params = []  # pyright: ignore[reportAttributeAccessIssue]
    text = ast.unparse(ast.fix_missing_locations(ast.Module([around], [])))
    names = set(_globals(symtable.symtable(text, "<identity>", "exec")))
    return sorted({use for use in _uses(node) if use[0] in names})


def written(node: ast.AST) -> tuple[set[str], set[str]]:
    """The names whose value, or a part of it, some syntax assigns, so that they hold no constants; and those
    of which it calls a method by which a list, a dictionary or a set would be changed."""
    called: set[str] = set()
    found = {name for one in ast.walk(node) if isinstance(one, ast.Global) for name in one.names}
    for one in ast.walk(node):
        if isinstance(one, ast.Subscript | ast.Attribute) and not isinstance(one.ctx, ast.Load):
            root: ast.AST = one
            while isinstance(root, ast.Subscript | ast.Attribute):
                root = root.value
            found |= {root.id} if isinstance(root, ast.Name) else set()
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in _CHANGING:
            called |= {one.func.value.id} if isinstance(one.func.value, ast.Name) else set()
    return found, called


def assigned(name: str, scope: Mapping[str, Any]) -> list[str]:
    """What a module's own statements assign to a name, as text."""
    file = scope.get("__file__") or ""
    parsed = _parsed(_source(file, scope), file)
    nodes = parsed.tree.body if parsed else []
    found = (
        one for one in nodes if isinstance(one, ast.Assign | ast.AnnAssign | ast.AugAssign) and one.value
    )
    targets = ((one.targets if isinstance(one, ast.Assign) else [one.target], one.value) for one in found)
    return [ast.unparse(value) for names, value in targets if value and name in map(ast.unparse, names)]


def local_imports(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    """What is imported within a function: modules, and the names taken of them (`None`: the whole)."""
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            yield from ((alias.name, None) for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            module = "." * one.level + (one.module or "")
            yield from ((module, None if alias.name == "*" else alias.name) for alias in one.names)


class _Reduce(ast.NodeTransformer):
    """Drops docstrings and other statements that are constants, `pass`, and annotations without effect."""

    def __init__(self) -> None:
        self.within: list[bool] = [False]  # whether what is visited stands in a function

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body:
                kept = [one for one in body if not _idle(one)]
                setattr(node, name, kept or ([ast.Pass()] if name == "body" else []))
        return node

    def visit_FunctionDef(self, node: Any) -> ast.AST:
        if not node.decorator_list:
            node.returns = None
            for one in ast.walk(node.args):
                if isinstance(one, ast.arg):
                    one.annotation = None
        self.within.append(True)
        self.generic_visit(node)
        self.within.pop()
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.within.append(False)
        self.generic_visit(node)
        self.within.pop()
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """Some versions of Python cut the text between the braces into more pieces than others."""
        self.generic_visit(node)
        values: list[ast.expr] = []
        for one in node.values:
            last = values[-1] if values else None
            if isinstance(one, ast.Constant) and isinstance(last, ast.Constant):
                values[-1] = ast.Constant(f"{last.value}{one.value}")
            elif not (isinstance(one, ast.Constant) and one.value == ""):
                values.append(one)
        node.values = values
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        self.generic_visit(node)
        if not self.within[-1]:
            return node
        return ast.Assign([node.target], node.value) if node.value else None


def _idle(node: ast.AST) -> bool:
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant or isinstance(node, ast.Pass)


def _source(name: str, scope: Mapping[str, Any]) -> bytes | None:
    """The source of a file, or of a notebook's cell or a module in an archive, as bytes."""
    path = Path(name)
    if name and path.is_file():
        return path.read_bytes()
    lines = linecache.getlines(name, dict(scope))
    return "".join(lines).encode() if lines else None


class _Parsed(NamedTuple):
    """A source: its syntax, and its code as it is compiled; both by name and first line."""

    tree: ast.Module
    functions: dict[tuple[str, int], ast.AST]
    codes: dict[tuple[str, int], list[CodeType]]

    def has(self, code: CodeType) -> bool:
        return code in self.codes.get((code.co_name, code.co_firstlineno), [])


@functools.lru_cache(maxsize=64)
def _parsed(source: bytes | None, name: str) -> _Parsed | None:
    if source is None:
        return None
    try:
        tree = ast.parse(source)
        whole = compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):  # a cell with a notebook's own commands, a file that is no source
        return None
    codes: dict[tuple[str, int], list[CodeType]] = {}
    for code in _codes(whole):
        codes.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return _Parsed(tree, {(node.name, _first_line(node)): node for node in functions}, codes)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _codes(one)


def _first_line(node: Any) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


def _lambda(tree: ast.AST, code: CodeType) -> ast.Lambda | None:
    """The lambda whose body is the smallest that all of the code's positions lie in."""
    places = [place for place in code.co_positions() if None not in place and place[2:] != (0, 0)]
    starts = [(line, column) for line, _, column, _ in places]
    ends = [(line, column) for _, line, _, column in places]
    if not places:
        return None
    fitting = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            body = node.body
            start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
            if start <= min(starts) and max(ends) <= end:  # pyright: ignore[reportOperatorIssue]
                fitting.append((start, node))
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _classes(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, child
            yield from _classes(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _classes(child, f"{prefix}{child.name}.<locals>.")
        else:
            yield from _classes(child, prefix)


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_global() and symbol.is_referenced():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


def _uses(node: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    attributes: list[str] = []
    root = node
    while isinstance(root, ast.Attribute):
        attributes.insert(0, root.attr)
        root = root.value
    if isinstance(root, ast.Name):
        yield root.id, tuple(attributes)
        return
    for child in ast.iter_child_nodes(root if attributes else node):
        yield from _uses(child)
