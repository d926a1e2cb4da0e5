"""Recurrent networks: cells stacked in layers of one or both directions, and a readout."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotEmpty, Share, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.cells import LSTMCell, scan_cell
from fdl.models.dropout import Dropout
from fdl.models.embedding import Embed

Cell = Callable[[int], nn.Module]
"""`cell(units)` makes a cell, as `LSTMCell` or `functools.partial(LSTMCell, forget_bias=0.0)`."""


@checked
class Recurrent(nn.Module):
    """Layers of a cell, each over the outputs of the one before, with dropout between them.

    Attributes:
      widths: units of each layer, in each direction.
      cell: makes a layer's cell.
      bidirectional: whether a second cell reads each layer's inputs from the end; its outputs follow the
        first one's along the last axis (Schuster & Paliwal 1997, Bidirectional Recurrent Neural
        Networks).
      dropout: the rate between layers; it may be traced.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Recurrent(widths=(64, 64), bidirectional=True)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 20, 8)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> jax.tree.map(lambda leaf: leaf.shape, outputs)
      ((1, 20, 128), (1, 128))
    """

    widths: NotEmpty[tuple[Count, ...]]
    cell: Cell = LSTMCell
    bidirectional: bool = False
    dropout: Share[float | jax.Array] = 0.0

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The last layer's outputs at all times, and those at the end of each row.

        Args:
          x: `[B, T, I]`.
          train: whether dropout acts.
          mask: bool `[B, T]`, False where a row has no input, as after its end; None: rows are whole.

        Returns:
          `[B, T, D H]`, zero where there is no input, and `[B, D H]`, each direction's after the last
          input that it reads; D is the number of directions.
        """
        x, mask = jnp.swapaxes(x, 0, 1), None if mask is None else mask.T
        last = []
        for index, units in enumerate(self.widths):
            x = Dropout(self.dropout)(x, train) if index else x
            ways = [scan_cell(self.cell(units)(x), mask)]
            if self.bidirectional:
                ways.append(scan_cell(self.cell(units)(x), mask, reverse=True))
            x = jnp.concatenate([outputs for outputs, _ in ways], axis=-1)
            x = constrain(x, "length", "batch", "embed")
            last = [carry[0] for _, carry in ways]
        return jnp.swapaxes(x, 0, 1), jnp.concatenate(last, axis=-1)


@checked
class RecurrentNet(nn.Module):
    """Recurrent layers and a linear readout, of the last outputs or of those at all times.

    Attributes:
      widths: units of each layer, in each direction.
      outputs: how many outputs there are.
      cell: makes a layer's cell.
      bidirectional: see `Recurrent`.
      last: whether there is one output a row, or one for each time.
      vocabulary: where inputs are tokens, how many there are; each is embedded in `widths[0]` numbers.
      dropout: the rate between layers and before the readout; it may be traced.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.RecurrentNet(widths=(64,), outputs=10, cell=models.GRUCell)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 20, 8)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      14730
    """

    widths: NotEmpty[tuple[Count, ...]]
    outputs: Count
    cell: Cell = LSTMCell
    bidirectional: bool = False
    last: bool = True
    vocabulary: Count | None = None
    dropout: Share[float | jax.Array] = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
        """`[B, outputs]` if `last`, else `[B, T, outputs]`.

        Args:
          x: `[B, T, I]`, or tokens `[B, T]`.
          train: whether dropout acts.
          mask: bool `[B, T]`, False where a row has no input; None: rows are whole.
        """
        if self.vocabulary is not None:
            x = embedding(self.vocabulary, self.widths[0])(x)
        layers = Recurrent(self.widths, self.cell, self.bidirectional, self.dropout)
        states, end = layers(x, train, mask)
        y = Dropout(self.dropout)(end if self.last else states, train)
        return readout(self.outputs)(y)


def embedding(vocabulary: int, width: int, padding: int | None = None) -> Embed:
    """A table of `[vocabulary, width]` numbers of unit variance, looked up by token; see `Embed`."""
    table = with_axes(nn.initializers.normal(1.0), "vocab", "embed")
    return Embed(vocabulary, width, embedding_init=table, padding=padding)


def readout(outputs: int) -> nn.Dense:
    """A linear map to outputs or logits."""
    kernel = with_axes(nn.initializers.lecun_normal(), "embed", "vocab")
    return nn.Dense(outputs, kernel_init=kernel, bias_init=with_axes(nn.initializers.zeros, "vocab"))
