"""What a population's functions are, wherever they loop: on the device, or on the host."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from fdl.train.lowering import Executable
from fdl.train.run import Carry, is_live


class Pulse(NamedTuple):
    """What the loop reads after every call; copies, so that it can be read while the next call runs.

    Attributes:
      step: updates done, int32 `[members]`.
      live: bool `[members]`.
      failed: as in `Carry`, int32 `[members]`.
    """

    step: jax.Array
    live: jax.Array
    failed: jax.Array


Compiled = Mapping[str, Callable[..., Any]]
"""Compiled functions by name."""
Advance = Callable[..., tuple[Carry, Pulse]]
"""`advance` of a `Program`."""
Evaluate = Callable[..., Any]
"""`evaluate` of a `Program`."""


class Functions(NamedTuple):
    """A population's functions before they are compiled.

    Attributes:
      lowered: by name, ready to be compiled.
      connect: `connect(run) -> (advance, evaluate)`, those of a `Program`, of the compiled ones.
    """

    lowered: dict[str, Callable[[], Executable]]
    connect: Callable[[Compiled], tuple[Advance, Evaluate]]


def pulse_of(carry: Carry) -> Pulse:
    """The pulse of one member."""
    return Pulse(carry.step + 0, is_live(carry), carry.failed + 0)
