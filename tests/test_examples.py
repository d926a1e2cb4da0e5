"""Every public function that a user calls has an example, and all examples run as they are printed."""

import doctest
import importlib
import inspect
import pathlib
import pkgutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdl

PACKAGES = (
    "fdl",
    "fdl.analysis",
    "fdl.data",
    "fdl.data.synthetic",
    "fdl.inspection",
    "fdl.losses",
    "fdl.metrics",
    "fdl.models",
    "fdl.optim",
    "fdl.stats",
    "fdl.tasks",
)
"""Whose public names have examples; an example may use `fdl`, `jax`, `jnp`, `np` and `pathlib`."""
FILES = (
    "fdl",
    "fdl.arguments",
    "fdl.configs",
    "fdl.identity.asked",
    "fdl.public",
    "fdl.sweeps.distributions",
    "fdl.sweeps.drawn",
    "fdl.sweeps.goal",
    "fdl.sweeps.run",
    "fdl.sweeps.schedulers",
    "fdl.sweeps.searching",
    "fdl.sweeps.space",
    "fdl.text",
    "fdl.train.check",
    "fdl.train.early_stopping",
    "fdl.train.fit",
    "fdl.train.profiling",
    "fdl.train.run",
    "fdl.trained.loading",
)
"""Modules with examples outside the packages."""
GIVEN = "users get it from a function, whose example shows it"
WITHOUT = {
    "fdl": dict.fromkeys(
        (
            *(
                "Best",
                "Claim",
                "Comparison",
                "Curves",
                "Experiment",
                "Learner",
                "Next",
                "Result",
                "Scheduler",
                "Search",
                "Source",
                "Space",
                "Stopper",
            ),
            *("Sweep", "Trial", "Verdict"),
        ),
        GIVEN,
    ),
    "fdl.analysis": dict.fromkeys(
        (
            *("Barrier", "Bezier", "Certificate", "Collapse", "Corruption", "CriticalPoint", "NegativeShare"),
            *("NoiseScale", "Probe", "Ritz", "SpikingEnergy"),
        ),
        GIVEN,
    ),
    "fdl.data": dict.fromkeys(("Rows", "Splits", "Vocabulary"), GIVEN),
    "fdl.inspection": {"Inspection": GIVEN},
    "fdl.metrics": dict.fromkeys(
        (
            *("AllRows", "Calibration", "Confusion", "GroupRates", "Mean", "Overlap", "RiskCoverage"),
            "TokenBleu",
        ),
        GIVEN,
    ),
    "fdl.optim": {"Frozen": GIVEN},
    "fdl.stats": dict.fromkeys(
        (
            *("Claim", "Comparison", "Comparisons", "Criterion", "Effect", "Effects", "Judged", "Rate"),
            *("Rates", "Verdict"),
        ),
        GIVEN,
    ),
    "fdl.tasks": {
        "Training": "a type",
        "BatchTraining": "a type",
        "State": GIVEN,
        "precision_over": "compiles a model; its docstring says the call",
    },
}
"""Names without an example of their own, and why."""
NOT_RUN = {
    *("mnist", "fashion_mnist", "cifar10", "cifar100", "tiny_shakespeare_file", "spoken_digits"),
    *("photos", "photo_patches", "faces", "sunspots", "co2", "synthesised_digits"),
    *("array_record", "hugging_face", "train_bpe", "read_bpe", "write_bpe", "bleu"),
    "mnist1d",
}
"""Examples with a line that is not run: it downloads, needs an extra, or takes seconds."""


def modules(name: str) -> list[str]:
    """A module and all below it."""
    found = importlib.import_module(name)
    below = pkgutil.walk_packages(getattr(found, "__path__", []), f"{name}.")
    return [name, *(module.name for module in below)]


MODULES = sorted({*FILES, *(module for package in PACKAGES[1:] for module in modules(package))})


def exported(package: str) -> dict[str, Any]:
    """The public functions and classes of fdl that a package offers."""
    found = importlib.import_module(package)
    values = {name: getattr(found, name) for name in dir(found) if not name.startswith("_")}
    return {
        name: value
        for name, value in values.items()
        if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__.startswith("fdl.")
    }


def examples(value: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    """In a folder of their own, where they may write files."""
    monkeypatch.chdir(tmp_path)
    known = {"fdl": fdl, "jax": jax, "jnp": jnp, "np": np, "pathlib": pathlib}
    finder, told = doctest.DocTestFinder(exclude_empty=True), []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in finder.find(importlib.import_module(name), name, extraglobs=known):
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_users_call_has_an_example(package):
    found = exported(package)
    # The arguments of a learner are those of its task, which has an example.
    learners = {name for name in found if package == "fdl.tasks" and name.endswith("_learner")}
    lacking = {name for name, value in found.items() if not examples(value)}
    assert found and lacking - learners == WITHOUT.get(package, {}).keys()
    skipping = {
        name
        for name, value in found.items()
        if any(example.options.get(doctest.SKIP) for example in examples(value))
    }
    assert skipping <= NOT_RUN
