"""Sweeps: lists of configs times seeds, made by pure functions."""

import dataclasses
import itertools
import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fdl.cells import Identity, identity, text, texts
from fdl.configs import at, check_names, check_paths, is_config, leaves, replaced
from fdl.configs import values as values_of

SEEDS = 2**32
"""Seeds are below this: `jax.random.key` knows a seed only modulo 2**32."""


class Trial(NamedTuple):
    """One run to do: its arm's name, its config, its seed."""

    arm: str
    config: Any
    seed: int


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Trials; sweeps of one config class add up, and what both hold is run once."""

    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        for trial in self.trials:
            if not isinstance(trial, Trial):
                raise ValueError(
                    f"a sweep has {trial!r}; expected fdl.Trial(arm, config, seed), as of fdl.grid"
                )
            if not is_config(type(trial.config)):
                raise ValueError(
                    f"a trial's config is {trial.config!r}; expected one of @fdl.config's classes"
                )
        trials = tuple(trial._replace(seed=_checked_seed(trial.seed)) for trial in self.trials)
        first = _told_apart({trial.config: trial.arm for trial in reversed(trials)})  # one name a config
        trials = tuple(dict.fromkeys(Trial(first[t.config], t.config, t.seed) for t in trials))
        object.__setattr__(self, "trials", trials)
        if len({type(trial.config) for trial in trials}) > 1:
            raise ValueError("a sweep's trials must have configs of one class; make two sweeps")
        _check_names_of_values(first)
        names: dict[str, Any] = {}
        for arm, config, _ in trials:
            if names.setdefault(arm, config) != config:
                raise ValueError(
                    f"two configs are both called {arm!r}: {names[arm]} and {config}; "
                    "name the field in which they differ among those of the grid, with its one value"
                )

    def __add__(self, other: "Sweep") -> "Sweep":
        if not isinstance(other, Sweep):
            return NotImplemented
        return Sweep(self.trials + other.trials)

    def with_seeds(self, seeds: int | Iterable[int]) -> "Sweep":
        """The same arms, each with these seeds (a number n means 0 to n - 1)."""
        arms = {trial.arm: trial.config for trial in self.trials}
        return sweep_of(arms.items(), seeds)

    def with_fields(self, **fields: Any) -> "Sweep":
        """The same arms with other values of some fields, which their names tell then.

        Raises:
          ValueError: an unknown field, or a value that it does not take.
        """
        trials = []
        for trial in self.trials:
            config, arm = replaced(trial.config, fields), trial.arm
            for name in fields:
                arm = _retold(arm, name, trial.config, config)
            trials.append(Trial(arm, config, trial.seed))
        return Sweep(tuple(trials))


def grid(config: Any, /, *, seeds: int | Iterable[int] = 1, **fields: Iterable[Any]) -> Sweep:
    """Every combination of the fields' values.

    Args:
      config: the values of all other fields.
      seeds: how many (0 to n - 1), or which.
      **fields: the values of each field; of one in a dataclass inside as `**{"net.depth": (1, 2)}`.

    Raises:
      ValueError: an unknown field, or a value that it does not take.

    Example:
      >>> import fdl
      >>> @fdl.config
      ... class Config:
      ...     depth: int = 4
      ...     lr: float = 1e-3
      ...
      >>> space = fdl.grid(Config(), depth=(2, 4), lr=(1e-3, 1e-2), seeds=8)
      >>> len(space.trials), space.trials[0].arm
      (32, 'depth=2 lr=0.001')
    """
    columns = _columns(config, fields)
    return sweep_of(arms_of(config, columns, itertools.product(*columns.values())), seeds)


def zip_(config: Any, /, *, seeds: int | Iterable[int] = 1, **fields: Iterable[Any]) -> Sweep:
    """The fields' first values, their second values, and so on; all must be as many.

    Raises:
      ValueError: as `grid`, or the numbers of values differ.

    Example:
      >>> import fdl
      >>> @fdl.config
      ... class Config:
      ...     depth: int = 4
      ...     lr: float = 1e-3
      ...
      >>> space = fdl.zip_(Config(), depth=(2, 4), lr=(1e-2, 1e-3), seeds=8)
      >>> len(space.trials), space.trials[0].arm
      (16, 'depth=2 lr=0.01')
    """
    columns = _columns(config, fields)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the fields have different numbers of values: {lengths}")
    return sweep_of(arms_of(config, columns, zip(*columns.values(), strict=True)), seeds)


def ablate(config: Any, /, *, seeds: int | Iterable[int] = 1, **components: Mapping[str, Any]) -> Sweep:
    """Takes components away one by one, and adds them one by one to nothing.

    Args:
      config: all components present; its arm is called `full`.
      seeds: how many, or which.
      **components: for each component the fields' values without it, as `norm={"norm": None}`.

    Returns:
      The arms `full`, `full - <component>`, `none + <component>` and `none`.

    Example:
      >>> import fdl
      >>> @fdl.config
      ... class Config:
      ...     skip: bool = True
      ...     norm: bool = True
      ...
      >>> space = fdl.ablate(Config(), skip={"skip": False}, norm={"norm": False})
      >>> [trial.arm for trial in space.trials]
      ['full', 'full - skip', 'full - norm', 'none']
    """
    check_paths(config, {})
    for name, changes in components.items():
        if not isinstance(changes, Mapping):
            raise ValueError(f"{name}={changes!r}: expected values of fields, as {name}={{'field': None}}")
        check_names(type(config), changes)
    without = {name: dataclasses.replace(config, **changes) for name, changes in components.items()}
    none = dataclasses.replace(
        config, **{k: v for changes in components.values() for k, v in changes.items()}
    )
    back = {
        name: dataclasses.replace(none, **{field: getattr(config, field) for field in changes})
        for name, changes in components.items()
    }
    arms = {"full": config}
    arms |= {f"full - {name}": changed for name, changed in without.items()}
    arms |= {f"none + {name}": changed for name, changed in back.items()}
    return sweep_of([*arms.items(), ("none", none)], seeds)


def _columns(config: Any, fields: Mapping[str, Iterable[Any]]) -> dict[str, Sequence[Any]]:
    check_paths(config, fields)
    for name, values in fields.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ValueError(f"the values of {name!r} are {values!r}; expected a tuple or list of values")
    return {name: tuple(values) for name, values in fields.items()}


def arms_of(config: Any, columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> list[tuple[str, Any]]:
    """Configs with the fields of `columns` as each of `rows` has them, named by these, told apart."""
    configs = [replaced(config, dict(zip(columns, row, strict=True))) for row in rows]
    shown = {field: texts(at(changed, field) for changed in configs) for field in columns}
    names = (" ".join(f"{field}={shown[field][i]}" for field in columns) for i in range(len(configs)))
    return [(name or "base", changed) for name, changed in zip(names, configs, strict=True)]


def _retold(arm: str, path: str, old: Any, new: Any) -> str:
    """An arm's name when a field, or one in a dataclass inside, gets another value."""
    if identity(at(old, path)) == identity(at(new, path)):
        return arm
    for name in (path, path.partition(".")[0]):
        before, now = at(old, name), f"{name}={text(at(new, name))}"
        for was in (text(before), repr(before)):
            retold = _renamed(arm, f"{name}={was}", now)
            if retold != arm:
                return retold
    return f"{arm} {path}={text(at(new, path))}"


