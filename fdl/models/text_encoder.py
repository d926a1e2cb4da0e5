"""Encoders of text: every place sees the whole; for masked tokens, for classes, for embeddings."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.attention import Attention, Initializer
from fdl.models.axes import constrain, with_axes
from fdl.models.dropout import Dropout
from fdl.models.embedding import Embed
from fdl.models.norms import layer_norm
from fdl.models.positions import Positions, learned
from fdl.models.transformer import FeedForward, Norm, Transformer, fine_layer_norm

_normal = functools.partial(nn.initializers.truncated_normal, 0.02)

Pool = Callable[[jax.Array, jax.Array], jax.Array]
"""`pool(x, valid)`, vectors `[B, T, E]` and bool `[B, T]` to `[B, E]`."""


@checked
class TextEncoder(nn.Module):
    """Embeddings of tokens and of segments, and a transformer.

    Attributes:
      vocabulary: V, tokens are 0 to V - 1.
      width: E, entries of an embedding.
      transformer: what follows.
      segments: how many kinds of segments there are; 0: they are not told apart.
      padding: the token that is no text, which no place sees; None: all are text.
      initializer: makes the initialiser of the embeddings.
      places: rows of a table of positions that count text alone (RoBERTa's): the first token that is no
        padding has row `padding + 1`, all padding row `padding`; 0: positions are the transformer's.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.bert(vocabulary=256, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> type(model).__name__, outputs.shape
      ('TextEncoder', (1, 6, 64))
    """

    vocabulary: Count
    width: Count
    transformer: Transformer
    segments: NotNegative[int] = 0
    padding: int | None = None
    initializer: Initializer = _normal
    places: NotNegative[int] = 0

    def setup(self) -> None:
        """The token embeddings, of which `attend` too makes use."""
        table = with_axes(self.initializer(), "vocab", "embed")
        self.tokens = Embed(self.vocabulary, self.width, embedding_init=table, padding=self.padding)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, *, segments: jax.Array | None = None) -> jax.Array:
        """Vectors `[B, T, E]` of tokens `x` `[B, T]` in `segments` `[B, T]`, all 0 if None.

        Raises:
          ValueError: more tokens than positions.
        """
        y = self.tokens(x)
        if self.places:
            y = y + self._positions(x)
        if self.segments:
            table = with_axes(self.initializer(), None, "embed")
            embed = Embed(self.segments, self.width, embedding_init=table, name="segment")
            y = y + embed(jnp.zeros_like(x) if segments is None else segments)
        return self.transformer(y, train, valid=None if self.padding is None else self.valid(x))

    def _positions(self, x: jax.Array) -> jax.Array:
        """Vectors `[B, T, E]` of the positions of tokens `[B, T]`, of which only text is counted."""
        if self.padding is None or self.padding < 0:
            raise ValueError(
                f"positions of text alone need a padding token from 0; padding is {self.padding}"
            )
        limit = self.places - self.padding - 1
        if x.shape[1] > limit:
            raise ValueError(f"there are {x.shape[1]} places and positions for only {limit}")
        valid = self.valid(x)
        table = with_axes(self.initializer(), None, "embed")
        embed = Embed(self.places, self.width, embedding_init=table, name="positions")
        return embed(self.padding + jnp.cumsum(valid, axis=1, dtype=jnp.int32) * valid)

    def attend(self, x: jax.Array) -> jax.Array:
        """Products of vectors `[B, T, E]` with the token embeddings, `[B, T, V]`."""
        return self.tokens.attend(x)

    def valid(self, x: jax.Array) -> jax.Array:
        """Which tokens `[B, T]` are text, bool `[B, T]`."""
        return jnp.ones(x.shape, bool) if self.padding is None else x != self.padding


@checked
class MaskedLanguageModel(nn.Module):
    """An encoder and logits of the token that belongs at each place (Devlin et al. 2019, BERT, sec. 3.1).

    The logits are products with the token embeddings, plus a bias.

    Attributes:
      encoder: of the text.
      activation: of the layer before the logits.
      norm: called after it.
      initializer: makes the initialiser of its kernel.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MaskedLanguageModel(models.bert(vocabulary=256, width=64, layers=2, heads=4))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 256)
    """

    encoder: TextEncoder
    activation: Callable[[jax.Array], jax.Array] = lambda x: nn.gelu(x, approximate=False)
    norm: Norm = fine_layer_norm
    initializer: Initializer = _normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[B, T, V]` of tokens `x` `[B, T]`."""
        x = self.encoder(x, train)
        kernel, zeros = with_axes(self.initializer(), None, "embed"), nn.initializers.zeros
        dense = nn.Dense(
            x.shape[-1], kernel_init=kernel, bias_init=with_axes(zeros, "embed"), name="transform"
        )
        logits = self.encoder.attend(self.norm(self.activation(dense(x)), train))
        logits = logits + self.param("bias", with_axes(zeros, "vocab"), (logits.shape[-1],)).astype(
            logits.dtype
        )
        return constrain(logits, "batch", "length", "vocab")


