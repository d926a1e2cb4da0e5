"""The identity of a program: what must not change it, and what must."""

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data
from fdl.identity import meaning
from fdl.serialization import differences, digest, essence
from fdl.train.identity import of_experiment, of_program, of_structure
from tests.toy import Config as Toy
from tests.toy import experiment as toy

HELPERS = '''"""Helpers."""
import functools
import numpy as np
from inner import depth

SCALE = 2.0
UNUSED = 1
TABLE = {"a": (1, 2), "b": np.arange(4)}
CACHE = {}
LIMITS = frozenset({"x", "y", "z"})


def unused(x):
    return x + UNUSED


def doubled(function):
    @functools.wraps(function)
    def wrapper(x):
        return 2 * function(x)
    return wrapper


@doubled
def scaled(x, *, by=SCALE):
    """Scaled."""
    return x * by + depth.OFFSET


class Base:
    power = 2


class Layer(Base):
    """A layer."""
    width: int = 3

    def apply(self, x):
        return x ** self.power

    @property
    def size(self):
        return self.width


def cached(n):
    if n not in CACHE:
        CACHE[n] = n + 1
    return CACHE[n]
'''

EXPERIMENT = '''"""Does it?

More.
"""
from collections.abc import Callable
import functools
import jax.numpy as jnp
import optax
import fdl
import helpers
from helpers import scaled as transform
from tests import toy

RATES = (1e-3, 1e-2)
FACTOR = 4.0
shift = lambda x: x + FACTOR
half = functools.partial(jnp.multiply, 0.5)


@fdl.config
class Config:
    lr: float = 1e-3
    """rate"""
    depth: int = 2

    @property
    def twice(self):
        return 2 * self.depth


def experiment(config: Config) -> fdl.Experiment:
    """Builds."""
    from helpers import TABLE
    rate: float = config.lr * 0.5  # a comment
    def inner(x):
        if x is None:
            return helpers.cached(3)
        return transform(shift(half(x))) * TABLE["a"][0] + len(helpers.LIMITS)
    layer = helpers.Layer()
    optimizer = optax.sgd(rate)
    return toy.experiment(config), inner, layer, optimizer


SWEEP = fdl.grid(Config(), lr=RATES, seeds=2)


def claim(result):
    return helpers.unused(result)
'''

KEEP = {
    "a comment": ("experiment", "# a comment", "# another, longer one"),
    "a docstring": ("experiment", '"""Builds."""', '"""Builds it\n\n    all.\n    """'),
    "no docstring": ("experiment", '    """Builds."""\n', ""),
    "the question": ("experiment", "Does it?", "Does it really?"),
    "a form feed in a docstring": ("experiment", "Builds.", "Bui\x0clds \u2028 and.\x85"),
    "a form feed between": ("experiment", "\n\nSWEEP", "\n\x0c\nSWEEP"),
    "a wrapped line": ("experiment", "half(x))) * TABLE", "half(\n            x,\n        ))) * (TABLE"
                       ), "parentheses": ("experiment", "optax.sgd(rate)", "(optax.sgd((rate)))"),
    "an annotation of SWEEP": ("experiment", "SWEEP =", "SWEEP: fdl.Sweep ="),
    "an annotation of an argument": ("experiment", "def inner(x)", "def inner(x: float) -> float"),
    "an annotation of a variable": ("experiment", "rate: float =", "rate ="),
    "a constant of SWEEP": ("experiment", "RATES = (1e-3, 1e-2)", "RATES = (1e-3, 1e-2, 1e-1)"),
    "SWEEP itself": ("experiment", "seeds=2", "seeds=3"),
    "claim": ("experiment", "helpers.unused(result)", "helpers.unused(result) * 2"),
    "what claim calls": ("helpers", "x + UNUSED", "x - UNUSED"),
    "an unused constant": ("helpers", "UNUSED = 1", "UNUSED = 5"),
    "a new function": ("helpers", "class Base", "def fresh():\n    return 7\n\n\nclass Base"),
    "a helper's docstring": ("helpers", '"""Scaled."""', '"""Scaled more."""'),
    "a class's docstring": ("helpers", '"""A layer."""', ""),
    "a field's docstring": ("experiment", '"""rate"""', '"""the rate"""'),
    "a default in the config": ("experiment", "lr: float = 1e-3", "lr: float = 1e-2"),
    "quotes": ("experiment", 'TABLE["a"]', "TABLE['a']"),
    "a number's form": ("experiment", "FACTOR = 4.0", "FACTOR = 8.0 / 2"),
    "an unused import": ("experiment", "import optax", "import optax, json"),
    "the order of a set": ("helpers", '{"x", "y", "z"}', '{"z", "x", "y"}'),
    "the order of a dictionary": (
        "helpers", '{"a": (1, 2), "b": np.arange(4)}', '{"b": np.arange(4), "a": (1, 2)}'),
    "the place of a function": ("experiment", "def claim(", "def other():\n    pass\n\n\ndef claim("),
    "an idle statement": ("experiment", "    layer = ", "    pass\n    ...\n    layer = "),
}  # fmt: skip

