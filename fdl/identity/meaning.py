"""What functions and values mean: the code that they reach, and the values that it reads.

The walk is over live objects: a function leads to its own code, to what it closes over, to its defaults and
to the global names that it reads, in every module that is not an installed package. So what nothing reads has
no part in it, and a value counts as it is now, wherever it was computed.
"""

import ast
import collections
import dataclasses
import math
import os
import sys
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fdl.configs import is_config, traced_fields
from fdl.identity.content import array_words, digest_of, mapped_words
from fdl.identity.found import Meaning
from fdl.identity.members import (
    METHODS,
    bare,
    cells_of,
    closed_over,
    code_of,
    imported,
    leaves,
    public_name,
    state_of,
)
from fdl.identity.places import installed, library, module_name
from fdl.identity.syntax import (
    assigned,
    canonical,
    class_syntax,
    function_syntax,
    global_uses,
    local_imports,
    written,
)

_LONG = 200
"""Texts of more characters are told by their digest."""
_MANY = 1000
"""Descriptions of more parts are told by their digest."""
_PLAIN = (bool, int, float, str, np.ndarray)
_CONTAINERS = (dict, list, set, bytearray, collections.deque)
"""What methods such as `update` change; others' may do anything, as those of an optimizer."""
_LOOKED_UP = {"eval", "exec", "globals", "__import__", "import_module"}
"""Functions by which code reaches what its names do not tell."""


def meaning(roots: Mapping[str, Any], *, whole: bool = False) -> Meaning:
    """What some values, functions and classes mean.

    Args:
      roots: them, by the names under which `values` is to list them.
      whole: whether of data on the host that says itself what it is, the functions that read it count too:
        they may read it otherwise.
    """
    walk = _Walk(Meaning({}, {}, set(), set(), set()), whole)
    for name, value in roots.items():
        walk.found.values[name] = walk.describe(value)
    while walk.ahead:  # not one within another: programs may be deeper than Python's stack
        walk.reach(*walk.ahead.pop(0))
    return walk.found


