"""The vision transformer: an image as a text of patches."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.attention import Attention, Initializer
from fdl.models.axes import constrain, with_axes
from fdl.models.norms import layer_norm
from fdl.models.positions import learned
from fdl.models.transformer import FeedForward, Transformer

_xavier = nn.initializers.xavier_uniform


@checked
class ViT(nn.Module):
    """Patches, each a vector, after a vector `first` that is the same for all images; logits of that one.

    Attributes:
      outputs: how many logits there are.
      patch: P, height and width of a patch; its pixels meet the kernel `[P P C, E]` of `patches` row by row.
      width: E, entries of a patch's vector.
      transformer: what follows, on `1 + (H / P) (W / P)` places.
      initializer: makes the initialiser of the kernel of `patches`; biases, `first` and the head, as the
        paper's for fine-tuning (sec. 3.2), start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.vision_transformer(10, size=32, patch=8, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> type(model).__name__, outputs.shape
      ('ViT', (1, 10))
    """

    outputs: Count
    patch: Count
    width: Count
    transformer: Transformer
    initializer: Initializer = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[B, outputs]` of images `x` `[B, H, W, C]`.

        Raises:
          ValueError: images that do not divide into patches, or more patches than positions.
        """
        zeros = nn.initializers.zeros
        kernel = with_axes(self.initializer(), None, "embed")
        patches = nn.Dense(
            self.width, kernel_init=kernel, bias_init=with_axes(zeros, "embed"), name="patches"
        )
        x = patches(_patches(x, self.patch))
        first = self.param("first", with_axes(zeros, "embed"), (self.width,))
        first = jnp.broadcast_to(first.astype(x.dtype), (x.shape[0], 1, self.width))
        x = self.transformer(jnp.concatenate([first, x], axis=1), train)
        kernel = with_axes(zeros, "embed", None)
        head = nn.Dense(self.outputs, kernel_init=kernel, bias_init=with_axes(zeros, None), name="head")
        return constrain(head(x[:, 0]), "batch", None)


def _patches(x: jax.Array, size: int) -> jax.Array:
    """Images `[B, H, W, C]` as `[B, (H / size) (W / size), size size C]`."""
    batch, height, width, channels = x.shape
    if height % size or width % size:
        raise ValueError(f"images are {height} x {width}; expected multiples of the patch's size, {size}")
    x = x.reshape(batch, height // size, size, width // size, size, channels)
    return jnp.swapaxes(x, 2, 3).reshape(batch, -1, size * size * channels)


@checked
def vision_transformer(
    outputs: Count = 1000,
    *,
    size: Count = 224,
    patch: Count = 16,
    width: Count = 768,
    layers: NotNegative[int] = 12,
    heads: Count = 12,
    hidden: Count | None = None,
    dropout: Share[float | jax.Array] = 0.0,
    **options: Any,
) -> ViT:
    """Dosovitskiy et al. 2021, An Image Is Worth 16x16 Words, sec. 3.1; by default ViT-B/16.

    Initial kernels and the norms' epsilon of 1e-6 are those of the authors' code. The head is one layer, as
    the paper's for fine-tuning; its head for pre-training has a hidden layer with tanh before.

    Args:
      outputs: how many logits there are.
      size: height and width of an image.
      patch: height and width of a patch.
      width: entries of a patch's vector.
      layers: how many.
      heads: of the attention of each layer.
      hidden: units of the feed-forward nets; four times the width if None.
      dropout: rate of embeddings, hidden units of the feed-forward nets and branches (appendix B.1); not
        of attention weights, for which give another `attention`.
      **options: attributes of the `Transformer`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.vision_transformer(10, size=32, patch=4, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      108106
    """
    given: dict[str, Any] = {
        "attention": functools.partial(Attention, heads=heads, initializer=_xavier),
        "feed_forward": functools.partial(
            FeedForward, hidden or 4 * width, initializer=_xavier, dropout=dropout
        ),
        "positions": learned(1 + (size // patch) ** 2),
        "norm": functools.partial(layer_norm, epsilon=1e-6),
        "dropout": dropout,
    }
    return ViT(outputs, patch, width, Transformer(layers, **(given | options)))
