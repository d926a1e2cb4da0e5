"""The multilayer perceptron."""

import functools
import itertools
import math
from collections.abc import Callable

import flax.linen as nn
import jax

from fdl.arguments import Count, Share, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.dropout import Dropout
from fdl.models.initializers import suited_to

LONGEST_UNROLLED = 16
"""Longer runs of equal layers are scanned: one layer is compiled, and applied in a loop."""


@checked
class Layer(nn.Module):
    """Dense, norm, activation, dropout; the input is added if `branch_scale` is not None."""

    width: Count
    activation: Callable[[jax.Array], jax.Array]
    norm: Callable[[jax.Array, bool], jax.Array] | None
    dropout: Share[float | jax.Array]
    initializer: Callable[[], nn.initializers.Initializer]
    branch_scale: float | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = _dense(self.width, self.initializer, "mlp")(x)
        if self.norm is not None:
            y = self.norm(y, train)
        y = Dropout(self.dropout)(self.activation(y), train)
        return constrain(y if self.branch_scale is None else x + self.branch_scale * y, "batch", "mlp")


@checked
class MLP(nn.Module):
    """Layers of dense, norm, activation and dropout, then a dense layer without activation.

    With `skip`, a layer whose input and output have one width computes `x + layer(x) / sqrt(L)`,
    L the number of such layers: unscaled, activations and gradients grow by a constant factor a
    layer at initialisation; with the factor they stay bounded in the depth (Hanin & Rolnick 2018,
    How to Start Training; De & Smith 2020, Batch Normalization Biases Residual Blocks Towards the
    Identity Function in Deep Networks).

    A run of more than `LONGEST_UNROLLED` layers of one width is scanned, so that the time to
    compile does not grow with the depth; its parameters carry a leading axis `[L, ...]`.

    Attributes:
      widths: units of each hidden layer; `()` is a linear model.
      outputs: how many outputs there are.
      activation: the function after each hidden layer; `lambda x: x` makes the net linear.
      norm: `batch_norm`, `layer_norm`, any `norm(x, train)` that may call Flax modules, or None.
      dropout: the rate after each hidden layer's activation; it may be traced.
      skip: whether layers of equal width in and out are residual.
      initializer: makes the initialiser of the kernels, as `nn.initializers.he_normal`; None: He's for
        ReLU (which the output layer has too), LeCun's for others, and where there is no hidden layer.
        Biases start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLP(widths=(64, 64), outputs=10)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      5386
    """

    widths: tuple[Count, ...]
    outputs: Count
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    norm: Callable[[jax.Array, bool], jax.Array] | None = None
    dropout: Share[float | jax.Array] = 0.0
    skip: bool = False
    initializer: Callable[[], nn.initializers.Initializer] | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, outputs]` of inputs `[B, ...]`, whose other axes are flattened."""
        initializer = self.initializer
        if initializer is None:
            initializer = suited_to(self.activation) if self.widths else nn.initializers.lecun_normal
        x = x.reshape(x.shape[0], -1)
        shapes = list(itertools.pairwise((x.shape[1], *self.widths)))
        square = sum(before == after for before, after in shapes)
        for (before, after), run in itertools.groupby(shapes):
            length = len(list(run))
            scale = 1 / math.sqrt(square) if self.skip and before == after else None
            layer = functools.partial(
                Layer, after, self.activation, self.norm, self.dropout, initializer, scale
            )
            if length > LONGEST_UNROLLED:
                x = _scan(layer(), x, train, length)
            else:
                for _ in range(length):
                    x = layer()(x, train)
        return constrain(_dense(self.outputs, initializer, None)(x), "batch", None)


def _dense(width: int, initializer: Callable[[], nn.initializers.Initializer], name: str | None) -> nn.Dense:
    kernel, bias = with_axes(initializer(), None, name), with_axes(nn.initializers.zeros, name)
    return nn.Dense(width, kernel_init=kernel, bias_init=bias)


def _scan(layer: Layer, x: jax.Array, train: bool, length: int) -> jax.Array:
    """`length` layers like `layer`, each with its own variables and keys, one after another."""
    body = lambda layer, x, _: (layer(x, train), None)  # noqa: E731
    scan = nn.scan(
        body,
        variable_axes={True: 0},
        split_rngs={True: True},
        length=length,
        metadata_params={nn.PARTITION_NAME: None},
    )
    return scan(layer, x, None)[0]
