"""Logical names of the axes of parameters and activations; a mesh's rules say what they mean.

The names: `batch`, `length`, `embed`, `heads`, `mlp`, `vocab`, `height`, `width`, `channels`. No two
axes of one array bear the same name (a mesh axis can split only one of them), so a kernel whose
input and output axes would clash names its output alone, as a convolution's `[kh, kw, I, O]`:
`(None, None, None, "channels")`. An axis without a name, as those of a kernel's window, is None.
"""

import flax.linen as nn
import jax
from flax.linen.spmd import with_logical_constraint


def named(initializer: nn.initializers.Initializer, *names: str | None) -> nn.initializers.Initializer:
    """The initialiser, its arrays boxed with the names of their axes; `apply` takes the box off."""
    return nn.with_logical_partitioning(initializer, names)


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """`x` itself, laid out by the names of its axes where a mesh and its rules are set."""
    return with_logical_constraint(x, names)
