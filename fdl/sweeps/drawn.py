"""Configs whose fields come from distributions: drawn at random, or asked of a sampler."""

import functools
import math
import random
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fdl.arguments import Count, checked
from fdl.cells import texts
from fdl.configs import at, check_paths, replaced
from fdl.sweeps.distributions import Distribution
from fdl.sweeps.space import Sweep, arms_of, sweep_of


class Space(NamedTuple):
    """Where a search looks.

    Attributes:
      config: the values of all other fields.
      fields: the distribution of each field that is searched.
    """

    config: Any
    fields: Mapping[str, Distribution]


@checked
def space(config: Any, /, **fields: Distribution) -> Space:
    """The space of a search: the fields that `search` may choose, and among which values.

    Args:
      config: the values of all other fields.
      **fields: `uniform`, `log_uniform` or `choice`, of static fields too: each of their values is a program
        of its own; whole numbers for an int field. Of a field that counts only beside certain values of
        others, `Distribution.when`.

    Raises:
      ValueError: an unknown field, a value that it does not take, or a condition that cannot be met.

    Example:
      >>> import fdl
      >>> @fdl.config
      ... class Config:
      ...     depth: int = fdl.static(4, low=1)
      ...     lr: float = fdl.traced(1e-3, low=0.0)
      ...
      >>> space = fdl.space(Config(), lr=fdl.log_uniform(1e-4, 1e-1), depth=fdl.choice(2, 4, 8))
      >>> list(space.fields)
      ['lr', 'depth']
    """
    if not fields:
        raise ValueError("space() has no fields to search; name some, as lr=fdl.log_uniform(1e-4, 1e-1)")
    _check_fields(config, fields)
    for name, distribution in fields.items():
        named = texts(distribution.values)
        if twice := [one for one in named if named.count(one) > 1]:
            raise ValueError(f"choice() of {name!r} has {twice[0]} twice; name each value once")
    found = Space(config, fields)
    edges(found)
    return found


@checked
def sample(
    config: Any, /, *, n: Count, seeds: int | Iterable[int] = 1, draw_seed: int = 0, **fields: Distribution
) -> Sweep:
    """`n` configs with the fields drawn at random, each field from a stream of its own.

    Args:
      config: the values of all other fields.
      n: how many configs.
      seeds: how many seeds each, or which.
      draw_seed: names the draws; more draws of the same keep the first ones.
      **fields: `uniform`, `log_uniform` or `choice`; whole numbers for an int field are rounded.

    Example:
      >>> import fdl
      >>> @fdl.config
      ... class Config:
      ...     depth: int = 4
      ...     lr: float = 1e-3
      ...
      >>> space = fdl.sample(Config(), n=20, depth=fdl.choice(2, 4, 8), lr=fdl.log_uniform(1e-4, 1e-1))
      >>> len(space.trials)
      20
    """
    _check_fields(config, fields)
    columns = {}
    for name, distribution in fields.items():
        stream = random.Random(f"{draw_seed}/{name}")
        drawn = [distribution.draw(stream.random()) for _ in range(n)]
        columns[name] = [round(v) if is_whole(config, name) and isinstance(v, float) else v for v in drawn]
    rows = [values_in(Space(config, fields), lambda name, i=i: columns[name][i]) for i in range(n)]
    return sweep_of(arms_of(config, fields, rows), seeds)


def values_in(space: Space, choose: Callable[[str], Any]) -> list[Any]:
    """A value for every field of a space, in order: `choose(field)`, or the config's own where it does not
    count."""
    found: dict[str, Any] = {}
    for name, distribution in space.fields.items():
        wanted = distribution.condition
        counts = all(found.get(other, at(space.config, other)) == value for other, value in wanted.items())
        found[name] = choose(name) if counts else at(space.config, name)
    return list(found.values())


def edges(space: Space) -> list[Any]:
    """The config, and those that differ from it in one field: each value of a choice, both ends of an
    interval.

    Raises:
      ValueError: one that a field does not take.
    """
    found = [space.config]
    for name, distribution in space.fields.items():
        ends = distribution.values or interval_of(space.config, name, distribution)
        found += [replaced(space.config, {name: value, **distribution.condition}) for value in ends]
    return list(dict.fromkeys(found))


def interval_of(config: Any, name: str, distribution: Distribution) -> tuple[float, float] | tuple[int, int]:
    """The ends of a field's interval, whole ones for an int field.

    Raises:
      ValueError: there is no whole number in it.
    """
    low, high = distribution.low, distribution.high
    if not is_whole(config, name):
        return float(low), float(high)
    if math.ceil(low) > math.floor(high):
        raise ValueError(f"{name!r} is an int, and there is none from {low} to {high}; widen the interval")
    return math.ceil(low), math.floor(high)


def is_whole(config: Any, path: str) -> bool:
    """Whether a field is declared as `int`."""
    *above, name = path.split(".")
    return typing.get_type_hints(type(functools.reduce(getattr, above, config)))[name] is int


def _check_fields(config: Any, fields: Mapping[str, Distribution]) -> None:
    check_paths(config, fields)
    before: list[str] = []
    for name, distribution in fields.items():
        if not isinstance(distribution, Distribution):
            raise ValueError(f"{name!r} is {distribution!r}; expected fdl.uniform, log_uniform or choice")
        for other in distribution.condition:
            if other not in before:
                raise ValueError(
                    f"{name!r} is for some values of {other!r}; name that before it, in the space"
                )
        before.append(name)
