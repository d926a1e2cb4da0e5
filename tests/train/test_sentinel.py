"""Does this JAX compute rightly on CPUs? And what fdl does about versions and forms that do not."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jaxlib.version import __version__ as jaxlib_version

from fdl.cli import main
from fdl.serialization import digest
from fdl.train import runtime
from tests.train import sentinel_driver

ROOT = Path(__file__).parents[2]
GOOD = (
    f"jax {jax.__version__}, jaxlib {jaxlib_version} computes wrongly on this CPU. Known to be right: jax "
    "and jaxlib 0.10.0, 0.10.1 and 0.12.0.1. Exclude this version in pyproject.toml and in fdl.train.runtime"
)
WRITES = ("set", "add", "multiply", "mul", "subtract", "divide", "min", "max", "power", "apply")


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What a process of its own, which may die, says of each program."""
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}  # as users' programs are
    command = [sys.executable, "-m", "tests.train.sentinel_driver"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
    lines = [line.partition(": ") for line in done.stdout.splitlines()]
    return {name: verdict or f"the process ended with {done.returncode}" for name, _, verdict in lines}


@pytest.mark.parametrize("name", [program.__name__ for program in sentinel_driver.PROGRAMS])
def test_this_jax_computes_rightly(said, name):
    assert said.get(name) == "right", f"{name}: {said.get(name, 'not reached')}. {GOOD}"


BY_ONE = {
    "dynamic_update_slice": lambda b: lax.dynamic_update_slice(b, b[:3], (1, 0, 0)),
    "at-set": lambda b: b.at[1:].set(b[:-1]),
    "at-add": lambda b: b.at[1:].add(b[:-1] - b[1:]),
    "concatenate": lambda b: jnp.concatenate([b[:1], b[:-1]]),
    "roll": lambda b: jnp.roll(b, 1, axis=0).at[0].set(1),
}
WRONG_FORMS = ("dynamic_update_slice", "at-set", "at-add")


@pytest.mark.parametrize("form", BY_ONE)
def test_moving_by_one_place(form, request):
    """xla#49176: an update in place reads what it has just written: banned below."""
    if form in WRONG_FORMS:
        right_now = (
            "this JAX computes an array's update from itself rightly; the ban may go where older ones do"
        )
        request.applymarker(pytest.mark.xfail(reason=right_now, strict=True))
    moved = jax.jit(lambda x: BY_ONE[form](x + 1).reshape(1, 4, 1))(jnp.arange(4.0).reshape(4, 1, 1))
    np.testing.assert_array_equal(moved.ravel(), [1, 1, 2, 3])


def updated_from_itself(source: str) -> list[str]:
    """Updates of an array by what is computed from it, as `x.at[1:].set(x[:-1])`, by hand or by a name."""
    found = []
    for scope in ast.walk(ast.parse(source)):
        if not isinstance(scope, ast.FunctionDef | ast.Lambda | ast.Module):
            continue
        made: dict[str, set[str]] = {}
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    names = {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
                    made |= {name: made.get(name, set()) | _names(node.value) for name in names}
        for node in ast.walk(scope):
            written = _written(node)
            if written and ast.unparse(written[0]) in _sources(written[1], made):
                found.append(ast.unparse(node))
    return sorted(set(found))


def _names(node: ast.AST) -> set[str]:
    """The variables and attributes in an expression."""
    return {ast.unparse(each) for each in ast.walk(node) if isinstance(each, ast.Name | ast.Attribute)}


def _sources(nodes: list[ast.expr], made: dict[str, set[str]]) -> set[str]:
    """All that expressions are computed from, through the assignments of the function."""
    found, new = set(), {name for node in nodes for name in _names(node)}
    while new:
        found |= new
        new = {source for name in new for source in made.get(name, ())} - found
    return found


def _written(node: ast.AST) -> tuple[ast.expr, list[ast.expr]] | None:
    """The array that a call updates, and what it writes there."""
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func).rpartition(".")[2]
    if name.startswith("dynamic_update_") and len(node.args) > 1:
        return node.args[0], node.args[1:2]
    match node.func:
        case ast.Attribute(attr=attr, value=ast.Subscript(value=ast.Attribute(attr="at", value=array))):
            return (array, node.args) if attr in WRITES else None
    return None


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("y = x.at[1:].set(x[:-1])", 1),
        ("def push(self, new):\n last = self.queue[:-1]\n return self.queue.at[1:].set(last * 2)", 1),
        ("f = lambda b: lax.dynamic_update_slice(b, b[:3], (1, 0, 0))", 1),
        ("def f(x):\n y = x[1:]\n z = y + 1\n return lax.dynamic_update_slice_in_dim(x, z, 0, axis=0)", 1),
        ("y = x.at[1:].set(z[:-1])\nw = jnp.concatenate([x[:1], x[:-1]])", 0),
    ],
)
def test_updates_of_an_array_from_itself_are_found(source, count):
    assert len(updated_from_itself(source)) == count


def test_no_array_is_updated_from_itself():
    """It may read what it has just written (xla#49176); write `concatenate` or `where`."""
    files = [*(ROOT / "fdl").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in files}
    updating = {path for path, text in texts.items() if ".at[" in text or "dynamic_update_" in text}
    assert updating
    assert not {path: forms for path in updating if (forms := updated_from_itself(texts[path]))}


def test_wrong_versions_are_excluded_by_the_dependencies_and_refused():
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for library in ("jax", "jaxlib"):
        wanted = next(line for line in text["project"]["dependencies"] if line.startswith(f"{library}>"))
        excluded = {part.removeprefix("!=") for part in wanted.split(",") if part.startswith("!=")}
        assert excluded == set(runtime.WRONG), wanted
    for version in runtime.WRONG:
        with pytest.raises(ValueError, match=rf"^jaxlib {version} computes wrong numbers"):
            runtime.check_version("0.12.0.1", version)
    runtime.check_version("0.10.1", "0.10.1")
    runtime.check_version("0.12.0.1", "0.12.0.1")


def test_a_command_refuses_a_wrong_version_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(jax, "__version__", "0.10.2")
    try:
        code = main(["run", str(ROOT / "experiments" / "skip_connections.py")])
    except SystemExit as end:
        code = end.code
    finally:
        monkeypatch.undo()
        runtime.prepare()
    assert code == 2
    told = capsys.readouterr()
    assert not told.out
    assert told.err.count("\n") == 1
    assert "jax 0.10.2 computes wrong numbers or dies on CPUs; install another" in told.err


def test_compiled_programs_are_kept_by_version_and_processor(monkeypatch):
    here = runtime.programs_folder()
    assert jax.config.values["jax_compilation_cache_dir"] == str(here)
    assert here.name == f"jax-{jax.__version__}-jaxlib-{jaxlib_version}-{digest(runtime.cpu())}"
    model, features = runtime.cpu()
    folders = {here}
    for other in ((f"{model} II", features), (model, f"{features} avx1024")):
        monkeypatch.setattr(runtime, "cpu", lambda other=other: other)
        folders.add(runtime.programs_folder())
    monkeypatch.setattr(runtime, "jaxlib_version", "0.13.0")
    folders.add(runtime.programs_folder())
    assert len(folders) == 4
