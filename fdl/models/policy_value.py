"""Policy-value nets: what to do, and how it will end."""

from collections.abc import Callable

import flax.linen as nn
import jax

from fdl.arguments import Count, NotNegative, checked
from fdl.models.axes import with_axes
from fdl.models.conv import Conv
from fdl.models.norms import layer_norm


@checked
class BoardTower(nn.Module):
    """A 3x3 convolution and residual blocks of two: boards `[B, H, W, C]` to `[B, H, W, channels]`.

    Silver et al. 2017, Mastering the Game of Go without Human Knowledge, methods; the norm is not batch
    norm but by default layer norm, which knows no difference between playing and learning.

    Attributes:
      channels: of all convolutions.
      blocks: how many residual blocks there are.
      activation: the nonlinearity.
      norm: after each convolution, `norm(x, train)`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.BoardTower(channels=16, blocks=2)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 3, 3, 2)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 3, 3, 16)
    """

    channels: Count = 32
    blocks: NotNegative[int] = 2
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    norm: Callable[[jax.Array, bool], jax.Array] = layer_norm

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Features `[B, H, W, channels]` of boards `[B, H, W, C]`."""
        conv = lambda x: self.norm(Conv(self.channels, bias=False)(x), train)  # noqa: E731
        x = self.activation(conv(x))
        for _ in range(self.blocks):
            x = self.activation(x + conv(self.activation(conv(x))))
        return x


@checked
class PolicyValue(nn.Module):
    """A body with two heads: logits of the actions, and the value for the player to move.

    The heads are dense; those of Silver et al. 2017 begin with 1x1 convolutions.

    Attributes:
      body: a module `body(x, train)`, `[B, ...]` to `[B, ...]`, such as `BoardTower` or an `MLP`.
      actions: how many actions the game has, legal or not.
      hidden: units of each head's hidden layer.
      activation: of the hidden layers.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.PolicyValue(models.BoardTower(channels=16), actions=9)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 3, 3, 2)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> jax.tree.map(lambda leaf: leaf.shape, outputs)
      ((1, 9), (1,))
    """

    body: nn.Module
    actions: Count
    hidden: Count = 64
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Logits `[B, actions]` and values `[B]` from -1 to 1, for observations `[B, ...]`."""
        x = self.activation(self.body(x, train)).reshape(x.shape[0], -1)
        logits = self._head(x, self.actions, "policy")
        return logits, nn.tanh(self._head(x, 1, "value")[:, 0])

    def _head(self, x: jax.Array, outputs: int, name: str) -> jax.Array:
        lecun, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
        kernel, bias = with_axes(lecun, None, "mlp"), with_axes(zeros, "mlp")
        x = self.activation(
            nn.Dense(self.hidden, kernel_init=kernel, bias_init=bias, name=f"{name}_hidden")(x)
        )
        # The last kernel is small: at first every move is about as likely, and every game even.
        last = with_axes(nn.initializers.normal(0.01), "mlp", None)
        return nn.Dense(outputs, kernel_init=last, bias_init=with_axes(zeros, None), name=name)(x)
