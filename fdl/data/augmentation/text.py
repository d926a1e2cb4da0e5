"""Augmentations of texts as tokens; `base` says what all have in common."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fdl.arguments import NotNegative, Share, checked
from fdl.data.augmentation.base import by_row
from fdl.data.sources import Augmentation


@checked
def token_dropout(
    *, rate: Share[float | jax.Array], replacement: NotNegative[int], spared: Sequence[NotNegative[int]] = ()
) -> Augmentation:
    """Puts `replacement` in the place of each token with probability `rate`, independently.

    Bowman et al. 2016, Generating Sentences from a Continuous Space, sec. 3.1, replace words by the
    unknown one (word dropout). Lengths stay as they are.

    Args:
      rate: 0 to 1.
      replacement: the token for what is dropped.
      spared: tokens that are never dropped, such as padding and the end.

    Example:
      >>> drop = fdl.data.token_dropout(rate=1.0, replacement=3, spared=(0,))
      >>> drop({"x": np.array([[7, 9, 0, 0]])}, jax.random.key(0))["x"].tolist()
      [[3, 3, 0, 0]]
    """

    def row(tokens: jax.Array, key: jax.Array) -> jax.Array:
        dropped = jax.random.bernoulli(key, rate, tokens.shape)
        for token in spared:
            dropped &= tokens != token
        return jnp.where(dropped, jnp.asarray(replacement, tokens.dtype), tokens)

    return by_row(row)
