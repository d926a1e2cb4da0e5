# pyright: reportArgumentType=false
# Wrong arguments are meant.

"""Every public function and Flax module refuses what its annotations forbid, in one line, before it does
anything."""

import collections.abc
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal
from unittest import mock

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import analysis, data, losses, metrics, models, optim, stats, sweeps, tasks
from fdl.arguments import (
    Count,
    InnerShare,
    Limit,
    NotEmpty,
    NotNegative,
    Positive,
    Rising,
    Share,
    Whole,
    check_value,
)

PLACES = (
    analysis,
    *(data, data.synthetic, losses, metrics, models, models.hopfield, models.mixture_density, optim),
    *(stats, sweeps, tasks, tasks.contrastive_losses, tasks.games, tasks.gan_losses, tasks.generation),
    *(tasks.metric_losses, tasks.noise, tasks.samplers),
)
"""Whose public names users call."""

UNCHECKED = {
    "sweep": "checks its whole input itself: tests/cli/test_gate.py",
    "forecast": "as sweep",
    "program_of": "as sweep",
    "stored": "as sweep",
    "grid": "checks seeds with the config and its fields: tests/sweeps/test_space.py",
    "zip_": "as grid",
    "ablate": "as grid",
    "two_sided_power": "an effect may be infinite",
}
"""Functions that this test leaves out, and why."""

ANY_NUMBER = {
    *("seed", "draw_seed", "axis", "axes", "threshold"),  # any whole number is one of these
    *("offset", "exponent", "low", "high", "power", "gain", "decay"),
    *("rotate", "shear", "translate", "scale", "embedding_scale", "logit_scale", "forget_bias", "alpha"),
    *("effect", "time", "guidance", "length_penalty", "learning_rate", "loss", "weight"),
    "padding",  # checked where a window is made of it: fdl.models.convolve
    "baseline",
    *(
        "at_least",
        "equivalent",
        "failures",
        "seeds",
        "mesh",
    ),  # checked with the rest of a claim, or of a sweep
}
"""Arguments that may be any number."""

PART = {"x": np.zeros((4, 2), np.float32), "y": np.zeros(4, np.int32)}
SPLITS = data.Splits(PART, PART, PART)
BEYOND = {
    Count: 0,
    NotNegative[Any]: -1,
    Positive[Any]: 0,
    Share[Any]: 1.5,
    InnerShare[Any]: 1.0,
    Rising[Any]: (0.75, 0.25),
    NotEmpty[Any]: (),
    Whole[Any]: 2.5,
}
"""By limit: what is beyond it."""


def callables() -> dict[str, Callable[..., Any]]:
    """The public functions, and the Flax modules, by name."""
    found = {}
    for place in PLACES:
        for name in dir(place):
            value = getattr(place, name)
            home = getattr(value, "__module__", "") if name[0] != "_" else ""
            ours = home.startswith(place.__name__) or (hasattr(place, "__path__") and home.startswith("fdl."))
            module = isinstance(value, type) and issubclass(value, nn.Module)
            if ours and (inspect.isfunction(value) or module) and name not in UNCHECKED:
                found[f"{place.__name__.removeprefix('fdl.')}.{name}"] = value
    return found


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(function).parameters
    flax = ("parent", "name") if isinstance(function, type) else ()
    return {name: one for name, one in found.items() if one.kind not in several and name not in flax}


def limits_of(kind: Any) -> Iterator[Any]:
    """What is beyond the limits of an annotation, however deep inside it they are."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        known = {typing.get_args(limit)[1]: value for limit, value in BEYOND.items()}
        yield from (known[limit] for limit in parts[1:] if limit in known)
        yield from limits_of(parts[0])
    elif origin in (typing.Union, types.UnionType):
        fraction = 2.5 if float in parts else None
        yield from (value for part in parts for value in limits_of(part) if value != fraction)
    elif origin in (tuple, collections.abc.Sequence):
        count = 1 if origin is not tuple or parts[-1] is ... else len(parts)
        yield from ((value,) * count for value in limits_of(parts[0]))
    elif kind is float:
        yield from (math.nan, math.inf, -math.inf)
    elif kind is int:
        yield 2.5


def unlimited(kind: Any) -> bool:
    """Whether an annotation takes any number somewhere, where it does not take any array."""
    parts = typing.get_args(kind)
    if complex in parts or typing.get_origin(kind) in (Annotated, collections.abc.Callable):
        return False
    return kind in (int, float) or any(map(unlimited, parts))


@functools.cache
def right(kind: Any) -> Any:
    """A value that passes, of a parameter that is not tried."""
    bare = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    candidates = [2, 0.5, (0.25, 0.75), (2, 2), (2, 2, 2), "a", PART, np.zeros(1), len, SPLITS, mock.Mock()]
    candidates.append(jnp.zeros(1, jnp.int32))
    if isinstance(bare, type):
        candidates.append(mock.Mock(spec=bare))
    if typing.get_origin(bare) is collections.abc.Sequence:
        candidates.append((right(typing.get_args(bare)[0]),))
    if typing.get_origin(bare) is Literal:
        candidates += typing.get_args(bare)
    for candidate in candidates:
        try:
            check_value("it", candidate, kind)
        except ValueError:
            continue
        return candidate
    raise AssertionError(f"no value of {kind} is known here")


def tries() -> Iterator[tuple[str, Callable[..., Any], str, Any]]:
    """Public functions with the name of an argument and a wrong value."""
    for called, function in callables().items():
        for name, parameter in parameters(function).items():
            if parameter.annotation not in (Any, inspect.Parameter.empty):
                for value in (object(), *limits_of(parameter.annotation)):
                    yield called, function, name, value


def refusal(function: Callable[..., Any], name: str, value: Any) -> str | None:
    """What is wrong with how a function refuses a value of an argument; None if nothing is."""
    given = {
        other: value if other == name else right(one.annotation)
        for other, one in parameters(function).items()
        if other == name or one.default is inspect.Parameter.empty
    }
    call = inspect.signature(function).bind_partial(
        *[given.pop(other) for other, one in parameters(function).items() if one.kind is one.POSITIONAL_ONLY],
        **given,
    )
    try:
        function(*call.args, **call.kwargs)
    except ValueError as error:
        said = str(error)
        return None if said.startswith(f"{name} is ") and "\n" not in said else said
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "silent"


def test_what_annotations_forbid_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = {
        f"{called}({name}={value!r})": fault
        for called, function, name, value in tries()
        if (fault := refusal(function, name, value))
    }
    assert not bad, "\n".join(f"{call}: {fault}" for call, fault in bad.items())
    assert not list(tmp_path.iterdir())


def test_every_number_has_limits_or_is_any():
    free = {
        f"{called}({name}: {parameter.annotation})"
        for called, function in callables().items()
        for name, parameter in parameters(function).items()
        if name not in ANY_NUMBER and unlimited(parameter.annotation)
    }
    assert not free, "\n".join(sorted(free))


@pytest.mark.parametrize("kind", BEYOND, ids=lambda kind: typing.get_args(kind)[1].words)
def test_the_limits_of_the_test_are_those_of_the_library(kind):
    limit = typing.get_args(kind)[1]
    assert isinstance(limit, Limit)
    with pytest.raises(ValueError, match=f"it is .*; expected {limit.words}"):
        check_value("it", BEYOND[kind], kind)
