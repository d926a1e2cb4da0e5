"""The shape of the code itself: imports go strictly downward, and every public name is explained."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import fdl

ROOT = Path(fdl.__file__).parent
LAYERS = (
    ("cells", "counts", "experiment", "formats", "margins", "public", "rng", "shards", "text", "tree"),
    ("arguments", "choosing", "configs", "joining", "lineage", "storage"),
    ("copies", "serialization"),
    ("identity",),
    ("optim", "attacks", "losses", "metrics"),
    ("models", "data"),
    ("inspection",),
    ("tasks", "parallel"),
    ("analysis", "result", "train", "pretrained"),
    ("stats", "sweeps"),
    ("report", "experiment_file"),
    ("trained",),
    ("aot",),
    ("doctor",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(ROOT)], "fdl.") if "__main__" not in m.name)


def imported(path: Path) -> set[str]:
    """The parts of fdl that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fdl":
            names = [node.module.split(".")[1]] if "." in node.module else [name.name for name in node.names]
            found |= set(names)
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("fdl.")}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_strictly_downward(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for other in imported(path) - {part}:
        below = LEVEL[other] < LEVEL[part]
        assert below, f"{part} (layer {LEVEL[part]}) imports {other} (layer {LEVEL[other]})"


def test_the_library_never_imports_an_experiment():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "experiments" not in ast.unparse(node), path


def test_only_models_define_networks():
    for path in FILES:
        if path.relative_to(ROOT).parts[0] != "models":
            assert not re.search(r"class \w+\(.*nn\.Module", path.read_text()), path


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, name
    for attribute, value in vars(module).items():
        ours = getattr(value, "__module__", None) == name
        if attribute.startswith("_") or not ours or not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        assert value.__doc__ and not value.__doc__.startswith(f"{attribute}("), f"{name}.{attribute}"


def test_files_are_short():
    long = {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 300}
    assert not long
