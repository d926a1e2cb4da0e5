"""The first neurons: the McCulloch-Pitts unit, and the units that the perceptron and ADALINE learn."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fdl.arguments import checked
from fdl.models.axes import with_axes


@checked
def mcculloch_pitts(x: ArrayLike, signs: ArrayLike, *, threshold: int) -> jax.Array:
    """The all-or-none unit: fires if enough excitatory inputs do, and no inhibitory one.

    McCulloch & Pitts 1943, A Logical Calculus of the Ideas Immanent in Nervous Activity: one active
    inhibitory input prevents the unit from firing, however many excitatory ones are active.

    Args:
      x: `[..., D]`, 1 or True where an input is active, else 0.
      signs: `[D]`, 1 for an excitatory input, -1 for an inhibitory one, 0 for none.
      threshold: how many active excitatory inputs it takes.

    Returns:
      int32 `[...]`, 1 or 0.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[0, 0], [0, 1], [1, 1]])
      >>> models.mcculloch_pitts(x, jnp.array([1, 1]), threshold=2)  # AND
      Array([0, 0, 1], dtype=int32)
    """
    active, signs = jnp.asarray(x).astype(bool), jnp.asarray(signs)
    excited = jnp.sum(active & (signs > 0), axis=-1) >= threshold
    vetoed = jnp.any(active & (signs < 0), axis=-1)
    return (excited & ~vetoed).astype(jnp.int32)


@checked
def heaviside(x: jax.Array) -> jax.Array:
    """1 where `x` `[...]` is above zero, else 0, of x's own dtype; its derivative is zero.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> models.heaviside(jnp.array([-1.0, 0.0, 2.0]))
      Array([0., 0., 1.], dtype=float32)
    """
    return (x > 0).astype(x.dtype)


@checked
class Neuron(nn.Module):
    """One unit, `activation(w · x + b)`: with `heaviside` the perceptron, with the identity ADALINE.

    Rosenblatt 1958, The Perceptron; Widrow & Hoff 1960, Adaptive Switching Circuits. Their own rules of
    learning are `fdl.tasks.perceptron` and `fdl.tasks.adaline`.

    Attributes:
      activation: what is done to the weighted sum, `[B, 1]` to the same shape.
      initializer: makes the initialiser of the weights; the bias starts at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Neuron()
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 1)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      9
    """

    activation: Callable[[jax.Array], jax.Array] = heaviside
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.zeros_init

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, 1]` of inputs `[B, ...]`, whose other axes are flattened."""
        del train
        kernel, zeros = with_axes(self.initializer(), None, None), with_axes(nn.initializers.zeros, None)
        return self.activation(nn.Dense(1, kernel_init=kernel, bias_init=zeros)(x.reshape(x.shape[0], -1)))
