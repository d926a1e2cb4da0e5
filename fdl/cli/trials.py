"""The trials that a command line asks for, and whether they are the file's own."""

from typing import Any

from fdl.cells import identity
from fdl.cli.fields import flag_of, grid_flag_of
from fdl.cli.flags import function_text, option_names
from fdl.configs import at, replaced
from fdl.sweeps import Space, Sweep, grid


def space_of(
    config: type, sweep: Sweep | None, changed: dict[str, Any], columns: dict[str, Any], seeds: int | None
) -> Sweep:
    """The trials of a command line: the file's sweep or `--grid`, with the given fields and seeds.

    Raises:
      ValueError: the file has no sweep and no grid was given, a value is out of bounds, or a field is given
        one value by its flag and several by the sweep or the grid.
    """
    twice = [name for name in changed if name in columns]
    if twice:
        flag, several = _flags(twice[0], config)
        raise ValueError(f"{flag} and {several} contradict each other; give one of them")
    if columns:
        return grid(config(), seeds=1 if seeds is None else seeds, **columns).with_fields(**changed)
    if sweep is None:
        raise ValueError("the file has no SWEEP; give it one, or values to try: --grid.<field> VALUE VALUE")
    for name, value in changed.items():
        there = list(
            {identity(at(trial.config, name)): at(trial.config, name) for trial in sweep.trials}.values()
        )
        if len(there) > 1:
            (flag, several), shown = _flags(name, config), ", ".join(map(_word, there[:5]))
            raise ValueError(
                f"{flag} {_word(value)} contradicts the file's SWEEP, which varies {name} ({shown}); "
                f"leave it out, or give the values to try: {several} VALUE VALUE"
            )
    sweep = sweep.with_fields(**changed)
    return sweep.with_seeds(seeds) if seeds is not None else sweep


def searched(space: Space | None, changed: dict[str, Any]) -> Space:
    """The space of a command line: the file's, with the given fields.

    Raises:
      ValueError: the file has none, a value is out of bounds, or a field is given that is searched.
    """
    if space is None:
        raise ValueError(
            "the file has no SEARCH; write SEARCH = fdl.space(Config(), lr=fdl.log_uniform(...))"
        )
    for name in changed:
        if name in space.fields:
            raise ValueError(f"{name} is given one value and searched; take it out of the file's SEARCH")
    return space._replace(config=replaced(space.config, changed))


def is_judged(own: Sweep | None, space: Sweep) -> bool:
    """Whether a claim about the file's `own` sweep may be judged on trials: the same arms, all its seeds."""
    if own is None:
        return False
    arms = ({trial.arm: trial.config for trial in one.trials} for one in (own, space))
    return set(own.trials) <= set(space.trials) and next(arms) == next(arms)


def _flags(path: str, config: type) -> tuple[str, str]:
    """The flag of a field, and that of several values of it."""
    return f"--{flag_of(path, config, option_names())}", f"--grid.{grid_flag_of(path, config)}"


def _word(value: Any) -> str:
    return function_text(value) if callable(value) else str(value)
