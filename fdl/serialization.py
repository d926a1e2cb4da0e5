"""Configs as JSON, and fingerprints that say whether two runs are the same run."""

import dataclasses
import enum
import hashlib
import importlib
import itertools
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from fdl.configs import check_names, values

PUBLIC = ("jax.nn", "jax.numpy", "jax.nn.initializers", "flax.linen", "optax")
"""Modules under whose stable names library functions are written (their own are private)."""


def to_json(config: Any) -> dict[str, Any]:
    """A config as a JSON-able dictionary; functions, enums and dataclasses by qualified name.

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
    if isinstance(value, enum.Enum):
        return {"enum": function_name(type(value)), "name": value.name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = {key: _encode(one, f"{name}.{key}") for key, one in values(value).items()}
        return {"dataclass": function_name(type(value)), "fields": inner}
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
        "use numbers, strings, booleans, None, enums, functions, tuples and dataclasses of them"
    )


def _decode(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, name) for item in value)
    if isinstance(value, Mapping):
        kind = next((kind for kind in ("enum", "dataclass") if kind in value), "function")
        found = find(str(value.get(kind)))
        if found is None or (kind == "enum" and value["name"] not in found.__members__):
            raise ValueError(
                f"field {name!r}: there is no {kind} {value.get(kind)!r} {value.get('name', '')}"
            )
        if kind == "enum":
            return found[value["name"]]
        return from_json(found, value["fields"]) if kind == "dataclass" else found
    return value


def cell_of(value: Any) -> Any:
    """A value of a config that `to_json` wrote, as a table holds it: as `fdl.cells.cell` of the value itself,
    without importing what it names."""
    if isinstance(value, list):
        return str(tuple(map(cell_of, value)))
    if not isinstance(value, Mapping):
        return value
    if "enum" in value:
        return value["name"]
    if "dataclass" in value:
        given = ", ".join(f"{name}={cell_of(one)}" for name, one in value["fields"].items())
        return f"{value['dataclass'].rpartition('.')[2]}({given})"
    return value["function"].rpartition(".")[2]


def digest(data: Any) -> str:
    """16 hexadecimal digits that stand for JSON-able data; the same on every Python."""
    return _hashed(_canonical(data))


def file_name(name: str, *, of: str = "") -> str:
    """A name as that of a file: itself, or with a mark where it is long or of letters that no file should
    have.

    Args:
      name: the name.
      of: what the mark stands for; the name itself if empty.
    """
    plain = re.fullmatch(r"\w[\w .,+=()-]{0,100}", name, re.ASCII)
    return name if plain else marked(name, of=of or name)


def marked(name: str, *, of: str) -> str:
    """The beginning of a name with a mark that stands for `of`."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '-', name)[:60]}-{digest(of)[:8]}"


def fingerprint(config: Any, *, seed: int = 0, identity: Any = None) -> str:
    """Stands for one run: its config, its seed and what its experiment means, as JSON-able data."""
    return fingerprints(identity)(config, seed)


RECORDED = ("versions", "lowered", "experiment_file")
"""Entries of an identity that belong to a version of the libraries: no part of a fingerprint."""


def fingerprints(identity: Any) -> Callable[[Any, int], str]:
    """The `fingerprint` of a config and a seed as a function: what all runs share is long, written once."""
    shared = _canonical(essence(identity))

    def one(config: Any, seed: int) -> str:
        # The very text of {"config": ..., "identity": ..., "seed": ...}.
        return _hashed(
            f'{{"config":{_canonical(to_json(config))},"identity":{shared},"seed":{_canonical(seed)}}}'
        )

    return one


def essence(identity: Any) -> Any:
    """JSON-able data without what tells no runs apart: what is `RECORDED`, and texts with a digest."""
    if _told(identity):
        return identity["digest"]
    if isinstance(identity, Mapping):
        return {name: essence(value) for name, value in identity.items() if name not in RECORDED}
    return [essence(value) for value in identity] if isinstance(identity, list | tuple) else identity


def differences(old: Mapping[str, Any], new: Mapping[str, Any], *, prefix: str = "") -> list[str]:
    """One line `name: old -> new` for each entry in which two JSON-able mappings differ.

    Mappings inside are compared entry by entry, texts of several lines by their first other line, and
    what has a `digest` and a `text` by its digest.
    """
    found = []
    for name in dict.fromkeys([*old, *new]):
        a, b = old.get(name, "absent"), new.get(name, "absent")
        if _told(a) or _told(b):
            if not (_told(a) and _told(b) and a["digest"] == b["digest"]):
                found.append(f"{prefix}{name}: {_first_difference(_text(a), _text(b))}")
        elif isinstance(a, Mapping) or isinstance(b, Mapping):
            parts = (one if isinstance(one, Mapping) else {} for one in (a, b))
            found += differences(*parts, prefix=f"{prefix}{name}.") or [f"{prefix}{name}: {_pair(a, b)}"] * (
                a != b
            )
        elif a != b:
            found.append(f"{prefix}{name}: {_first_difference(a, b)}")
    return found


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _told(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"digest", "text"}


def _text(value: Any) -> str:
    return value["text"] if _told(value) else "absent"


def _first_difference(a: Any, b: Any) -> str:
    if not (isinstance(a, str) and isinstance(b, str) and "\n" in a and "\n" in b):
        return _pair(a, b)
    pairs = itertools.zip_longest(a.split("\n"), b.split("\n"), fillvalue="")
    different = ((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    line, (was, now) = next(different, (1, ("", "")))
    return f"line {line}: {_pair(was.strip(), now.strip())}"


def _pair(a: Any, b: Any) -> str:
    return " -> ".join(text if len(text) <= 100 else f"{text[:97]}..." for text in (repr(a), repr(b)))