CHANGE = {
    "a value in a helper": ("helpers", "SCALE = 2.0", "SCALE = 3.0"),
    "a value two modules away": ("inner/depth", "OFFSET = 0.5", "OFFSET = 0.25"),
    "a helper's code": ("helpers", "x * by", "x / by"),
    "a decorator's code": ("helpers", "2 * function(x)", "3 * function(x)"),
    "a decorator gone": ("helpers", "@doubled\n", ""),
    "a base class": ("helpers", "power = 2", "power = 3"),
    "a method": ("helpers", "x ** self.power", "x * self.power"),
    "a property": ("helpers", "return self.width", "return self.width + 1"),
    "a field of a class": ("helpers", "width: int = 3", "width: int = 4"),
    "a table": ("helpers", '"a": (1, 2)', '"a": (1, 3)'),
    "an array in a table": ("helpers", "np.arange(4)", "np.arange(1, 5)"),
    "what a cache begins as": ("helpers", "CACHE = {}", "CACHE = {3: 1}"),
    "a set": ("helpers", '"x", "y", "z"', '"x", "y"'),
    "a constant": ("experiment", "FACTOR = 4.0", "FACTOR = 5.0"),
    "a lambda": ("experiment", "lambda x: x + FACTOR", "lambda x: x - FACTOR"),
    "a partial": ("experiment", "jnp.multiply, 0.5", "jnp.multiply, 0.25"),
    "a partial's function": ("experiment", "jnp.multiply, 0.5", "jnp.divide, 0.5"),
    "a number": ("experiment", "config.lr * 0.5", "config.lr * 0.25"),
    "a number under a form feed": ("experiment", '"""Builds."""', '"""Bui\x0clds."""\n    config = None'),
    "an import under the same name": (
        "experiment", "from helpers import scaled as", "from helpers import unused as"),
    "the config's property": ("experiment", "2 * self.depth", "3 * self.depth"),
    "traced or static": ("experiment", "depth: int", "depth: float"),
    "a nested function": ("experiment", "return transform", "return -transform"),
    "an optimizer": ("experiment", "optax.sgd(rate)", "optax.adam(rate)"),
    "the names of a text": ("experiment", 'TABLE["a"]', 'TABLE["b"]'),
    "the experiment's own decorator": ("experiment", "def experiment", "@helpers.doubled\ndef experiment"),
}  # fmt: skip


def loaded(folder: Path, *edits: tuple[str, str, str]) -> Any:
    """The experiment's module in files with some edits, and its helpers, as fresh modules."""
    texts = {
        "experiment": EXPERIMENT,
        "helpers": HELPERS,
        "inner/depth": "OFFSET = 0.5\n",
        "inner/__init__": "",
    }
    for name, old, new in edits:
        assert old in texts[name], old
        texts[name] = texts[name].replace(old, new)
        if name == "experiment" and "half(\n" in new:  # closes the parenthesis that the edit opens
            texts[name] = texts[name].replace('* (TABLE["a"]', '* (TABLE)["a"]')
    for name, text in texts.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in ("helpers", "inner", "inner.depth", "exp"):
        sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        spec = importlib.util.spec_from_file_location("exp", folder / "experiment.py")
        assert spec and spec.loader
        module = sys.modules["exp"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


def program(folder: Path, *edits: tuple[str, str, str]) -> dict[str, Any]:
    module = loaded(folder, *edits)
    return of_program(module.experiment, module.Config)


@pytest.mark.parametrize("case", KEEP)
def test_what_means_the_same_is_the_same(tmp_path, case):
    before, after = program(tmp_path / "a"), program(tmp_path / "b", KEEP[case])
    assert before["seen"]
    assert differences(essence(before), essence(after)) == []


@pytest.mark.parametrize("case", CHANGE)
def test_what_means_something_else_is_another(tmp_path, case):
    before, after = program(tmp_path / "a"), program(tmp_path / "b", CHANGE[case])
    assert digest(essence(before)) != digest(essence(after)) and differences(before, after)


@pytest.mark.medium
def test_the_same_on_every_version_of_python_and_place(tmp_path):
    """The digests of code are stored values; names, not paths; no order of sets or dictionaries."""
    first = program(tmp_path / "a")
    assert first["code"]["exp.experiment"]["digest"] == "400e575b73f33e5d"
    assert first["code"]["helpers.scaled"]["digest"] == "1c6fd5ab16b6925b"
    second = program(tmp_path / "elsewhere")
    assert essence(first) == essence(second) and str(tmp_path) not in str(first)
    code = "from tests.test_identity import *; print(digest(essence(program(Path(sys.argv[1])))))"
    printed = {
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], capture_output=True, text=True,
                       check=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in "12"
    }  # fmt: skip
    assert printed == {digest(essence(first)) + "\n"}


def test_differences_name_what_changed(tmp_path):
    edits = [CHANGE[case] for case in ("a value in a helper", "a helper's code", "an optimizer")]
    changes = differences(program(tmp_path / "a"), program(tmp_path / "b", *edits))
    assert "values.helpers.SCALE: 2.0 -> 3.0" in changes
    assert (
        "code.helpers.scaled: line 3: 'return x * by + depth.OFFSET' -> 'return x / by + depth.OFFSET'"
        in changes
    )
    assert any(
        line.startswith("code.exp.experiment: line ") and "optax.adam(rate)" in line for line in changes
    )


