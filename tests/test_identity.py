"""The identity of a program: what must not change it, and what must."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from fdl.serialization import differences, digest, essence
from fdl.train.identity import of_program

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
