"""Encoder and decoder: a text from a text."""

import functools
from typing import Any

import flax.linen as nn
import jax

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.attention import Attention, Initializer, causal
from fdl.models.axes import constrain, with_axes
from fdl.models.embedding import Embed
from fdl.models.norms import rms_norm
from fdl.models.positions import relative, sinusoidal
from fdl.models.transformer import FeedForward, Transformer


@checked
class EncoderDecoder(nn.Module):
    """An encoder of the source, and a causal decoder that attends to it; one embedding for all tokens.

    Attributes:
      vocabulary: V, tokens are 0 to V - 1.
      width: E, entries of an embedding.
      encoder: reads the source.
      decoder: reads the target; its mask must let no place see later ones, as `causal`.
      padding: the token of a source that is no text, which no place sees; None: all are text.
      embedding_scale: factor of the embeddings.
      logit_scale: factor of the decoder's vectors before their products with the embeddings.
      initializer: makes the initialiser of the embeddings.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.t5(vocabulary=256, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int), jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> type(model).__name__, outputs.shape
      ('EncoderDecoder', (1, 6, 256))
    """

    vocabulary: Count
    width: Count
    encoder: Transformer
    decoder: Transformer
    padding: int | None = None
    embedding_scale: float = 1.0
    logit_scale: float = 1.0
    initializer: Initializer = functools.partial(nn.initializers.normal, 0.02)

    def setup(self) -> None:
        """The token embeddings, of source, target and logits."""
        table = with_axes(self.initializer(), "vocab", "embed")
        self.tokens = Embed(self.vocabulary, self.width, embedding_init=table, padding=self.padding)

    def __call__(self, x: jax.Array, target: jax.Array, train: bool = False) -> jax.Array:
        """Logits of the tokens that follow each of the target.

        Args:
          x: the source, integers `[B, S]`.
          target: the tokens known so far, integers `[B, T]`, the first one a start symbol.
          train: whether there is dropout.

        Returns:
          `[B, T, V]`.
        """
        return self.decode(target, *self.encode(x, train), train=train)

    def encode(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array | None]:
        """Vectors `[B, S, E]` of a source `x` `[B, S]`, and which are text, bool `[B, S]` or None."""
        valid = None if self.padding is None else x != self.padding
        return self.encoder(self.embedding_scale * self.tokens(x), train, valid=valid), valid

    def decode(
        self, target: jax.Array, context: jax.Array, valid: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Logits `[B, T, V]` of what follows the target `[B, T]`, given what `encode` returns."""
        y = self.embedding_scale * self.tokens(target)
        y = self.decoder(y, train, context=context, context_valid=valid)
        return constrain(self.tokens.attend(self.logit_scale * y), "batch", "length", "vocab")

    @nn.nowrap
    def cached(self, size: int) -> "EncoderDecoder":
        """The same model with a cache: of the same parameters, it reads a target of `size` part by part."""
        return self.clone(decoder=self.decoder.clone(cache=size))


@checked
def original_transformer(
    vocabulary: Count,
    *,
    width: Count = 512,
    layers: NotNegative[int] = 6,
    heads: Count = 8,
    hidden: Count = 2048,
    padding: int | None = 0,
    dropout: Share[float | jax.Array] = 0.0,
    **options: Any,
) -> EncoderDecoder:
    """Vaswani et al. 2017, Attention Is All You Need, sec. 3; by default the base model.

    Args:
      vocabulary: how many tokens source and target share.
      width: entries of an embedding.
      layers: how many the encoder has, and the decoder.
      heads: of the attention of each layer.
      hidden: units of the feed-forward nets.
      padding: the token of a source that is no text.
      dropout: rate of embeddings and branches (sec. 5.4); later code drops attention weights too.
      **options: attributes of both `Transformer`s, other than the mask.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.original_transformer(vocabulary=256, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int), jnp.zeros((1, 4), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 4, 256)
    """
    glorot = nn.initializers.glorot_uniform
    given: dict[str, Any] = {
        "attention": functools.partial(Attention, heads=heads, initializer=glorot),
        "feed_forward": functools.partial(FeedForward, hidden, nn.relu, initializer=glorot),
        "positions": sinusoidal(),
        "pre_norm": False,
        "dropout": dropout,
    }
    both: dict[str, Any] = given | options
    return EncoderDecoder(
        vocabulary,
        width,
        Transformer(layers, **both),
        Transformer(layers, mask=causal, **both),
        padding,
        embedding_scale=width**0.5,
        initializer=functools.partial(nn.initializers.normal, width**-0.5),
    )


@checked
def t5(
    vocabulary: Count = 32128,
    *,
    width: Count = 512,
    layers: NotNegative[int] = 6,
    heads: Count = 8,
    head_width: Count = 64,
    hidden: Count = 2048,
    padding: int | None = 0,
    dropout: Share[float | jax.Array] = 0.0,
    **options: Any,
) -> EncoderDecoder:
    """Raffel et al. 2020, Exploring the Limits of Transfer Learning, sec. 2.1; by default T5-small.

    Args:
      vocabulary: how many tokens source and target share.
      width: entries of an embedding.
      layers: how many the encoder has, and the decoder.
      heads: of the attention of each layer.
      head_width: entries of a head.
      hidden: units of the feed-forward nets.
      padding: the token of a source that is no text.
      dropout: rate of embeddings, attention weights, hidden units of the feed-forward nets, branches, and
        what comes out of encoder and decoder (sec. 2.1).
      **options: attributes of both `Transformer`s, other than positions and mask.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.t5(vocabulary=256, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int), jnp.zeros((1, 4), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 4, 256)
    """
    attention = functools.partial(
        Attention,
        heads=heads,
        width=head_width,
        bias=False,
        scale=1.0,
        dropout=dropout,
        # Scores are not scaled: the initial queries are instead.
        query_initializer=functools.partial(nn.initializers.normal, (width * head_width) ** -0.5),
    )
    given: dict[str, Any] = {
        "attention": attention,
        "feed_forward": functools.partial(FeedForward, hidden, nn.relu, bias=False, dropout=dropout),
        "norm": rms_norm,
        "dropout": dropout,
        "last_dropout": dropout,
    }
    places = functools.partial(relative, heads, deviation=width**-0.5)
    return EncoderDecoder(
        vocabulary,
        width,
        Transformer(layers, positions=places(bidirectional=True), **(given | options)),
        Transformer(layers, positions=places(bidirectional=False), mask=causal, **(given | options)),
        padding,
        logit_scale=width**-0.5,
        initializer=functools.partial(nn.initializers.normal, 1.0),
    )
