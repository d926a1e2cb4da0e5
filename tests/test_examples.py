"""The examples in docstrings run, and what users call has one."""

import doctest
import importlib
import inspect
import pkgutil
from typing import Any

import pytest

PACKAGES = ("fdl.models", "fdl.tasks", "fdl.stats")
FILES = (
    "fdl.configs",
    "fdl.public",
    "fdl.sweeps.distributions",
    "fdl.sweeps.space",
    "fdl.sweeps.run",
    "fdl.text",
)
FILES += ("fdl.text", "fdl.train.check", "fdl.train.early_stopping", "fdl.train.fit", "fdl.train.run")
RESULT = "what a function returns, not what a user calls"
WITHOUT = {
    "fdl.models": {},
    "fdl.tasks": {
        "Training": "a type",
        "BatchTraining": "a type",
        "State": RESULT,
        "precision_over": "compiles a model; its docstring says the call",
    },
    "fdl.stats": dict.fromkeys(
        ("Comparison", "Comparisons", "Criterion", "Rate", "Rates", "Verdict"), RESULT
    ),
}
"""Names without an example of their own, and why."""


def modules_of(package: str) -> list[str]:
    found = importlib.import_module(package)
    return [package, *(m.name for m in pkgutil.walk_packages(found.__path__, f"{package}."))]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", [*(m for package in PACKAGES for m in modules_of(package)), *FILES])
def test_the_examples_of_a_module_run(name):
    try:
        found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    except ValueError as error:
        if "extra" not in str(error):
            raise
        pytest.skip(str(error))
    assert not found.failed


def called(package: str) -> dict[str, Any]:
    """The functions and classes of a package that users call, by name."""
    found, result = importlib.import_module(package), {}
    for name in dir(found):
        value = getattr(found, name)
        if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__.startswith(package):
            result[name] = value
    return result


@pytest.mark.parametrize("package", PACKAGES)
def test_what_users_call_has_an_example(package):
    names = called(package)
    lacking = {name for name, value in names.items() if ">>>" not in (value.__doc__ or "")}
    # The arguments of a learner are those of its task, which has an example; one example is for all.
    learners = {name for name in names if package == "fdl.tasks" and name.endswith("_learner")}
    assert lacking - learners == WITHOUT[package].keys()
    assert len(names) >= 15 and (package != "fdl.tasks" or "classification_learner" not in lacking)


def test_what_the_top_of_the_library_exports_has_an_example():
    import fdl

    without = {
        "Batch": "a type",
        "Comparison": RESULT,
        "Best": "shown by `fdl.tasks.training.BatchTraining`",
        "Experiment": RESULT,
        "Learner": "an example of it is `fdl.tasks.gradient_learner`",
        "Metrics": "a type",
        "Result": RESULT,
        "Source": RESULT,
        "State": "a type",
        "Stopper": RESULT,
        "Sweep": RESULT,
        "Trial": RESULT,
        "Verdict": RESULT,
    }
    values = {name: getattr(fdl, name) for name in dir(fdl)}
    values = {name: v for name, v in values.items() if inspect.isfunction(v) or inspect.isclass(v)}
    lacking = {name for name, value in values.items() if ">>>" not in (value.__doc__ or "")}
    assert lacking <= without.keys(), lacking - without.keys()
