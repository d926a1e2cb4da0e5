"""Regular fractions of two-level factorial designs."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from fdl.arguments import Count, checked
from fdl.sweeps.space import Sweep, grid

_MOST = 200_000
"""Sets of generators that are tried at most."""


@checked
def fractional_factorial(
    config: Any, /, *, fraction: Count, seeds: int | Iterable[int] = 1, **fields: Sequence[Any]
) -> Sweep:
    """A half, a quarter, ... of every combination of the fields' two values: that which confounds least
    (`grid` makes them all).

    Of the regular fractions it is one with the highest resolution, and among these with the fewest shortest
    words (minimum aberration; Box, Hunter and Hunter 2005, Statistics for Experimenters, ch. 6). Of
    resolution 3 main effects are confounded with interactions of two fields, of 4 these with each other, of 5
    neither: `fdl.factorial_effects` names what is confounded.

    Args:
      config: the values of all other fields.
      fraction: 2, 4, 8, ...: one in so many combinations is run.
      seeds: how many (0 to n - 1), or which.
      **fields: two values of each field.

    Raises:
      ValueError: an unknown field, not two values, or a fraction that leaves main effects confounded with
        each other.

    Example:
      >>> import fdl
      >>> @fdl.config
      ... class Config:
      ...     skip: bool = True
      ...     norm: bool = True
      ...     wide: bool = False
      ...
      >>> both = (False, True)
      >>> half = fdl.fractional_factorial(Config(), fraction=2, skip=both, norm=both, wide=both)
      >>> [trial.arm for trial in half.trials]  # doctest: +NORMALIZE_WHITESPACE
      ['skip=False norm=False wide=True', 'skip=False norm=True wide=False',
       'skip=True norm=False wide=False', 'skip=True norm=True wide=True']
    """
    whole = grid(config, seeds=seeds, **fields)
    columns = {name: list(values) for name, values in fields.items()}
    for name, values in columns.items():
        if len(values) != 2:
            raise ValueError(
                f"{name} has {len(values)} values; a fraction of a factorial design takes 2 of each"
            )
    generated = _log2(fraction)
    words = _words(len(columns), generated)
    arms = [trial.arm for trial in whole.trials]
    signs = itertools.product((0, 1), repeat=len(columns))
    # A product of levels -1 and 1 is 1 where the number of first values among its fields is even.
    kept = {
        arm
        for arm, levels in zip(dict.fromkeys(arms), signs, strict=True)
        if all(sum(1 - levels[i] for i in _places(word)) % 2 == 0 for word in words)
    }
    return Sweep(tuple(trial for trial in whole.trials if trial.arm in kept))


def _log2(fraction: int) -> int:
    if fraction < 2 or fraction & (fraction - 1):
        raise ValueError(f"fraction is {fraction!r}; expected 2, 4, 8, ...; fdl.grid makes all combinations")
    return fraction.bit_length() - 1


def _words(fields: int, generated: int) -> tuple[int, ...]:
    """The generating words, as bit masks of fields, of the best fraction: each of the last `generated` fields
    is a product of some of the others."""
    base = fields - generated
    products = [mask for mask in range(2 ** max(base, 0)) if mask.bit_count() >= 2]
    if len(products) < generated:
        raise ValueError(
            f"one in {2**generated} combinations of {fields} fields cannot tell their main effects apart; "
            "take a larger fraction, as 2, or more fields"
        )
    if (count := math.comb(len(products), generated)) > _MOST:
        raise ValueError(
            f"{count:,} fractions would have to be compared, at most {_MOST:,} are; take fewer fields, or "
            "another fraction"
        )
    candidates = (
        tuple(1 << (base + place) | mask for place, mask in enumerate(chosen))
        for chosen in itertools.combinations(products, generated)
    )
    return min(candidates, key=_aberration)


def _aberration(words: tuple[int, ...]) -> list[int]:
    """How many words of each length the words generate, the shortest first: of two designs that with the
    smaller list has the higher resolution, or the less aberration."""
    lengths: dict[int, int] = {}
    for size in range(1, len(words) + 1):
        for chosen in itertools.combinations(words, size):
            product = 0
            for word in chosen:
                product ^= word
            lengths[product.bit_count()] = lengths.get(product.bit_count(), 0) + 1
    return [lengths.get(length, 0) for length in range(1, max(lengths) + 1)]


def _places(word: int) -> list[int]:
    return [place for place in range(word.bit_length()) if word >> place & 1]
