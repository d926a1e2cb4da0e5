"""Recurrent cells, and the scan over time that they share.

A cell, called with inputs of all times, multiplies them at once, before the scan: only the products
with its own state are left to be made time by time.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.initializers import orthogonal

Initializer = Callable[[], nn.initializers.Initializer]
Carry = tuple[jax.Array, ...]
"""What a cell hands on from one time to the next, each `[B, H]`; the first is its output."""


class Recurrence(NamedTuple):
    """A cell with its weights, and its inputs multiplied already.

    Attributes:
      inputs: `[T, B, G]`, time first.
      step: `step(carry, inputs [B, G]) -> carry`, one time.
      start: the carry before the first time.
    """

    inputs: jax.Array
    step: Callable[[Carry, jax.Array], Carry]
    start: Carry


def scan_cell(
    recurrence: Recurrence, mask: jax.Array | None = None, *, reverse: bool = False
) -> tuple[jax.Array, Carry]:
    """A cell's outputs at all times, and its last carry.

    Args:
      recurrence: the cell.
      mask: bool `[T, B]`, False where a row has no input: there the carry is held and the output is 0.
        None: rows are whole.
      reverse: from the last time to the first.

    Returns:
      Outputs `[T, B, H]`, and the carry after the last step.
    """

    def body(carry: Carry, now: tuple[jax.Array, jax.Array | None]) -> tuple[Carry, jax.Array]:
        inputs, keep = now
        new = recurrence.step(carry, inputs)
        if keep is None:
            return new, new[0]
        keep = keep[:, None]
        new = tuple(jnp.where(keep, after, before) for after, before in zip(new, carry, strict=True))
        return new, jnp.where(keep, new[0], 0)

    last, outputs = jax.lax.scan(body, recurrence.start, (recurrence.inputs, mask), reverse=reverse)
    return outputs, last


@checked
class RNNCell(nn.Module):
    """`h' = activation(W x + U h + b)`, Elman's.

    Attributes:
      units: H.
      activation: the nonlinearity.
      initializer: makes the initialiser of W.
      recurrent: makes the initialiser of U: `initializers.orthogonal`, `initializers.identity` (Le et
        al. 2015, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units, sec. 2, with
        ReLU), or Gaussian, as `functools.partial(nn.initializers.normal, 0.01)`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.RecurrentNet(widths=(64,), outputs=10, cell=models.RNNCell)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 20, 8)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      5322
    """

    units: Count
    activation: Callable[[jax.Array], jax.Array] = nn.tanh
    initializer: Initializer = nn.initializers.lecun_normal
    recurrent: Initializer = orthogonal

    @nn.compact
    def __call__(self, x: jax.Array) -> Recurrence:
        """The recurrence over inputs `[T, B, I]`."""
        inputs, kernel = _products(self, x, gates=1)
        step = lambda carry, z: (self.activation(z + carry[0] @ kernel),)  # noqa: E731
        return Recurrence(inputs, step, _zeros(inputs, self.units, 1))


@checked
class LSTMCell(nn.Module):
    """Long short-term memory with a forget gate and no peepholes, as PyTorch's but for one bias, not two.

    Hochreiter & Schmidhuber 1997, Long Short-Term Memory; Gers et al. 2000, Learning to Forget. With
    `i, f, g, o` the four parts of `W x + U h + b`:
    `c' = sigmoid(f) c + sigmoid(i) tanh(g)`, `h' = sigmoid(o) tanh(c')`.

    Attributes:
      units: H.
      forget_bias: what the forget gate's bias starts at; the others start at 0 (Jozefowicz et al. 2015,
        An Empirical Exploration of Recurrent Network Architectures, find 1 better than 0).
      initializer: makes the initialiser of each gate's part of W.
      recurrent: makes the initialiser of each gate's part of U.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.RecurrentNet(widths=(64,), outputs=10, cell=models.LSTMCell)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 20, 8)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      19338
    """

    units: Count
    forget_bias: float = 1.0
    initializer: Initializer = nn.initializers.lecun_normal
    recurrent: Initializer = orthogonal

    @nn.compact
    def __call__(self, x: jax.Array) -> Recurrence:
        """The recurrence over inputs `[T, B, I]`; the carry is (h, c)."""

        def bias(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
            del key
            return jnp.zeros(shape, dtype).at[self.units : 2 * self.units].set(self.forget_bias)

        inputs, kernel = _products(self, x, gates=4, bias=bias)

        def step(carry: Carry, z: jax.Array) -> Carry:
            h, c = carry
            i, f, g, o = jnp.split(z + h @ kernel, 4, axis=-1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            return nn.sigmoid(o) * jnp.tanh(c), c

        return Recurrence(inputs, step, _zeros(inputs, self.units, 2))


@checked
class GRUCell(nn.Module):
    """Gated recurrent unit in PyTorch's and cuDNN's variant: the reset gate comes after the product.

    Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder, sec. 2.3, but for that
    variant. With `r, u, n` the three parts of `W x + b` and `r', u', n'` those of `U h`:
    `m = tanh(n + sigmoid(r + r') (n' + d))`, `h' = (1 - sigmoid(u + u')) m + sigmoid(u + u') h`.

    Attributes:
      units: H.
      initializer: makes the initialiser of each gate's part of W.
      recurrent: makes the initialiser of each gate's part of U.

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

    units: Count
    initializer: Initializer = nn.initializers.lecun_normal
    recurrent: Initializer = orthogonal

    @nn.compact
    def __call__(self, x: jax.Array) -> Recurrence:
        """The recurrence over inputs `[T, B, I]`."""
        inputs, kernel = _products(self, x, gates=3)
        bias = self.param("candidate_bias", with_axes(nn.initializers.zeros, None), (self.units,))
        bias = bias.astype(inputs.dtype)

        def step(carry: Carry, z: jax.Array) -> Carry:
            (h,) = carry
            r, u, n = jnp.split(z, 3, axis=-1)
            h_r, h_u, h_n = jnp.split(h @ kernel, 3, axis=-1)
            new = jnp.tanh(n + nn.sigmoid(r + h_r) * (h_n + bias))
            keep = nn.sigmoid(u + h_u)
            return ((1 - keep) * new + keep * h,)

        return Recurrence(inputs, step, _zeros(inputs, self.units, 1))


