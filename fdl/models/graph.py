"""Graph convolution over dense adjacency matrices."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, Share, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.dropout import Dropout

Initializer = Callable[[], nn.initializers.Initializer]


@checked
def normalised_adjacency(adjacency: jax.Array) -> jax.Array:
    """D^-1/2 (A + I) D^-1/2, D the degrees of A + I.

    Kipf & Welling 2017, Semi-Supervised Classification with Graph Convolutional Networks, eq. 2 (the
    renormalisation trick). A node without edges, such as padding, sees only itself.

    Args:
      adjacency: `[..., N, N]`, edges' weights, at least 0, zero on the diagonal.

    Returns:
      `[..., N, N]`.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> adjacency = jnp.array([[0.0, 1.0], [1.0, 0.0]])
      >>> models.normalised_adjacency(adjacency).round(3).tolist()
      [[0.5, 0.5], [0.5, 0.5]]
    """
    own = adjacency + jnp.eye(adjacency.shape[-1], dtype=adjacency.dtype)
    scale = jax.lax.rsqrt(jnp.sum(own, axis=-1))
    return scale[..., :, None] * own * scale[..., None, :]


@checked
class GraphConv(nn.Module):
    """Â X W + b, Â the normalised adjacency: `[B, N, D]` to `[B, N, features]`. The paper has no bias.

    Attributes:
      features: of a node's output.
      axis: the logical name of their axis.
      initializer: makes the kernel's initialiser; the bias starts at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.GraphConv(features=16)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 5, 8)), jnp.zeros((1, 5, 5)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 5, 16)
    """

    features: Count
    axis: str | None = "mlp"
    initializer: Initializer = nn.initializers.glorot_uniform

    @nn.compact
    def __call__(self, x: jax.Array, mixing: jax.Array) -> jax.Array:
        """Convolves nodes `x` `[B, N, D]` by `mixing` `[B, N, N]`, a `normalised_adjacency`."""
        kernel = with_axes(self.initializer(), None, self.axis)
        y = mixing @ nn.Dense(self.features, use_bias=False, kernel_init=kernel)(x)
        # The rows of Â do not sum to one: a bias that is added before it would be another map.
        return y + self.param("bias", with_axes(nn.initializers.zeros, self.axis), (self.features,))


@checked
class GCN(nn.Module):
    """Graph convolutions with an activation after each but the last.

    Kipf & Welling 2017, eq. 2 and 9.

    Attributes:
      widths: features of each hidden layer.
      outputs: features of a node's output.
      activation: the function after each hidden layer.
      dropout: the rate before each layer; it may be traced.
      initializer: makes the initialiser of the kernels; biases start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.GCN(widths=(16,), outputs=7)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 5, 8)), jnp.zeros((1, 5, 5)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 5, 7)
    """

    widths: tuple[Count, ...]
    outputs: Count
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    dropout: Share[float | jax.Array] = 0.0
    initializer: Initializer = nn.initializers.glorot_uniform

    @nn.compact
    def __call__(self, x: jax.Array, adjacency: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, N, outputs]` of nodes `x` `[B, N, D]` with `adjacency` `[B, N, N]`."""
        mixing = constrain(normalised_adjacency(adjacency), "batch", "length", None)
        for width in self.widths:
            x = Dropout(self.dropout)(x, train)
            x = self.activation(GraphConv(width, initializer=self.initializer)(x, mixing))
            x = constrain(x, "batch", "length", "mlp")
        x = Dropout(self.dropout)(x, train)
        return GraphConv(self.outputs, axis=None, initializer=self.initializer)(x, mixing)
