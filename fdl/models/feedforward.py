"""Feed-forward nets beside the perceptron: maxout, Fourier and random features, deep linear."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.dropout import Dropout

Initializer = Callable[[], nn.initializers.Initializer]


@checked
class Maxout(nn.Module):
    """Layers whose units are the largest of several affine maps, then a dense layer.

    Goodfellow et al. 2013, Maxout Networks, sec. 3. Each layer's kernel is `[I, width * pieces]`; the
    pieces of one unit are neighbours.

    Attributes:
      widths: units of each hidden layer.
      outputs: how many outputs there are.
      pieces: affine maps of each unit.
      dropout: the rate after each hidden layer; it may be traced.
      initializer: makes the initialiser of the kernels; biases start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Maxout(widths=(64,), outputs=10, pieces=2)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      1802
    """

    widths: tuple[Count, ...]
    outputs: Count
    pieces: Count = 2
    dropout: Share[float | jax.Array] = 0.0
    initializer: Initializer = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, outputs]` of inputs `[B, ...]`, whose other axes are flattened."""
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = _dense(width * self.pieces, self.initializer, "mlp")(x)
            x = jnp.max(x.reshape(-1, width, self.pieces), axis=-1)
            x = Dropout(self.dropout)(constrain(x, "batch", "mlp"), train)
        return _dense(self.outputs, self.initializer, None)(x)


@checked
class FourierNet(nn.Module):
    """A net that sees its inputs through sines and cosines of random frequencies.

    Tancik et al. 2020, Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional
    Domains, eq. 5: the features are cos(2π f x) and sin(2π f x), rows of f `[features, D]` normal with
    deviation `scale`. They are drawn once and kept in the collection `"frozen"`, which no optimizer sees.

    Attributes:
      body: what follows, a module `body(x, train)` on `[B, 2 features]`.
      features: how many frequencies there are.
      scale: the frequencies' deviation, in cycles per unit of x; it may be traced.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.FourierNet(models.MLP((64,), 1), features=32, scale=2.0)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 2)))
      >>> outputs.shape
      (1, 1)
    """

    body: nn.Module
    features: Count = 64
    scale: NotNegative[float | jax.Array] = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """The body's outputs for inputs `[B, ...]`, whose other axes are flattened."""
        x = x.reshape(x.shape[0], -1)
        frequencies = _frozen(self, "frequencies", nn.initializers.normal(1.0), (x.shape[1], self.features))
        angle = constrain(2 * math.pi * x @ (self.scale * frequencies), "batch", "mlp")
        waves = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        return self.body(waves.astype(x.dtype), train)


@checked
class RandomFeatureNet(nn.Module):
    """A linear map of features that are random and stay as they are.

    Rahimi & Recht 2007, Random Features for Large-Scale Kernel Machines, algorithm 1: with cosines,
    the features z(x) = sqrt(2 / features) cos(w x + b), w normal with deviation `scale` and b uniform in
    [0, 2π), have z(x) · z(x') near the Gaussian kernel exp(-|scale (x - x')|² / 2). They are kept in the
    collection `"frozen"`, which no optimizer sees.

    Attributes:
      outputs: how many outputs there are.
      features: how many features there are.
      scale: the deviation of their weights; it may be traced.
      activation: what is done to w x + b.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.RandomFeatureNet(outputs=1, features=256)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 1)
    """

    outputs: Count
    features: Count = 256
    scale: NotNegative[float | jax.Array] = 1.0
    activation: Callable[[jax.Array], jax.Array] = jnp.cos

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, outputs]` of inputs `[B, ...]`, whose other axes are flattened."""
        del train
        x = x.reshape(x.shape[0], -1)
        weights = _frozen(self, "weights", nn.initializers.normal(1.0), (x.shape[1], self.features))
        phases = _frozen(self, "phases", nn.initializers.uniform(2 * math.pi), (self.features,))
        z = math.sqrt(2 / self.features) * self.activation(x @ (self.scale * weights) + phases)
        return _dense(self.outputs, nn.initializers.lecun_normal, None)(
            constrain(z.astype(x.dtype), "batch", "mlp")
        )


@checked
class DeepLinear(nn.Module):
    """A product of matrices, without biases: linear in x, not in its parameters.

    Saxe et al. 2014, Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear Neural
    Networks, sec. 1.

    Attributes:
      widths: units of each hidden layer.
      outputs: how many outputs there are.
      initializer: makes the initialiser of the matrices.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.DeepLinear(widths=(64, 64), outputs=10)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 10)
    """

    widths: tuple[Count, ...]
    outputs: Count
    initializer: Initializer = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, outputs]` of inputs `[B, ...]`, whose other axes are flattened."""
        del train
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            kernel = with_axes(self.initializer(), None, "mlp")
            x = constrain(nn.Dense(width, use_bias=False, kernel_init=kernel)(x), "batch", "mlp")
        return nn.Dense(self.outputs, use_bias=False, kernel_init=with_axes(self.initializer(), None, None))(
            x
        )


def _dense(units: int, initializer: Initializer, name: str | None) -> nn.Dense:
    zeros = with_axes(nn.initializers.zeros, name)
    return nn.Dense(units, kernel_init=with_axes(initializer(), None, name), bias_init=zeros)


def _frozen(
    module: nn.Module, name: str, initializer: nn.initializers.Initializer, shape: tuple[int, ...]
) -> jax.Array:
    """A random array that is drawn with the parameters, and is none of them."""
    init = with_axes(initializer, *(None,) * (len(shape) - 1), "mlp")
    return module.variable("frozen", name, lambda: init(module.make_rng("params"), shape)).value
