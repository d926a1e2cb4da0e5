"""Logical names of the axes of parameters and activations; a mesh's rules say what they mean.

The names: `batch`, `length`, `embed`, `heads`, `mlp`, `vocab`, `height`, `width`, `channels`. No two
axes of one array bear the same name (a mesh axis can split only one of them), so a kernel whose
input and output axes would clash names its output alone, as a convolution's `[kh, kw, I, O]`:
`(None, None, None, "channels")`. An axis without a name, as those of a kernel's window, is None.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
from flax.linen.spmd import with_logical_partitioning

Place = Callable[[jax.Array, Sequence[str | None]], jax.Array]
"""`place(x, names) -> x`, laid out on the devices by the names of its axes."""

_SHOWN: contextvars.ContextVar[bool] = contextvars.ContextVar("names", default=False)
_PLACE: contextvars.ContextVar[Place | None] = contextvars.ContextVar("place", default=None)


def with_axes(initializer: nn.initializers.Initializer, *names: str | None) -> nn.initializers.Initializer:
    """The initialiser; inside `names_shown` its arrays come boxed with the names of their axes."""
    boxed = with_logical_partitioning(initializer, names)

    def make(*arguments: Any, **options: Any) -> Any:
        return (boxed if _SHOWN.get() else initializer)(*arguments, **options)

    return make


@contextlib.contextmanager
def names_shown() -> Iterator[None]:
    """Within, a model's `init` boxes each parameter with its axes' names (Flax's `LogicallyPartitioned`),
    to be read off its abstract value by whoever lays it out; outside, parameters are plain arrays."""
    token = _SHOWN.set(True)
    try:
        yield
    finally:
        _SHOWN.reset(token)


@contextlib.contextmanager
def laid_out_by(place: Place) -> Iterator[None]:
    """Within, `place` lays out the activations that models name."""
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """`x` itself, laid out by the names of its axes within `laid_out_by`."""
    place = _PLACE.get()
    return x if place is None else place(x, names)