@checked
class Kernel(nn.Module):
    """A matrix by itself, to multiply by inside a scan.

    Attributes:
      shape: `[I, O]`.
      initializer: its initialiser.
    """

    shape: tuple[int, int]
    initializer: nn.initializers.Initializer

    @nn.compact
    def __call__(self) -> jax.Array:
        """The matrix."""
        return self.param("kernel", with_axes(self.initializer, None, "mlp"), self.shape)


def _products(
    cell: RNNCell | LSTMCell | GRUCell,
    x: jax.Array,
    *,
    gates: int,
    bias: nn.initializers.Initializer = nn.initializers.zeros,
) -> tuple[jax.Array, jax.Array]:
    """`x W + b` `[T, B, G H]`, and U `[H, G H]`; submodules of the cell that calls."""
    kernel = with_axes(each(cell.initializer(), gates), "embed", "mlp")
    dense = nn.Dense(gates * cell.units, kernel_init=kernel, bias_init=with_axes(bias, "mlp"), name="input")
    shape = (cell.units, gates * cell.units)
    recurrent = Kernel(shape, each(cell.recurrent(), gates), name="recurrent")()
    inputs = dense(x)
    return constrain(inputs, "length", "batch", "mlp"), recurrent.astype(inputs.dtype)


def each(initializer: nn.initializers.Initializer, gates: int) -> nn.initializers.Initializer:
    """Kernels of that many gates side by side, each initialised by itself."""

    def init(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        keys, one = jax.random.split(key, gates), (shape[0], shape[1] // gates)
        return jnp.concatenate([initializer(key, one, dtype) for key in keys], axis=-1)

    return init


def _zeros(inputs: jax.Array, units: int, count: int) -> Carry:
    return (jnp.zeros((inputs.shape[1], units), inputs.dtype),) * count