@dataclasses.dataclass
class _Walk:
    """A walk under way: what is found, what is being described, and what was (alive, so that ids hold)."""

    found: Meaning
    whole: bool
    under_way: list[int] = dataclasses.field(default_factory=list)
    known: dict[Any, Any] = dataclasses.field(default_factory=dict)
    labels: dict[Any, str] = dataclasses.field(default_factory=dict)
    ahead: list[Any] = dataclasses.field(default_factory=list)
    folders: dict[str, None] = dataclasses.field(default_factory=dict)

    def describe(self, value: Any) -> Any:
        """A value in JSON-able words: the same for equal values in every process."""
        if type(value) in (type(None), bool, int, float):
            return value if value is None or math.isfinite(value) else repr(value)
        if isinstance(value, str) and type(value) is str:
            return self._text(value)
        if id(value) in self.known:
            return self.known[id(value)][1]
        if id(value) in self.under_way:
            return "itself"
        self.under_way.append(id(value))
        try:
            described = self._compound(value)
        except Exception as error:  # whatever an object of others does when it is asked for its state
            described = self._unseen(value, f"{type(error).__name__}: {error}")
        self.under_way.pop()
        if leaves(described) > _MANY:
            described = f"{type(value).__name__} of {len(described)} ({digest_of(repr(described))})"
        self.known[id(value)] = (value, described)
        return described

    def _compound(self, value: Any) -> Any:
        if isinstance(value, jax.core.Tracer):  # pyright: ignore[reportAttributeAccessIssue]
            return self._unseen(value, "it is being traced")
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            return self._array(value)
        if isinstance(value, types.ModuleType):
            return self._module(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, bytes | complex | range | slice | np.dtype | types.EllipsisType):
            return self._text(repr(value))
        if isinstance(value, os.PathLike):
            return self._text(os.fspath(value))
        if isinstance(value, dict | types.MappingProxyType):
            return self._mapping(value)
        if isinstance(value, set | frozenset):
            return {"set": sorted((self.describe(one) for one in value), key=repr)}
        if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
            return [self.describe(one) for one in value]
        name = public_name(value)
        if name and library(sys.modules.get(name.rpartition(".")[0])):
            return self._library(name)
        return {"type": self.describe(type(value)), **self._mapping(state_of(value, whole=self.whole))}

    def _text(self, text: str) -> str:
        """A text; where it is a path beside the user's code, relative to that."""
        for folder in self.folders:
            if text == folder or text.startswith(folder + os.sep):
                text = "..." + text[len(folder) :]
        return text if len(text) <= _LONG else f"{text[:40]}... ({len(text)} characters, {digest_of(text)})"

    def _array(self, value: Any) -> str | Any:
        if isinstance(value, np.ndarray) and value.dtype == object:
            return [list(value.shape), self.describe(value.tolist())]
        words = (mapped_words(value) if isinstance(value, np.ndarray) else None) or array_words(value)
        self.found.arrays.add(words)
        return words

    def _mapping(self, value: Mapping[Any, Any]) -> Any:
        if all(type(key) is str for key in value):
            return {key: self.describe(value[key]) for key in sorted(value)}
        return {"pairs": sorted(([self.describe(k), self.describe(v)] for k, v in value.items()), key=repr)}

    def _module(self, module: types.ModuleType) -> str:
        if library(module):
            return self._library(module.__name__)
        for name, value in sorted(vars(module).items()):
            if name[:2] != "__" and name not in ("SWEEP", "claim"):
                self._bind(f"{module_name(module.__name__)}.{name}", value, ())
        return f"module {module_name(module.__name__)}"

    def _library(self, name: str) -> str:
        package = name.partition(".")[0]
        if package not in sys.stdlib_module_names:
            self.found.packages.add(package)
        return name

    def _function(self, function: types.FunctionType) -> Any:
        code, scope = function.__code__, function.__globals__
        name = scope.get("__name__", "")
        cells, made = cells_of(function), code.co_filename[:1] == "<"
        made = made and name in sys.modules and library(sys.modules[name])  # by a library, as it runs
        if installed(code.co_filename) or made:
            public = public_name(function)
            label = self._library(public or f"{name}.{code.co_qualname}")
            if not cells or (
                public and hasattr(function, "__wrapped__")
            ):  # a decorator's, around one of a module
                return label
            package = label.partition(".")[0]  # its inner modules are moved from version to version
            return {"function": f"{package}: {code.co_qualname}", "around it": self._mapping(cells)}
        label = self._code(function, name, code.co_freevars)
        extra = {
            "around it": cells,
            "defaults": {**dict(enumerate(function.__defaults__ or ())), **(function.__kwdefaults__ or {})},
            "attributes": {key: one for key, one in vars(function).items() if key[:2] != "__"},
        }
        return {"function": label, **{key: self._mapping(one) for key, one in extra.items() if one}}

    def _code(self, function: types.FunctionType, name: str, free: tuple[str, ...]) -> str:
        code = function.__code__
        key = (code.co_filename, code)
        self.folders.setdefault(os.path.dirname(os.path.abspath(code.co_filename)))
        if key not in self.labels:
            label = self.labels[key] = self._label(f"{module_name(name)}.{code.co_qualname}")
            node = function_syntax(code, function.__globals__)
            if node is None:
                self._unseen(function, "its source is not to be seen, or was changed since it was loaded")
                self.found.code[label] = {"digest": "", "text": ""}
            else:
                self._enter(label, node)
                self.ahead.append((node, function.__globals__, free))
        return self.labels[key]

    def _enter(self, label: str, node: ast.AST) -> None:
        self.found.code[label] = {"digest": digest_of(canonical(node)), "text": ast.unparse(node)}

    def _label(self, name: str) -> str:
        label, number = name, 1
        while label in self.found.code:
            number += 1
            label = f"{name}#{number}"
        return label

    def _class(self, cls: type) -> str:
        module = sys.modules.get(cls.__module__)
        if cls.__module__ != "__main__" and library(module):
            return self._library(f"{cls.__module__}.{cls.__qualname__}")
        if cls not in self.labels:
            self.labels[cls] = self._label(f"{module_name(cls.__module__)}.{cls.__qualname__}")
            self._class_entry(cls, self.labels[cls], vars(module) if module else {})
        return self.labels[cls]

    def _class_entry(self, cls: type, label: str, scope: dict[str, Any]) -> None:
        self.found.code[label] = {"digest": "", "text": ""}
        bases = [self.describe(base) for base in (*cls.__mro__[1:], type(cls))]
        own = {key: value for key, value in vars(cls).items() if key[:2] != "__" or key == "__call__"}
        node = None if is_config(cls) else class_syntax(cls, scope)
        if node is None:  # of a config the values are told elsewhere
            fields: Any = getattr(cls, "__dataclass_fields__", {}) if is_config(cls) else {}
            rest = self._mapping(bare({key: value for key, value in own.items() if key not in fields}))
            traced = list(traced_fields(cls)) if is_config(cls) else []
            text = f"class {cls.__name__}: {rest}, bases {bases}, traced {traced}"
            self.found.code[label] = {"digest": digest_of(text), "text": text}
            return
        self._enter(label, node)
        free: dict[str, Any] = {}
        for key, value in own.items():
            code = code_of(value) if isinstance(value, METHODS) or hasattr(value, "__wrapped__") else None
            foreign = code and not code.co_qualname.startswith(f"{cls.__qualname__}.")
            if (code and foreign and not installed(code.co_filename)) or isinstance(value, _PLAIN):
                self.found.values[f"{label}.{key}"] = self.describe(bare({key: value})[key])
            free |= closed_over(value)
        for key, value in sorted(free.items()):
            self.found.values[f"{label}.{key}"] = self.describe(value)
        self.ahead.append((node, scope, tuple(free)))

    def reach(self, node: ast.AST, scope: dict[str, Any], free: tuple[str, ...]) -> None:
        """Describes what some code reads of its scope; `free` names belong to a function around it."""
        name = module_name(scope.get("__name__", ""))
        changed, called = written(node)
        for root, attributes in global_uses(node, free):
            if root in scope and root[:2] != "__":
                value = scope[root]
                own = changed | called if isinstance(value, _CONTAINERS) else changed
                if root in own and not callable(value) and not isinstance(value, types.ModuleType):
                    self._begins(root, scope)
                self._bind(f"{name}.{root}", value, attributes)
            if root in _LOOKED_UP or _LOOKED_UP & set(attributes):
                self._unseen(root, f"code in {name} looks up names as it runs")
        for module, attribute in local_imports(node):
            found = imported(module, scope)
            if found is None:
                continue
            label = f"{module_name(found.__name__)}.{attribute}" if attribute else found.__name__
            value = getattr(found, attribute, None) if attribute else found
            self._bind(label, imported(label, scope) if value is None and attribute else value, ())

    def _begins(self, root: str, scope: dict[str, Any]) -> None:
        """A global name that code changes, as a cache: what it begins as, and what that reads."""
        label = f"{module_name(scope.get('__name__', ''))}.{root}"
        if label not in self.found.values:
            texts = assigned(root, scope)
            self.found.values[label] = f"begins as {texts}"
            self.ahead += [(ast.parse(text, mode="eval").body, scope, ()) for text in texts]

    def _bind(self, label: str, value: Any, attributes: tuple[str, ...]) -> None:
        """A global name, or what an attribute of a module is, as code reads it."""
        while isinstance(value, types.ModuleType) and attributes and not library(value):
            label = f"{module_name(value.__name__)}.{attributes[0]}"
            value, attributes = getattr(value, attributes[0], None), attributes[1:]
        if label in self.found.values:
            return
        self.found.values[label] = "itself"
        if isinstance(value, type) and is_config(value):
            fields = {field.name: field.default for field in dataclasses.fields(value)}
            self.found.values[f"{label}()"] = self._mapping(fields)
        described = self.describe(value)
        own = isinstance(described, dict) and described.get("function") == label and len(described) == 1
        if own or described == label:
            del self.found.values[label]  # a function or class under its own name
        else:
            self.found.values[label] = described

    def _unseen(self, value: Any, reason: str) -> str:
        name = getattr(value, "__qualname__", None) or str(value)[:_LONG]
        self.found.unseen.add(f"{name}: {reason}")
        return f"{type(value).__name__} that cannot be seen"
