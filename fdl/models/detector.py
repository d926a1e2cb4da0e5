"""An anchor-free single-shot detector: objects as points of a map."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax

from fdl.arguments import Count, NotEmpty, NotNegative, checked
from fdl.models.conv import Conv

_RARE = -2.19
"""A logit of probability 0.1: at the start nearly no place has an object (Lin et al. 2017, Focal Loss for
Dense Object Detection, sec. 3.3)."""


class Maps(NamedTuple):
    """What a detector says of each cell of a grid over the image.

    Attributes:
      heat: logits that an object of the class has its centre here, `[B, h, w, C]`.
      size: its height and width, in cells, `[B, h, w, 2]`.
      offset: of its centre down and right from the cell's upper left corner, in cells, `[B, h, w, 2]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Detector(classes=3, widths=(16, 32))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs._fields, outputs.offset.shape
      (('heat', 'size', 'offset'), (1, 16, 16, 2))
    """

    heat: jax.Array
    size: jax.Array
    offset: jax.Array


@checked
class Detector(nn.Module):
    """Convolutions that halve the image, then a head for each of the `Maps`.

    Zhou et al. 2019, Objects as Points, sec. 3: there are no anchors, and no boxes to be merged; the
    paper's nets are larger, and their sizes are in pixels. The image
    is halved between stages, so that a cell is `2 ** (len(widths) - 1)` pixels wide.

    Attributes:
      classes: C.
      widths: channels of the stages.
      layers: 3x3 convolutions in each stage; the first of all stages but the first has strides 2.
      activation: the nonlinearity.
      norm: between each of these and its activation, `norm(x, train)`, or None.
      initializer: makes the initialiser of the kernels; biases start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Detector(classes=3, widths=(16, 32))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.heat.shape, outputs.size.shape
      ((1, 16, 16, 3), (1, 16, 16, 2))
    """

    classes: Count
    widths: NotEmpty[tuple[Count, ...]] = (32, 64, 128)
    layers: NotNegative[int] = 2
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    norm: Callable[[jax.Array, bool], jax.Array] | None = None
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Maps:
        """The maps of images `[B, H, W, I]`.

        Raises:
          ValueError: a height or width that does not divide into cells.
        """
        cell = 2 ** (len(self.widths) - 1)
        if x.shape[1] % cell or x.shape[2] % cell:
            raise ValueError(
                f"images are {x.shape[1]}x{x.shape[2]}; expected multiples of {cell}, "
                f"for {len(self.widths)} widths: pad the images"
            )

        def three(x: jax.Array, channels: int, strides: int = 1) -> jax.Array:
            conv = Conv(
                channels,
                strides=strides,
                padding=1,
                bias=self.norm is None,
                initializer=self.initializer,
            )
            y = conv(x)
            return self.activation(y if self.norm is None else self.norm(y, train))

        for stage, channels in enumerate(self.widths):
            for layer in range(self.layers):
                x = three(x, channels, strides=2 if stage and not layer else 1)

        def head(outputs: int) -> jax.Array:
            hidden = three(x, self.widths[-1])
            return Conv(outputs, size=1, initializer=nn.initializers.lecun_normal)(hidden)

        return Maps(head(self.classes) + _RARE, head(2), head(2))