def _renamed(arm: str, was: str, now: str) -> str:
    return re.sub(rf"(?<!\S){re.escape(was)}(?!\S)", lambda _: now, arm)


def _told_apart(arms: Mapping[Any, str]) -> dict[Any, str]:
    """Each config's name, with its floats in full where those of several look the same in 6 digits."""
    count = Counter(arms.values())
    return {config: _in_full(arm, config) if count[arm] > 1 else arm for config, arm in arms.items()}


def _in_full(arm: str, config: Any) -> str:
    for name, value in leaves(config).items():
        if isinstance(value, float):
            arm = _renamed(arm, f"{name}={text(value)}", f"{name}={value!r}")
    return arm


def sweep_of(arms: Iterable[tuple[str, Any]], seeds: int | Iterable[int]) -> Sweep:
    """Configs by name, each with these seeds (a number n means 0 to n - 1)."""
    chosen = list(seeds if isinstance(seeds, Iterable) else range(_checked_seed(seeds)))
    if not chosen:
        raise ValueError(f"seeds is {seeds!r}; expected a positive number or a list of whole numbers >= 0")
    return Sweep(tuple(Trial(arm, config, seed) for arm, config in arms for seed in chosen))


def _checked_seed(seed: Any) -> int:
    """A seed as an int.

    Raises:
      ValueError: not a seed, or one that `jax.random.key` would take for another.
    """
    whole = hasattr(seed, "__index__") and not isinstance(seed, bool)
    if not whole or not 0 <= operator.index(seed) < SEEDS:
        other = f" ({seed} would be the same run as {seed % SEEDS})" if whole and seed >= SEEDS else ""
        raise ValueError(
            f"seeds is or has {seed!r}{other}; expected a positive number of seeds, or a list of whole "
            f"numbers from 0 to {SEEDS - 1}"
        )
    return operator.index(seed)


def _check_names_of_values(configs: Iterable[Any]) -> None:
    """Raises `ValueError` if two values of a field, such as functions, go by one name in a result."""
    known: dict[tuple[str, Identity], Any] = {}
    for config in configs:
        for field, value in values_of(config).items():
            other = known.setdefault((field, identity(value)), value)
            if type(other) is not type(value) or other != value:
                raise ValueError(
                    f"two values of {field!r} are both called {identity(value)[1]!r}: {other!r} and "
                    f"{value!r}; give one another name, as a `def` of its own"
                )
