"""Whose code it is: the user's, which counts itself, or an installed package's, which has a version."""

import functools
import hashlib
import importlib.metadata
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import fdl

_OURS = Path(fdl.__file__).resolve().parent
_INSTALLED = {"site-packages", "dist-packages"}


@functools.cache
def installed(name: str | None) -> bool:
    """Whether a file is an installed package's, Python's or fdl's own; also what has no file (built in)."""
    if not name or name.startswith("<frozen"):
        return True
    if name.startswith("<"):  # typed in, or a notebook's cell
        return False
    path = Path(name).resolve()
    standard = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")]
    above = [*path.parents]
    return bool(_INSTALLED & set(path.parts)) or _OURS in above or any(one in above for one in standard)


def library(module: ModuleType | None) -> bool:
    """Whether a module is an installed one."""
    if module is None:
        return True
    return module.__name__ != "__main__" and installed(
        getattr(module, "__file__", None) or _first_path(module)
    )


def _first_path(module: ModuleType) -> str | None:
    """The folder of a package without `__init__.py`."""
    return next(iter(getattr(module, "__path__", ())), None)


def module_name(name: str) -> str:
    """A module's name; of the program that runs the name of its file."""
    if name != "__main__":
        return name
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).stem if file else "__main__"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python, of what decides every run's numbers, and of some packages, by import name.

    fdl that runs from a checkout has, besides its version, a digest of its source.
    """
    always = ("fdl", "jax", "jaxlib", "flax", "optax", "numpy")
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in sorted({*always, *packages}):
        version = _version(name)
        if version is not None:
            found[name] = version
    return found


def _version(name: str) -> str | None:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        shown: Any = getattr(sys.modules.get(name), "__version__", None)
        version = shown if isinstance(shown, str) else None
    if name == "fdl" and not _INSTALLED & set(_OURS.parts):
        return f"{version} (source {_own_source()})"
    return version


@functools.cache
def _own_source() -> str:
    digest = hashlib.sha256()
    for path in sorted(_OURS.rglob("*.py")):
        digest.update(f"{path.relative_to(_OURS)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
