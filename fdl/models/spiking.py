"""Leaky integrate-and-fire nets, learned through surrogate gradients of their spikes."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotNegative, Positive, Share, checked
from fdl.models.axes import constrain, with_axes

Number = float | jax.Array
Map = Callable[[jax.Array], jax.Array]


def fast_sigmoid(v: jax.Array) -> jax.Array:
    """1 / (1 + 10 |v|)², the surrogate for the derivative of a spike at distance `v` from threshold.

    Zenke & Ganguli 2018, SuperSpike, sec. 3: the derivative of the fast sigmoid, up to a factor.
    """
    return 1 / jnp.square(1 + 10 * jnp.abs(v))


@checked
def surrogate_spike(derivative: Map = fast_sigmoid) -> Map:
    """The step function (1 above zero, else 0) with another function in its derivative's place.

    Neftci et al. 2019, Surrogate Gradient Learning in Spiking Neural Networks.

    Args:
      derivative: elementwise, what stands for the derivative at `v`.

    Example:
      >>> import jax
      >>> from fdl import models
      >>> spike = models.surrogate_spike()
      >>> x = jax.numpy.float32(-0.5)
      >>> float(spike(x)), round(float(jax.grad(spike)(x)), 3)
      (0.0, 0.028)
    """

    @jax.custom_vjp
    def spike(v: jax.Array) -> jax.Array:
        return (v > 0).astype(v.dtype)

    spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * derivative(v),))
    return spike


@checked
def lif(
    currents: jax.Array, *, decay: Share[Number], threshold: NotNegative[Number], spike: Map
) -> tuple[jax.Array, jax.Array]:
    """Leaky integrate-and-fire units: what they receive at all times to membranes and spikes.

    v[t] = decay v[t-1] + I[t] - threshold s[t-1] and s[t] = spike(v[t] - threshold), from rest. The
    gradient does not go through the reset by a spike (the term with s[t-1]).

    Args:
      currents: I `[B, T, H]`.
      decay: what is left of a membrane after a step, from 0 to 1.
      threshold: the membrane at which a unit fires.
      spike: such as `surrogate_spike()`.

    Returns:
      v and s, `[B, T, H]` each.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> spike = models.surrogate_spike()
      >>> spikes, _ = models.lif(jnp.ones((4, 1)) * 0.6, decay=0.9, threshold=1.0, spike=spike)
      >>> spikes.shape
      (4, 1)
    """

    def step(carry: tuple[jax.Array, jax.Array], current: jax.Array) -> tuple[tuple, tuple]:
        v, s = carry
        v = decay * v + current - threshold * jax.lax.stop_gradient(s)
        s = spike(v - threshold)
        return (v, s), (v, s)

    rest = jnp.zeros_like(currents[:, 0])
    _, (v, s) = jax.lax.scan(step, (rest, rest), currents.swapaxes(0, 1))
    return v.swapaxes(0, 1), s.swapaxes(0, 1)


@checked
def rate_code(x: jax.Array, key: jax.Array, *, length: Count) -> jax.Array:
    """Random spikes: intensities `[..., D]` from 0 to 1, each the chance of a spike, to `[..., T, D]`.

    Example:
      >>> import jax
      >>> from fdl import models
      >>> models.rate_code(jax.numpy.ones((1, 3)), jax.random.key(0), length=5).shape
      (1, 5, 3)
    """
    rates = jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], length, x.shape[-1]))
    return jax.random.bernoulli(key, rates).astype(x.dtype)


@checked
class SpikingNet(nn.Module):
    """Layers of leaky integrate-and-fire units, read out by leaky units that never fire.

    The outputs are the readout's membranes, averaged over time (Neftci et al. 2019). The spikes of each
    layer, `[B, T, width]`, are in a tuple `"spikes"` of the collection `"intermediates"` where that may
    change; see `fdl.analysis.spiking_energy`.

    Attributes:
      widths: units of each spiking layer.
      outputs: how many outputs there are.
      decay: what is left of a membrane after a step, from 0 to 1; it may be traced.
      threshold: the membrane at which a unit fires; it may be traced.
      spike: the step function with its surrogate derivative.
      initializer: makes the initialiser of the kernels; there are no biases.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.SpikingNet(widths=(64,), outputs=10)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 20, 8)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
    """

    widths: tuple[Count, ...]
    outputs: Count
    decay: Share[Number] = 0.9
    threshold: Positive[Number] = 1.0
    spike: Map = surrogate_spike()
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, outputs]` of spike trains, or any signals, `[B, T, D]`."""
        del train
        for width in self.widths:
            currents = self._dense(width, "mlp")(x)
            _, x = lif(currents, decay=self.decay, threshold=self.threshold, spike=self.spike)
            x = constrain(x, "batch", "length", "mlp")
            self.sow("intermediates", "spikes", x)
        membranes, _ = lif(
            self._dense(self.outputs, None)(x), decay=self.decay, threshold=0.0, spike=jnp.zeros_like
        )
        return jnp.mean(membranes, axis=1)

    def _dense(self, units: int, name: str | None) -> nn.Dense:
        return nn.Dense(units, use_bias=False, kernel_init=with_axes(self.initializer(), None, name))
