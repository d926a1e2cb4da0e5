"""What is put on an encoder to learn by comparison; a projection head is an `MLP`.

An encoder is any model `encoder(x, train)` from `[B, ...]` to features `[B, D]`. SimCLR's projection
head (Chen et al. 2020, sec. 2.1) is `MLP((width,), outputs)`, VICReg's expander (Bardes et al. 2022)
`MLP((width, width), outputs, norm=batch_norm)`.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, Positive, checked
from fdl.models.axes import constrain, with_axes

_LARGEST_SCALE = 100.0  # Radford et al. 2021, sec. 2.5: larger ones made training unstable


def unit(x: jax.Array) -> jax.Array:
    """`x` `[..., D]` over its Euclidean length along the last axis; zero stays zero."""
    return x / jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-24))


@checked
class WithHead(nn.Module):
    """An encoder, and a head for learning only: what is kept in the end is the encoder's features.

    One for all rows, it is a Siamese net (Bromley et al. 1993) when rows are compared.

    Attributes:
      encoder: `encoder(x, train)`, `[B, ...]` to features `[B, D]`.
      head: `head(features, train)`, to projections or class scores `[B, P]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.WithHead(encoder=models.MLP((64,), 16), head=models.MLP((32,), 8))
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 8)
    """

    encoder: nn.Module
    head: nn.Module

    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """The head's outputs `[B, P]` of inputs `[B, ...]`."""
        return self.head(self.features(x, train), train)

    def features(self, x: jax.Array, train: bool = False) -> jax.Array:
        """The encoder's features `[B, D]` of inputs `[B, ...]`."""
        return constrain(self.encoder(x, train), "batch", "embed")


@checked
class CosineHead(nn.Module):
    """Cosines of the angles between features and a learned direction for each class.

    Deng et al. 2019, ArcFace: Additive Angular Margin Loss for Deep Face Recognition, sec. 2.1.

    Attributes:
      outputs: how many classes there are.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.WithHead(models.MLP((64,), 16), models.CosineHead(outputs=10))
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 10)
    """

    outputs: Count

    @nn.compact
    def __call__(self, features: jax.Array, train: bool = False) -> jax.Array:
        """Cosines `[B, outputs]` of features `[B, D]`; `train` makes no difference."""
        del train
        init = with_axes(nn.initializers.glorot_normal(), "embed", None)
        kernel = self.param("kernel", init, (features.shape[-1], self.outputs))
        return constrain(unit(features) @ unit(kernel.T).T, "batch", None)


@checked
class DualEncoder(nn.Module):
    """Two towers whose unit vectors are to agree for what belongs together, and a learned temperature.

    Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision (CLIP),
    sec. 2.3 to 2.5 and fig. 3: linear projections without bias, the logarithm of the scale learned.

    Attributes:
      x_encoder: `x_encoder(x, train)`, `[B, ...]` to features `[B, D]`.
      y_encoder: `y_encoder(y, train)`, `[B, ...]` to features `[B, E]`.
      width: of the space that both are projected to.
      temperature: the first one; the scale is its inverse, and at most 100.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.DualEncoder(models.MLP((64,), 32), models.MLP((64,), 32), width=16)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 8)), jnp.zeros((1, 5)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> jax.tree.map(lambda leaf: leaf.shape, outputs)
      ((1, 16), (1, 16), ())
    """

    x_encoder: nn.Module
    y_encoder: nn.Module
    width: Count
    temperature: Positive[float] = 0.07

    @nn.compact
    def __call__(
        self, x: jax.Array, y: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Unit vectors `[B, width]` of x, those of y, and the scale of their cosines, a scalar."""
        start = nn.initializers.constant(-math.log(self.temperature))
        scale = jnp.exp(self.param("log_scale", with_axes(start), ()))
        vectors = (
            self._projected("x_projection", self.x_encoder(x, train)),
            self._projected("y_projection", self.y_encoder(y, train)),
        )
        return *vectors, jnp.minimum(scale, _LARGEST_SCALE)

    def _projected(self, name: str, features: jax.Array) -> jax.Array:
        init = with_axes(nn.initializers.lecun_normal(), None, "embed")
        return constrain(
            unit(features @ self.param(name, init, (features.shape[-1], self.width))), "batch", "embed"
        )
