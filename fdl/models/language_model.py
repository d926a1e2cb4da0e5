"""Causal language models: what comes next, from all that came before."""

import functools
from typing import Any

import flax.linen as nn
import jax

from fdl.arguments import Count, Share, checked
from fdl.models.attention import Attention, Initializer, causal
from fdl.models.axes import constrain, with_axes
from fdl.models.embedding import Embed
from fdl.models.norms import rms_norm
from fdl.models.positions import learned, rotary
from fdl.models.transformer import FeedForward, Transformer


@checked
class LanguageModel(nn.Module):
    """Token embedding, transformer, logits of the next token.

    Attributes:
      vocabulary: V, tokens are 0 to V - 1.
      width: E, entries of an embedding.
      transformer: what is between; its mask must let no place see later ones, as `causal`.
      tied: whether the logits are products with the embeddings, else with a kernel `head` of their own.
      initializer: makes the initialiser of the embeddings and of the head.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.gpt2(vocabulary=256, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> type(model).__name__, outputs.shape
      ('LanguageModel', (1, 6, 256))
    """

    vocabulary: Count
    width: Count
    transformer: Transformer
    tied: bool = True
    initializer: Initializer = functools.partial(nn.initializers.normal, 0.02)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[B, T, V]` of the tokens that follow each of `x` `[B, T]`, integers."""
        table = with_axes(self.initializer(), "vocab", "embed")
        tokens = Embed(self.vocabulary, self.width, embedding_init=table, name="tokens")
        x = self.transformer(tokens(x), train)
        if self.tied:
            return constrain(tokens.attend(x), "batch", "length", "vocab")
        kernel = with_axes(self.initializer(), "embed", "vocab")
        head = nn.Dense(self.vocabulary, use_bias=False, kernel_init=kernel, name="head")
        return constrain(head(x), "batch", "length", "vocab")

    @nn.nowrap
    def cached(self, size: int) -> "LanguageModel":
        """The same model with a cache: of the same parameters, it reads a text of `size` part by part."""
        return self.clone(transformer=self.transformer.clone(cache=size))


@checked
def gpt2(
    vocabulary: Count = 50257,
    *,
    length: Count = 1024,
    width: Count = 768,
    layers: Count = 12,
    heads: Count = 12,
    tied: bool = True,
    dropout: Share[float | jax.Array] = 0.0,
    **options: Any,
) -> LanguageModel:
    """Radford et al. 2019, Language Models are Unsupervised Multitask Learners; by default the small one.

    Args:
      vocabulary: how many tokens there are.
      length: the longest text.
      width: entries of an embedding.
      layers: how many.
      heads: of the attention of each layer.
      tied: whether the logits are products with the embeddings.
      dropout: rate of embeddings, attention weights and branches.
      **options: attributes of the `Transformer`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.gpt2(vocabulary=256, length=128, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 256)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      124672
    """
    initializer = functools.partial(nn.initializers.normal, 0.02)
    kernels: dict[str, Any] = {
        "initializer": initializer,
        # Each layer adds two branches to the residual stream.
        "last_initializer": functools.partial(nn.initializers.normal, 0.02 / (2 * layers) ** 0.5),
    }
    given: dict[str, Any] = {
        "attention": functools.partial(Attention, heads=heads, dropout=dropout, **kernels),
        "feed_forward": functools.partial(FeedForward, 4 * width, nn.gelu, **kernels),
        "positions": learned(length, initializer=nn.initializers.normal(0.01)),
        "mask": causal,
        "dropout": dropout,
    }
    return LanguageModel(vocabulary, width, Transformer(layers, **(given | options)), tied)


@checked
def llama(
    vocabulary: Count,
    *,
    width: Count,
    layers: Count,
    heads: Count,
    shared: Count | None = None,
    hidden: Count | None = None,
    tied: bool = False,
    dropout: Share[float | jax.Array] = 0.0,
    **options: Any,
) -> LanguageModel:
    """The modern recipe: RMS norm, rotary positions, SwiGLU, grouped queries, no biases.

    Touvron et al. 2023, LLaMA, sec. 2.2, and Llama 2, sec. 2.2 (grouped queries). Kernels start as GPT-2's,
    and hidden units are rounded to multiples of 8, where the authors' code has 256.

    Args:
      vocabulary: how many tokens there are.
      width: entries of an embedding.
      layers: how many.
      heads: of the attention's queries.
      shared: heads of its keys and values; `heads` if None.
      hidden: units of the feed-forward nets; the multiple of 8 at or above 8/3 of the width if None.
      tied: whether the logits are products with the embeddings.
      dropout: rate of embeddings, attention weights and branches.
      **options: attributes of the `Transformer`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.llama(vocabulary=256, width=64, layers=2, heads=4, shared=2)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 256)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      125248
    """
    hidden = 8 * -(-width // 3) if hidden is None else hidden
    kernels: dict[str, Any] = {
        "bias": False,
        "initializer": functools.partial(nn.initializers.normal, 0.02),
        "last_initializer": functools.partial(nn.initializers.normal, 0.02 / (2 * layers) ** 0.5),
    }
    given: dict[str, Any] = {
        "attention": functools.partial(Attention, heads=heads, shared=shared, dropout=dropout, **kernels),
        "feed_forward": functools.partial(FeedForward, hidden, nn.silu, gated=True, **kernels),
        "positions": rotary(),
        "mask": causal,
        "norm": rms_norm,
        "dropout": dropout,
    }
    return LanguageModel(vocabulary, width, Transformer(layers, **(given | options)), tied)
