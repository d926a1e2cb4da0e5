"""Every public function that a user calls has an example, and all examples run as they are printed."""

import doctest
import importlib
import inspect
import pathlib
import pkgutil
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdl

PACKAGES = ("fdl.data", "fdl.data.synthetic", "fdl.losses", "fdl.metrics", "fdl.optim")
"""Whose public names have examples; an example may use `fdl`, `jax`, `jnp`, `np` and `pathlib`."""

TYPES = {
    *("Rows", "Splits", "Vocabulary"),
    *("Calibration", "Mean", "Overlap"),
    "Frozen",
}
"""Classes that users get from functions, whose examples show them."""

NOT_RUN = {
    *("mnist", "fashion_mnist", "cifar10", "cifar100", "tiny_shakespeare_file", "spoken_digits"),
    *("photos", "photo_patches", "faces", "sunspots", "co2", "synthesised_digits"),
    *("array_record", "hugging_face", "train_bpe", "read_bpe", "write_bpe", "bleu"),
    "mnist1d",
}
"""Examples with a line that is not run: it downloads, needs an extra, or takes seconds."""


def modules(name: str) -> list[str]:
    """A module and all below it; of what several packages contain, only in the first."""
    found = importlib.import_module(name)
    below = pkgutil.walk_packages(getattr(found, "__path__", []), f"{name}.")
    return [name, *(module.name for module in below)]


MODULES = sorted({module for package in PACKAGES for module in modules(package)})


def exported(package: ModuleType) -> dict[str, Any]:
    """The public functions and classes of fdl that a package offers."""
    found = {name: value for name, value in vars(package).items() if not name.startswith("_")}
    return {
        name: value
        for name, value in found.items()
        if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__.startswith("fdl.")
    }


def examples(value: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    """In a folder of their own, where they may write files."""
    monkeypatch.chdir(tmp_path)
    known = {"fdl": fdl, "jax": jax, "jnp": jnp, "np": np, "pathlib": pathlib}
    finder, told = doctest.DocTestFinder(exclude_empty=True), []
    runner = doctest.DocTestRunner()
    for test in finder.find(importlib.import_module(name), name, extraglobs=known):
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


@pytest.mark.parametrize("name", PACKAGES)
def test_what_users_call_has_an_example(name):
    found = exported(importlib.import_module(name))
    assert found
    without = {one for one, value in found.items() if not examples(value)}
    assert not without - TYPES
    for one, value in found.items():
        skipped = [e for e in examples(value) if e.options.get(doctest.SKIP)]
        assert bool(skipped) == (one in NOT_RUN), one
        assert len(examples(value)) <= 6, one
