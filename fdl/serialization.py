"""Configs as JSON, and fingerprints that say whether two runs are the same run."""

import ast
import hashlib
import importlib
import itertools
import json
import sys
from collections.abc import Mapping
from typing import Any

from fdl.configs import check_names, values

PUBLIC = ("jax.nn", "jax.numpy", "jax.nn.initializers", "flax.linen", "optax")
"""Modules under whose stable names library functions are written (their own are private)."""


def to_json(config: Any) -> dict[str, Any]:
    """A config as a JSON-able dictionary; functions by qualified name.

    Raises:
      ValueError: a value has no name or form that another process could read back, as a lambda.
    """
    return {name: _encode(value, name) for name, value in values(config).items()}


def from_json(cls: Any, data: Mapping[str, Any]) -> Any:
    """The config of class `cls` that `to_json` wrote as `data`.

    Raises:
      ValueError: an unknown field, a bad value, or a function that is not found.
    """
    check_names(cls, data)
    return cls(**{name: _decode(value, name) for name, value in data.items()})


def function_name(function: Any) -> str:
    """A name under which another process finds the function, as `"jax.nn.relu"`.

    Raises:
      ValueError: for a lambda, a function inside a function, a partial.
    """
    name = getattr(function, "__name__", None)
    for module in PUBLIC:
        if name and getattr(sys.modules.get(module), name, None) is function:
            return f"{module}.{name}"
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", "<")
    if module is None or "<" in qualname or find(f"{module}.{qualname}") is not function:
        raise ValueError(
            f"{function!r} has no name that another process could find; "
            "write it as a `def` at the top of the experiment's file"
        )
    return f"{module}.{qualname}"


def find(qualified: str) -> Any:
    """The object of a qualified name, as `"jax.nn.relu"`, or None."""
    parts = qualified.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:split]))
        except (ImportError, ValueError):
            continue
        for part in parts[split:]:
            found = getattr(found, part, None)
        return found
    return None


def _encode(value: Any, name: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [_encode(item, name) for item in value]
    if callable(value):
        try:
            return {"function": function_name(value)}
        except ValueError as error:
            raise ValueError(f"field {name!r}: {error}") from None
    raise ValueError(
        f"field {name!r} is {value!r} ({type(value).__name__}), which has no JSON form; "
        "use numbers, strings, booleans, None, functions and tuples of them"
    )


def _decode(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, name) for item in value)
    if isinstance(value, Mapping):
        found = find(str(value.get("function")))
        if found is None:
            raise ValueError(f"field {name!r}: there is no function {value.get('function')!r}")
        return found
    return value


def digest(data: Any) -> str:
    """16 hexadecimal digits that stand for JSON-able data; the same on every Python."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(config: Any, *, seed: int = 0, source: str = "") -> str:
    """Stands for one run: its config, its seed and the source of its experiment's file."""
    return digest({"config": to_json(config), "seed": seed, "source": run_source(source)})


def run_source(source: str) -> str:
    """The part of an experiment file's source that decides what a run computes.

    The assignment to `SWEEP` and the function `claim` choose runs and judge them, so they are left
    out: adding an arm or mending a claim leaves finished runs valid. Blank lines do not count.
    """
    lines = source.splitlines()
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        sweep = any(isinstance(target, ast.Name) and target.id == "SWEEP" for target in targets)
        if sweep or (isinstance(node, ast.FunctionDef) and node.name == "claim"):
            end = node.end_lineno or node.lineno
            lines[node.lineno - 1 : end] = [""] * (end - node.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def differences(old: Mapping[str, Any], new: Mapping[str, Any], *, prefix: str = "") -> list[str]:
    """One line `name: old -> new` for each entry in which two JSON-able mappings differ.

    Mappings inside are compared entry by entry, texts of several lines by their first other line.
    """
    found = []
    for name in dict.fromkeys([*old, *new]):
        a, b = old.get(name, "absent"), new.get(name, "absent")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, prefix=f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: {_first_difference(a, b)}")
    return found


def _first_difference(a: Any, b: Any) -> str:
    if not (isinstance(a, str) and isinstance(b, str) and "\n" in a + b):
        return f"{a!r} -> {b!r}"
    pairs = itertools.zip_longest(a.splitlines(), b.splitlines(), fillvalue="")
    line, (was, now) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return f"line {line}: {was.strip()!r} -> {now.strip()!r}"
