"""Logical names of the axes of parameters and activations; a mesh's rules say what they mean.

The names: `batch`, `length`, `embed`, `heads`, `mlp`, `vocab`, `height`, `width`, `channels`. No two
axes of one array bear the same name (a mesh axis can split only one of them), so a kernel whose
input and output axes would clash names its output alone, as a convolution's `[kh, kw, I, O]`:
`(None, None, None, "channels")`. An axis without a name, as those of a kernel's window, is None.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
from flax.linen.spmd import with_logical_constraint, with_logical_partitioning

_SHOWN: contextvars.ContextVar[bool] = contextvars.ContextVar("names", default=False)


def named(initializer: nn.initializers.Initializer, *names: str | None) -> nn.initializers.Initializer:
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


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """`x` itself, laid out by the names of its axes where a mesh and its rules are set."""
    return with_logical_constraint(x, names)
