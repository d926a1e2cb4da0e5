"""Where the values of a field come from that is drawn, or searched."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fdl.arguments import Positive, checked


class Distribution(NamedTuple):
    """A field's values in `sample` and `space`.

    Attributes:
      draw: `draw(u)` maps `u`, uniform in [0, 1), to a value.
      low: the least value, of an interval.
      high: the greatest one.
      log: whether the scale is logarithmic.
      values: those of a choice; empty for an interval.
      condition: the values of other fields with which the field counts; see `when`.
    """

    draw: Callable[[float], Any]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    values: tuple[Any, ...] = ()
    condition: Mapping[str, Any] = MappingProxyType({})

    def when(self, **fields: Any) -> "Distribution":
        """The same, for a field that counts only where others, named before it, have these values; elsewhere
        it is what the config has.

        Example:
          >>> import fdl
          >>> @fdl.config
          ... class Config:
          ...     optimizer: str = "adam"
          ...     momentum: float = 0.0
          ...
          >>> momentum = fdl.uniform(0.5, 0.99).when(optimizer="sgd")
          >>> space = fdl.space(Config(), optimizer=fdl.choice("adam", "sgd"), momentum=momentum)
        """
        return self._replace(condition=MappingProxyType({**self.condition, **fields}))


@checked
def uniform(low: float, high: float) -> Distribution:
    """Evenly between `low` and `high`.

    Example:
      >>> import fdl
      >>> fdl.uniform(2.0, 4.0).draw(0.5)  # for a field in fdl.sample or fdl.space
      3.0

    Raises:
      ValueError: no interval, as where `low` is above `high`.
    """
    if not low <= high:
        raise ValueError(f"uniform({low}, {high}): expected low <= high")
    return Distribution(lambda u: low + (high - low) * u, low, high)


@checked
def log_uniform(low: Positive[float], high: Positive[float]) -> Distribution:
    """Evenly between `low` and `high` on a logarithmic scale; both positive.

    Example:
      >>> import fdl
      >>> round(fdl.log_uniform(1e-4, 1e-2).draw(0.5), 6)  # for a field in fdl.sample or fdl.space
      0.001
    """
    if not 0 < low <= high:
        raise ValueError(f"log_uniform({low}, {high}): expected 0 < low <= high")
    span = math.log(high) - math.log(low)
    return Distribution(lambda u: math.exp(math.log(low) + span * u), low, high, log=True)


def choice(*values: Any) -> Distribution:
    """One of the values, each as likely.

    Example:
      >>> import fdl
      >>> fdl.choice("relu", "tanh").draw(0.7)  # for a field in fdl.sample or fdl.space
      'tanh'
    """
    if not values:
        raise ValueError("choice() needs at least one value")
    return Distribution(lambda u: values[int(u * len(values))], values=values)
