"""A public name stands for one thing: no function or class has the name of another one in another file."""

import ast
from collections import defaultdict
from pathlib import Path

import fdl

ROOT = Path(fdl.__file__).parent
READER = "one of a few readers or writers of one file format, called by its module"
INNER = "a word of its own file, imported by its neighbours alone; its meaning is that of the field"
KNOWN = {
    "Program": "of XLA's text, and of a run: both are what the field calls a program",
    "Work": INNER,
    "check_names": INNER,
    "count": INNER,
    "download": "by its module: of a data set, and of one address",
    "draw": INNER,
    "estimate": INNER,
    "execute": "each command's, called by its module as all of them are",
    "greedy": "how a token and how a move is chosen: `generation` and `games` say of what",
    "identity": "of a cell of a table, and the initializer; the field's word for both",
    "interval": "what it is, and how it is written",
    "leaves": INNER,
    "leaves_of": INNER,
    "mean": "of a metric, of a mixture, over devices; called by its module but for the metric",
    "named": INNER,
    "number": READER,
    "on_host": "the data that stay there, and the loop that reads them",
    "parse": READER,
    "put": INNER,
    "question": INNER,
    "sample": "of a sweep's space, and of a mixture's density, called by its module",
    "shown": INNER,
    "spoken_digits_file": "where the file is, and the entry of the catalogue",
    "store": INNER,
    "stream": "of data, and of random numbers; the field's word for both",
    "text": INNER,
    "told": INNER,
    "uniform": "of a search's field, and the player of `games`, called by its module",
    "work_of": INNER,
}


def test_a_public_name_is_defined_once():
    found = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if not any(ast.unparse(mark) == "overload" for mark in node.decorator_list):
                found[node.name].append(str(path.relative_to(ROOT)))
    twice = {name: paths for name, paths in found.items() if len(paths) > 1}
    assert len(found) > 500
    new = {name: paths for name, paths in twice.items() if name not in KNOWN}
    assert not new, "give one of each another name, or say in KNOWN why both need this one"


def test_what_users_import_has_one_meaning():
    """Names of the packages' own namespaces, however they came there."""
    from fdl import analysis, metrics, models, optim, stats, sweeps, tasks, train

    found = defaultdict(set)
    for package in (fdl, analysis, metrics, models, optim, stats, sweeps, tasks, train):
        for name in dir(package):
            value = getattr(package, name, None)
            if callable(value):
                found[name].add(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', name)}")
    twice = {name: homes for name, homes in found.items() if len(homes) > 1}
    assert not twice