def test_a_source_that_changed_since_it_was_loaded_is_not_taken_for_the_code(tmp_path):
    module = loaded(tmp_path)
    assert of_program(module.experiment, module.Config)["seen"]
    path = tmp_path / "experiment.py"
    path.write_text(EXPERIMENT.replace("optax.sgd(rate)", "optax.adam(rate)"))
    assert not of_program(module.experiment, module.Config)["seen"]


def typed(text: str) -> Any:
    """An experiment that was typed in: no file has its source."""
    names: dict[str, Any] = {"toy": toy}
    exec(text, names)
    return names["build"]


def test_without_source_the_lowered_program_decides():
    text = "def build(config):\n    built = toy(config)\n    learner = built.learner\n" \
           "    step = lambda s, b, k: learner.step(s, {**b, 'x': b['x'] * 2.0}, k)\n" \
           "    return built._replace(learner=learner._replace(step=step))\n"  # fmt: skip
    one, same, other = (typed(each) for each in (text, "\n\n" + text, text.replace("2.0", "3.0")))
    seen = of_program(one, Toy)["seen"]
    first, again, changed = (of_structure(build, Toy(), seen=seen) for build in (one, same, other))
    assert not seen and first == again and set(first) == set(changed)
    assert [name for name in first if first[name] != changed[name]] == ["lowered", "program"]


def test_the_structure_is_the_same_for_any_of_its_runs_and_another_with_other_data():
    first = of_structure(toy, Toy(lr=0.3), seen=True)
    assert first == of_structure(toy, Toy(lr=0.1, noise=0.5), seen=True) and "program" not in first
    labels = np.arange(96, dtype=np.float32)

    def other(config):
        built = toy(config)
        return built._replace(train=built.train._replace(arrays={**built.train.arrays, "y": labels}))

    changed = of_structure(other, Toy(), seen=True)
    (line,) = differences(first, changed)
    assert line.startswith("data.train.arrays.y: 'float32[96] ")
    labels[0] = 7  # in place
    assert of_structure(other, Toy(), seen=True) != changed


def test_weights_that_are_read_while_it_is_built_count(tmp_path):
    path = tmp_path / "weights.npy"

    def build(config):
        built, start = toy(config), np.load(path)
        init = lambda key: {**built.learner.init(key), "weights": jnp.asarray(start)}  # noqa: E731
        return built._replace(learner=built.learner._replace(init=init))

    found = []
    for scale in (1, 1, 2):
        np.save(path, np.ones(5, np.float32) * scale)
        found.append(of_structure(build, Toy(), seen=True))
    assert found[0] == found[1] and differences(found[0], found[2])[0].startswith("constants: ")


def mapped(folder: Path, values: np.ndarray, *, time: int) -> Any:
    """A training source over a memory-mapped file with a time of change."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "x.npy", values)
    os.utime(folder / "x.npy", (time, time))
    rows = data.on_host({"x": np.load(folder / "x.npy", mmap_mode="r")[2:], "y": np.arange(len(values) - 2)})
    return data.shuffled(rows, batch_size=2)


def test_files_on_the_host_count_by_name_size_and_time(tmp_path):
    def told(source):
        return of_experiment(toy(Toy())._replace(train=source))["values"]["experiment"]["train"]

    values = np.arange(8.0)
    first, moved, later, longer = (
        told(mapped(tmp_path / name, each, time=time))
        for name, each, time in (
            ("a", values, 5),
            ("b", values, 5),
            ("a", -values, 6),
            ("a", np.arange(9.0), 6),
        )
    )
    assert first == moved and len({digest(one) for one in (first, later, longer)}) == 3
    (line,) = differences(first, later)
    assert "x.npy" in line and "5000000000" in line and "6000000000" in line


@pytest.mark.parametrize(("one", "other"), [
    (optax.adam(1e-3), optax.adam(1e-2)),
    (optax.adam(1e-3), optax.adamw(1e-3)),
    (jax.random.key(0), jax.random.key(1)),
    (np.zeros(3), np.zeros(3, np.float32)),
    (np.zeros((2, 3)), np.zeros((3, 2))),
    (np.array([{"a": 1}]), np.array([{"a": 2}])),
    (np.random.default_rng(0), np.random.default_rng(1)),
    (jax.jit(lambda x: x + 1), jax.jit(lambda x: x + 2)),
    (jnp.tanh, jnp.sin),
    (Path("a"), Path("b")),
    ({1: 2}, {1: 3}),
    (list(range(2000)), list(range(1, 2001))),
    ("x" * 300 + "a", "x" * 300 + "b"),
])  # fmt: skip
def test_values_differ_where_they_differ(one, other):
    first, again, second = (meaning({"value": value}) for value in (one, one, other))
    assert not first.unseen and first.values == again.values
    assert (first.values, first.code) != (second.values, second.code)
