"""What TAB shows of a package: names for users, and no submodule but those that users name."""

import importlib
import types

import pytest

from fdl.public import public

SHOWN = {
    "fdl.analysis": (),
    "fdl.inspection": (),
    "fdl.metrics": (),
    "fdl.models": ("hopfield", "initializers", "mixture_density"),
    "fdl.optim": (),
    "fdl.pretrained": (),
    "fdl.stats": (),
    "fdl.sweeps": (),
    "fdl.tasks": (
        "contrastive_losses",
        "games",
        "gan_losses",
        "generation",
        "gradient",
        "metric_losses",
        "noise",
        "samplers",
    ),
    "fdl.train": (),
}


@pytest.mark.parametrize("package", SHOWN)
def test_dir_shows_names_for_users_only(package):
    found = importlib.import_module(package)
    values = {name: getattr(found, name) for name in dir(found)}
    modules = {name for name, value in values.items() if isinstance(value, types.ModuleType)}
    assert modules == set(SHOWN[package])
    assert values and not any(name.startswith("_") for name in values)
    assert all(getattr(v, "__module__", "fdl.").startswith("fdl.") for v in values.values() if callable(v))
    exported = {n for n, v in vars(found).items() if not n.startswith("_") and callable(v)}
    assert exported <= values.keys()


def test_public_names_are_sorted_and_complete():
    namespace = {"b": 1, "a": len, "_c": 2, "m": types, "n": types}
    assert public(namespace) == ["a", "b"] and public(namespace, modules=["n"]) == ["a", "b", "n"]
