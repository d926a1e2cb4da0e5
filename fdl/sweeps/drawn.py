"""Configs whose fields come from distributions: drawn at random, or asked of a sampler."""

import functools
import itertools
import math
import random
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fdl.arguments import Count, checked
from fdl.cells import texts
from fdl.configs import at, check_paths, replaced
from fdl.sweeps.distributions import Distribution
from fdl.sweeps.space import Sweep, arms_of, sweep_of

TRIES = 1000
"""So many configs in a row of which none is allowed end a search."""


class Space(NamedTuple):
    """Where a search looks.

    Attributes:
      config: the values of all other fields.
      fields: the distribution of each field that is searched.
      constraints: functions of a config, all of which are true for one that is allowed; see `where`.
    """

    config: Any
    fields: Mapping[str, Distribution]
    constraints: tuple[Callable[[Any], bool], ...] = ()

    def where(self, constraint: Callable[[Any], bool]) -> "Space":
        """The same without the configs for which `constraint(config)`, a pure function, is false: these are
        neither built nor trained.

        Raises:
          ValueError: what is left is nothing, by a thousand configs drawn at random.

        Example:
          >>> import fdl
          >>> @fdl.config
          ... class Config:
          ...     depth: int = 2
          ...     width: int = 16
          ...
          >>> space = fdl.space(Config(), depth=fdl.uniform(1, 8), width=fdl.choice(16, 64, 256))
          >>> space = space.where(lambda config: config.depth * config.width**2 <= 100_000)
          >>> space.allows(Config(depth=8, width=64)), space.allows(Config(depth=8, width=256))
          (True, False)
        """
        if not callable(constraint):
            raise ValueError(f"the constraint is {constraint!r}; expected a function of a config")
        found = self._replace(constraints=(*self.constraints, constraint))
        typical(found)
        return found

    def allows(self, config: Any) -> bool:
        """Whether a config meets all constraints.

        Raises:
          ValueError: one is neither true nor false of it.
        """
        for constraint in self.constraints:
            met = constraint(config)
            if not isinstance(met, bool | np.bool_):
                raise ValueError(f"a constraint is {met!r} for {config}; expected True or False")
            if not met:
                return False
        return True


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
    rows = itertools.islice(draws(Space(config, fields), draw_seed), n)
    return sweep_of(arms_of(config, fields, rows), seeds)


def draws(space: Space, draw_seed: int = 0) -> Iterator[list[Any]]:
    """Endless rows of values for the fields of a space, whatever its constraints; each field from a stream of
    its own."""
    whole = {name for name in space.fields if is_whole(space.config, name)}
    streams = {name: random.Random(f"{draw_seed}/{name}") for name in space.fields}
    while True:
        drawn = {name: one.draw(streams[name].random()) for name, one in space.fields.items()}
        drawn |= {name: round(drawn[name]) for name in whole if isinstance(drawn[name], float)}
        yield values_in(space, drawn.__getitem__)


def config_of(space: Space, row: Iterable[Any]) -> Any:
    """The config with such values of the space's fields."""
    return replaced(space.config, dict(zip(space.fields, row, strict=True)))


def typical(space: Space) -> list[Any]:
    """Configs that stand for a space: its `edges`; with constraints those that are allowed, and the first of
    them that is drawn at random.

    Raises:
      ValueError: none of a thousand drawn is allowed.
    """
    if not space.constraints:
        return edges(space)
    found = filter(space.allows, (config_of(space, row) for row in itertools.islice(draws(space), TRIES)))
    first = next(found, None)
    if first is None:
        raise ValueError(
            f"the constraints allow none of {TRIES} configs drawn from the space; loosen them, or narrow the "
            "fields to where they hold"
        )
    return list(dict.fromkeys([*filter(space.allows, edges(space)), first]))


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
