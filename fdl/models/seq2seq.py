"""Sequence to sequence: a bidirectional recurrent encoder, and a decoder that attends to all of it."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.cells import GRUCell, Kernel, Recurrence, each, scan_cell
from fdl.models.dropout import Dropout
from fdl.models.recurrent import Recurrent, embedding, readout


class Attended(NamedTuple):
    """What a target is decoded from.

    Attributes:
      state: the decoder's own and, after it, the last context: `[B, H + 2 H]`.
      annotations: the encoder's outputs, `[B, S, 2 H]`.
      keys: what they give the alignment, `[B, S, H]`.
      mask: bool `[B, S]`, which places of the source are real.
    """

    state: jax.Array
    annotations: jax.Array
    keys: jax.Array
    mask: jax.Array


@checked
class AttentionDecoder(nn.Module):
    """A GRU that reads, beside its input, a weighted mean of annotations, by additive attention.

    Bahdanau et al. 2015, Neural Machine Translation by Jointly Learning to Align and Translate, sec. 3
    and A.1.2: with the state s, annotation j weighs `softmax_j v tanh(W s + k_j)`, k its key.

    Attributes:
      units: H.
      cache: whether the state after the last input is kept, in the collection `"cache"`, for the next.
    """

    units: Count
    cache: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, source: Attended) -> jax.Array:
        """The states and contexts `[T, B, 3 H]` over inputs `[T, B, I]`."""
        start = source.state
        if not self.cache:
            return scan_cell(self._recurrence(x, source, start))[0]
        kept = self.variable("cache", "state", lambda: start)
        outputs, (kept.value,) = scan_cell(self._recurrence(x, source, kept.value))
        return outputs

    def _recurrence(self, x: jax.Array, source: Attended, start: jax.Array) -> Recurrence:
        lecun = nn.initializers.lecun_normal
        gru = GRUCell(self.units, name="gru")(x)
        query = Kernel((self.units, self.units), lecun(), name="query")().astype(x.dtype)
        shape = (source.annotations.shape[-1], 3 * self.units)
        into = Kernel(shape, each(lecun(), 3), name="context")().astype(x.dtype)
        energy = self.param(
            "energy", with_axes(nn.initializers.normal(self.units**-0.5), None), (self.units,)
        )
        energy, lowest = energy.astype(x.dtype), jnp.finfo(x.dtype).min

        def step(carry: tuple[jax.Array, ...], z: jax.Array) -> tuple[jax.Array, ...]:
            h = carry[0][:, : self.units]
            scores = jnp.tanh(source.keys + (h @ query)[:, None]) @ energy
            weights = nn.softmax(jnp.where(source.mask, scores, lowest))
            context = jnp.einsum("bs,bsd->bd", weights, source.annotations)
            (h,) = gru.step((h,), z + context @ into)
            return (jnp.concatenate([h, context], axis=-1),)

        return Recurrence(gru.inputs, step, (start,))


@checked
class Seq2Seq(nn.Module):
    """Encoder and decoder of Bahdanau et al. 2015, with a linear readout in place of a maxout layer, and
    `GRUCell`'s variant of the cell and its start.

    The decoder starts from a function of the encoder's state at the source's first word, read backward.

    Attributes:
      sources: tokens of the source's vocabulary.
      targets: tokens of the target's vocabulary.
      units: H, of each direction of the encoder and of the decoder; embeddings have as many numbers.
      pad: the token that is no input.
      dropout: the rate on embeddings and before the readout; it may be traced.
      cache: whether decoding goes on from where it was, see `cached`.
      attention: whether the decoder attends to all annotations; if not, it reads at each step the last states
        of both directions, one vector of a fixed size for any source (Cho et al. 2014, Learning Phrase
        Representations using RNN Encoder-Decoder for Statistical Machine Translation, sec. 2.2).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Seq2Seq(sources=100, targets=80, units=64)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int), jnp.zeros((1, 4), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 4, 80)
    """

    sources: Count
    targets: Count
    units: Count = 128
    pad: NotNegative[int] = 0
    dropout: Share[float | jax.Array] = 0.0
    cache: bool = False
    attention: bool = True

    def setup(self) -> None:
        """Makes the parts, which encoding and decoding share."""
        kernel = with_axes(nn.initializers.lecun_normal(), "embed", "mlp")
        zeros = with_axes(nn.initializers.zeros, "mlp")
        self.source = embedding(self.sources, self.units, self.pad)
        self.target = embedding(self.targets, self.units)
        self.encoder = Recurrent((self.units,), GRUCell, bidirectional=True)
        self.bridge = nn.Dense(self.units, kernel_init=kernel, bias_init=zeros)
        self.align = nn.Dense(self.units, kernel_init=kernel, bias_init=zeros)
        self.decoder = AttentionDecoder(self.units, self.cache)
        self.readout = readout(self.targets)
        self.drop = Dropout(self.dropout)

    def __call__(self, x: jax.Array, y: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[B, T, targets]` of each next token.

        Args:
          x: the source, tokens `[B, S]`.
          y: what comes before each token that is to be predicted, tokens `[B, T]`.
          train: whether dropout acts.
        """
        return self.decode(y, *self.encode(x, train), train=train)

    def encode(self, x: jax.Array, train: bool = False) -> Attended:
        """What the decoder starts from, of the source `[B, S]`."""
        mask = x != self.pad
        annotations, last = self.encoder(self.drop(self.source(x), train), mask=mask)
        annotations = constrain(annotations, "batch", "length", "embed")
        h = jnp.tanh(self.bridge(last[:, self.units :]))
        state = jnp.concatenate([h, jnp.zeros_like(last)], axis=-1)
        if not self.attention:  # a mean of one vector is that vector
            annotations, mask = last[:, None], jnp.ones((len(x), 1), bool)
        return Attended(state, annotations, self.align(annotations), mask)

    def decode(
        self,
        y: jax.Array,
        state: jax.Array,
        annotations: jax.Array,
        keys: jax.Array,
        mask: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Logits `[B, T, targets]` of what follows `y` `[B, T]`, given what `encode` returns."""
        embedded = self.drop(self.target(y), train)
        source = Attended(state, annotations, keys, mask)
        outputs = jnp.swapaxes(self.decoder(jnp.swapaxes(embedded, 0, 1), source), 0, 1)
        return self.readout(self.drop(jnp.concatenate([outputs, embedded], axis=-1), train))

    @nn.nowrap
    def cached(self, size: int) -> "Seq2Seq":
        """The same model with a cache: of the same parameters, it reads a target part by part."""
        del size  # the state is of one size, however long the target
        return self.clone(cache=True)
