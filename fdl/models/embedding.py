"""Tables looked up by token, which give no number for a token that they have not."""

import flax.linen as nn
import jax
import jax.numpy as jnp


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
