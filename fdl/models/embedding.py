"""Tables looked up by token, which give no number for a token that they have not."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

EVEN = 8
"""Widths of 16-bit matrices that this divides start each row at a multiple of 16 bytes: of others products
on an H200 take about twice as long (docs/speed.md)."""
ROWS = 64
"""What the rows of an uneven table are rounded up to."""


class Embed(nn.Embed):
    """`flax.linen.Embed`, but negative tokens do not count from the end: NaN for all outside the table.

    Attributes:
      padding: the token that is no text, which nothing may see; where it is negative, it has row 0.
    """

    padding: int | None = None

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Rows `[..., features]` of tokens `[...]`, integers from 0 to `num_embeddings` - 1."""
        tokens = jnp.asarray(inputs)
        if jnp.issubdtype(tokens.dtype, jnp.signedinteger):
            tokens = tokens.astype(jnp.promote_types(tokens.dtype, jnp.int32))
            if self.padding is not None and self.padding < 0:
                tokens = jnp.where(tokens == self.padding, 0, tokens)
            tokens = jnp.where(tokens < 0, self.num_embeddings, tokens)  # beyond the end a look-up is NaN
        return super().__call__(tokens)

    def attend(self, query: jax.Array) -> jax.Array:
        """Products of `query` `[..., features]` with each row of the table, `[..., num_embeddings]`.

        Of 16-bit numbers and an uneven table (GPT-2's 50,257 rows) they are made with rows of zeros at its
        end, which the outputs have no more: the same numbers, but for the gradient by `query`, which may be
        summed in another order.
        """
        promoted: Any = self.promote_dtype(query, self.embedding, dtype=self.dtype, inexact=False)
        query, table = promoted
        if table.dtype.itemsize != 2 or len(table) % EVEN == 0:
            return jnp.dot(query, table.T)
        # Behind the barrier the compiler does not see that it could leave the zeros out again.
        padded = lax.optimization_barrier(jnp.pad(table, ((0, -len(table) % ROWS), (0, 0))))
        return jnp.dot(query, padded.T)[..., : len(table)]