@checked
class TextClassifier(nn.Module):
    """An encoder, one vector of its vectors, and logits.

    Attributes:
      encoder: of the text.
      outputs: how many logits there are; 0: the vector itself comes out, an embedding of the text.
      pool: makes the vector; called inside the module, so it may have parameters.
      dropout: rate of dropout of the vector.
      initializer: makes the initialiser of the last kernel.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> encoder = models.bert(vocabulary=256, width=64, layers=2, heads=4)
      >>> model = models.TextClassifier(encoder, outputs=3, pool=lambda x, mask: x[:, 0])
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 3)
    """

    encoder: TextEncoder
    outputs: NotNegative[int]
    pool: Pool
    dropout: Share[float | jax.Array] = 0.0
    initializer: Initializer = _normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[B, outputs]`, or vectors `[B, E]`, of tokens `x` `[B, T]`."""
        vector = self.pool(self.encoder(x, train), self.encoder.valid(x))
        if not self.outputs:
            return vector
        kernel, bias = with_axes(self.initializer(), "embed", None), with_axes(nn.initializers.zeros, None)
        head = nn.Dense(self.outputs, kernel_init=kernel, bias_init=bias, name="head")
        return constrain(head(Dropout(self.dropout)(vector, train)), "batch", None)


def first_token(x: jax.Array, valid: jax.Array) -> jax.Array:
    """BERT's pooler: a layer with tanh on the first token's vector; `[B, T, E]` to `[B, E]`."""
    del valid
    kernel, bias = with_axes(_normal(), None, "embed"), with_axes(nn.initializers.zeros, "embed")
    return jnp.tanh(nn.Dense(x.shape[-1], kernel_init=kernel, bias_init=bias, name="pooler")(x[:, 0]))


def mean_of_tokens(x: jax.Array, valid: jax.Array) -> jax.Array:
    """The mean of the vectors `[B, T, E]` of what is text `[B, T]`; `[B, E]`."""
    weight = valid[..., None].astype(x.dtype)
    return (x * weight).sum(axis=1) / jnp.maximum(weight.sum(axis=1), 1)


@checked
def bert(
    vocabulary: Count = 30522,
    *,
    length: Count = 512,
    width: Count = 768,
    layers: NotNegative[int] = 12,
    heads: Count = 12,
    hidden: Count | None = None,
    segments: NotNegative[int] = 2,
    padding: int | None = 0,
    dropout: Share[float | jax.Array] = 0.0,
    **options: Any,
) -> TextEncoder:
    """Devlin et al. 2019, BERT, sec. 3; by default the base model, uncased. What tells whether one sentence
    follows another (sec. 3.1, task 2) is left out.

    Args:
      vocabulary: how many tokens there are.
      length: the longest text.
      width: entries of an embedding.
      layers: how many.
      heads: of the attention of each layer.
      hidden: units of the feed-forward nets; four times the width if None.
      segments: kinds of segments.
      padding: the token that is no text.
      dropout: rate of embeddings, attention weights and branches.
      **options: attributes of the `Transformer`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.bert(vocabulary=256, length=128, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 64)
    """
    given: dict[str, Any] = {
        "attention": functools.partial(Attention, heads=heads, dropout=dropout, initializer=_normal),
        "feed_forward": functools.partial(FeedForward, hidden or 4 * width, initializer=_normal),
        "positions": learned(length, initializer=_normal()),
        "norm": fine_layer_norm,
        "pre_norm": False,
        "first_norm": fine_layer_norm,
        "dropout": dropout,
    }
    return TextEncoder(vocabulary, width, Transformer(layers, **(given | options)), segments, padding)


@checked
def roberta(
    vocabulary: Count = 50265,
    *,
    length: Count = 512,
    segments: NotNegative[int] = 1,
    padding: NotNegative[int] = 1,
    **options: Any,
) -> TextEncoder:
    """Liu et al. 2019, RoBERTa: BERT's encoder; by default the base model.

    As in the authors' code (fairseq), positions count text alone and begin after the padding's, and the
    norms' epsilon is 1e-5.

    Args:
      vocabulary: how many tokens there are.
      length: the longest text.
      segments: kinds of segments; with the one of RoBERTa, its vector is added to all tokens.
      padding: the token that is no text.
      **options: as `bert`'s.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.roberta(vocabulary=256, length=128, width=64, layers=2, heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 64)
    """
    given: dict[str, Any] = {"positions": Positions(), "norm": layer_norm, "first_norm": layer_norm}
    encoder = bert(vocabulary, segments=segments, padding=padding, **(given | options))
    return encoder.clone(places=padding + 1 + length)
