"""Where the values of a field in a random search come from."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from fdl.arguments import Positive, checked


class Distribution(NamedTuple):
    """A field's values in `sample`; `draw(u)` maps `u`, uniform in [0, 1), to a value."""

    draw: Callable[[float], Any]


@checked
def uniform(low: float, high: float) -> Distribution:
    """Evenly between `low` and `high`.

    Example:
      >>> import fdl
      >>> fdl.uniform(2.0, 4.0).draw(0.5)  # for a field in fdl.sample
      3.0

    Raises:
      ValueError: no interval, as where `low` is above `high`.
    """
    if not low <= high:
        raise ValueError(f"uniform({low}, {high}): expected low <= high")
    return Distribution(lambda u: low + (high - low) * u)


@checked
def log_uniform(low: Positive[float], high: Positive[float]) -> Distribution:
    """Evenly between `low` and `high` on a logarithmic scale; both positive.

    Example:
      >>> import fdl
      >>> round(fdl.log_uniform(1e-4, 1e-2).draw(0.5), 6)  # for a field in fdl.sample
      0.001
    """
    if not 0 < low <= high:
        raise ValueError(f"log_uniform({low}, {high}): expected 0 < low <= high")
    return Distribution(lambda u: math.exp(math.log(low) + (math.log(high) - math.log(low)) * u))


def choice(*values: Any) -> Distribution:
    """One of the values, each as likely.

    Example:
      >>> import fdl
      >>> fdl.choice("relu", "tanh").draw(0.7)  # for a field in fdl.sample
      'tanh'
    """
    if not values:
        raise ValueError("choice() needs at least one value")
    return Distribution(lambda u: values[int(u * len(values))])
