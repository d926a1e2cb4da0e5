"""An acoustic model: from frames of sound to logits of labels, for connectionist temporal classification."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotEmpty, Share, checked
from fdl.models.cells import LSTMCell
from fdl.models.conv import Conv
from fdl.models.dropout import Dropout
from fdl.models.recurrent import Cell, Recurrent, readout


@checked
class AcousticModel(nn.Module):
    """A convolution over time, bidirectional recurrent layers, a linear readout at each time.

    The recurrent part is Graves & Jaitly's (2014, Towards End-to-End Speech Recognition with Recurrent
    Neural Networks, sec. 2). Features, as log-mel energies, are made with the data.

    Attributes:
      outputs: C, labels and the blank.
      channels: of the convolution.
      widths: units of each recurrent layer, in each direction.
      size: frames of the convolution's kernel, an odd number.
      stride: frames for each frame of logits.
      cell: makes a recurrent layer's cell.
      dropout: the rate before each recurrent layer and before the readout; it may be traced.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.AcousticModel(outputs=30, channels=16, widths=(64,))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 100, 40)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 50, 30)
    """

    outputs: Count
    channels: Count = 64
    widths: NotEmpty[tuple[Count, ...]] = (128, 128)
    size: Count = 5
    stride: Count = 2
    cell: Cell = LSTMCell
    dropout: Share[float | jax.Array] = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
        """Logits `[B, ceil(T / stride), outputs]`.

        Args:
          x: features `[B, T, M]`.
          train: whether dropout acts.
          mask: bool `[B, T]`, False after a row's end; None: rows are whole. A row of l frames has
            `ceil(l / stride)` of logits.
        """
        if mask is not None:
            x, mask = jnp.where(mask[..., None], x, 0), mask[:, :: self.stride]
        conv = Conv(
            self.channels,
            size=self.size,
            strides=self.stride,
            padding=self.size // 2,
            initializer=nn.initializers.he_normal,
        )
        x = Dropout(self.dropout)(nn.relu(conv(x)), train)
        x, _ = Recurrent(self.widths, self.cell, bidirectional=True, dropout=self.dropout)(x, train, mask)
        return readout(self.outputs)(Dropout(self.dropout)(x, train))
