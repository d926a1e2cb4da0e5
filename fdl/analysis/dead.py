"""Units that say nothing."""

import jax
import jax.numpy as jnp

from fdl.arguments import NotNegative, checked


@checked
def dead_units(layer: jax.Array, *, threshold: NotNegative[float] = 0.0) -> jax.Array:
    """Which units of a layer are dead: of value 0 for every input, at every place.

    With a threshold above 0 those that are dormant, whose mean |value| is at most this share of the layer's
    mean (Sokar et al. 2023, The Dormant Neuron Phenomenon, def. 1), also of activations that are never
    quite 0.

    Args:
      layer: the layer's outputs after its activation, `[B, ..., F]`; see `activations`.
      threshold: see above.

    Returns:
      Bools `[F]`; their mean is the share of dead units.

    Example:
      >>> fdl.analysis.dead_units(jnp.array([[0.0, 2.0, 0.01], [0.0, 0.0, 0.0]]))
      Array([ True, False, False], dtype=bool)
      >>> fdl.analysis.dead_units(jnp.array([[0.0, 2.0, 0.01], [0.0, 0.0, 0.0]]), threshold=0.1)
      Array([ True, False,  True], dtype=bool)
    """
    size = jnp.mean(jnp.abs(layer.astype(jnp.promote_types(layer.dtype, jnp.float32))), range(layer.ndim - 1))
    return size <= threshold * jnp.mean(size)
