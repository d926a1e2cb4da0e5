"""Linear recurrences in parallel over time: the LRU layer, and a deep network of such layers."""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.dropout import Dropout
from fdl.models.norms import layer_norm
from fdl.models.recurrent import embedding, readout

Norm = Callable[[jax.Array, bool], jax.Array]


@checked
def linear_recurrence(factors: jax.Array, inputs: jax.Array, *, axis: int = 0) -> jax.Array:
    """`h[t] = factors[t] h[t - 1] + inputs[t]` from `h = 0`, in a number of steps logarithmic in T.

    Maps `h -> a h + b` compose to such a map, and composing is associative (Blelloch 1990, Prefix Sums
    and Their Applications, sec. 1.4), so all prefixes come from one `jax.lax.associative_scan`.

    Args:
      factors: real or complex, of the inputs' rank; axes other than `axis` may be 1.
      inputs: real or complex `[..., T, ...]`.
      axis: which axis time is.

    Returns:
      h of all times, of the inputs' shape.
    """

    def after(first: tuple[jax.Array, jax.Array], then: tuple[jax.Array, jax.Array]) -> tuple:
        return then[0] * first[0], then[0] * first[1] + then[1]

    return jax.lax.associative_scan(after, (factors, inputs), axis=axis)[1]


@checked
class LRU(nn.Module):
    """Linear recurrent unit: `h' = λ h + γ (B x)`, `y = Re(C h) + D x`, with complex λ a number each.

    Orvieto et al. 2023, Resurrecting Recurrent Neural Networks for Long Sequences, sec. 3:
    `λ = exp(-exp(ν) + i exp(θ))`, which no ν makes unstable; `γ = sqrt(1 - |λ|²)` keeps the state's
    size for any λ. At first λ is uniform over the ring of radii `inner` to `outer` (by area) with angles
    up to `angle`. Differences from the paper: γ follows λ (there it starts so and is learned).

    Attributes:
      units: N, complex numbers of the state.
      inner: least |λ| at first, in [0, outer).
      outer: greatest |λ| at first, below 1; about 1 - 1 / T to remember T times.
      angle: greatest angle at first, in radians.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.LRU(units=64)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 20, 8)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 20, 8)
    """

    units: Count
    inner: Share[float] = 0.4
    outer: Share[float] = 0.99
    angle: NotNegative[float] = 2 * math.pi

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Outputs `[B, T, I]` of `x` `[B, T, I]`; the state is held where `mask` `[B, T]` is False."""
        width, wide = x.shape[-1], jnp.promote_types(x.dtype, jnp.float32)  # no complex number is narrower
        decay = jnp.exp(self.param("log_decay", with_axes(self._decays, None), (self.units,)).astype(wide))
        angle = jnp.exp(self.param("log_angle", with_axes(self._angles, None), (self.units,)).astype(wide))
        factors = jnp.exp(jax.lax.complex(-decay, angle))[None, None]
        size = jnp.sqrt(-jnp.expm1(-2 * decay))  # γ; 1 - |λ|² itself would cancel for |λ| near 1
        # Of complex entries, of which each part has half the variance; `back` counts both parts as inputs.
        half, twice = (nn.initializers.variance_scaling(gain, "fan_in", "normal") for gain in (0.5, 2.0))
        into = nn.Dense(
            2 * self.units, use_bias=False, kernel_init=with_axes(half, "embed", "mlp"), name="into"
        )
        back = nn.Dense(width, use_bias=False, kernel_init=with_axes(twice, "mlp", "embed"), name="back")
        through = self.param("through", with_axes(nn.initializers.normal(1.0), None), (width,))

        real, imaginary = jnp.split(into(x).astype(wide), 2, axis=-1)
        inputs = jax.lax.complex(size * real, size * imaginary)
        if mask is not None:
            inputs = jnp.where(mask[..., None], inputs, 0)
            factors = jnp.where(mask[..., None], factors, 1)
        factors = jnp.broadcast_to(factors, (factors.shape[0], *inputs.shape[1:]))
        state = linear_recurrence(factors, inputs, axis=1)
        y = back(jnp.concatenate([state.real, state.imag], axis=-1).astype(x.dtype))
        return constrain(y + through.astype(y.dtype) * x, "batch", "length", "embed")

    def _decays(self, key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        squares = jax.random.uniform(key, shape, dtype, self.inner**2, self.outer**2)
        return jnp.log(-0.5 * jnp.log(squares))

    def _angles(self, key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        tiny = jnp.finfo(dtype).tiny
        return jnp.log(jax.random.uniform(key, shape, dtype, tiny, self.angle))


@checked
class LinearRecurrentNet(nn.Module):
    """Residual blocks of norm, LRU, GELU and a gated linear unit, as the paper's; a linear readout.

    Attributes:
      width: numbers of each time between blocks.
      depth: blocks.
      outputs: how many outputs there are.
      units: complex numbers of each block's state.
      last: whether there is one output a row, of its last input, or one for each time.
      vocabulary: where inputs are tokens, how many there are; they are embedded.
      layer: makes a block's recurrent layer, `layer(units)`, as `functools.partial(LRU, outer=0.999)`.
      norm: before each recurrent layer, `norm(x, train)`, or None.
      dropout: the rate after each block's nonlinearities; it may be traced.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.LinearRecurrentNet(width=64, depth=2, outputs=10)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 20, 8)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      51274
    """

    width: Count
    depth: NotNegative[int]
    outputs: Count
    units: Count = 64
    last: bool = True
    vocabulary: Count | None = None
    layer: Callable[[int], nn.Module] = LRU
    norm: Norm | None = layer_norm
    dropout: Share[float | jax.Array] = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
        """`[B, outputs]` if `last`, else `[B, T, outputs]`.

        Args:
          x: `[B, T, I]`, or tokens `[B, T]`.
          train: whether dropout acts.
          mask: bool `[B, T]`, False where a row has no input; None: rows are whole.
        """
        x = (
            self._dense(self.width)(x)
            if self.vocabulary is None
            else embedding(self.vocabulary, self.width)(x)
        )
        for _ in range(self.depth):
            y = x if self.norm is None else self.norm(x, train)
            y = Dropout(self.dropout)(nn.gelu(self.layer(self.units)(y, mask)), train)
            value, gate = jnp.split(self._dense(2 * self.width)(y), 2, axis=-1)
            x = x + Dropout(self.dropout)(value * nn.sigmoid(gate), train)
        return readout(self.outputs)(_last(x, mask) if self.last else x)

    def _dense(self, outputs: int) -> nn.Dense:
        kernel = with_axes(nn.initializers.lecun_normal(), None, "embed")
        return nn.Dense(outputs, kernel_init=kernel, bias_init=with_axes(nn.initializers.zeros, "embed"))


def _last(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """What `x` `[B, T, D]` is where each row has its last input: `[B, D]`."""
    if mask is None:
        return x[:, -1]
    end = jnp.max(jnp.where(mask, jnp.arange(x.shape[1]), 0), axis=1)
    return jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
