"""Gaussian noise on the gradients, of a variance that falls with the steps."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fdl.arguments import NotNegative, checked


@checked
def gradient_noise(
    variance: NotNegative[float | jax.Array], *, decay: float | jax.Array = 0.55
) -> optax.GradientTransformationExtraArgs:
    """Adds independent normal noise of variance `variance / (1 + t) ** decay` at step t = 0, 1, ...

    Neelakantan et al. 2015, Adding Gradient Noise Improves Learning for Very Deep Networks, sec. 2. Optax's
    `add_noise` keeps a key of its own, so that runs of different seeds get the same noise and are not
    independent; here `update` needs `key`, the step's.

    Args:
      variance: η, in the gradient's unit squared; it may be traced.
      decay: γ; it may be traced.

    Example:
      >>> noise, gradient = fdl.optim.gradient_noise(0.01), {"w": jnp.zeros(3)}
      >>> state = noise.init(gradient)
      >>> updates, state = noise.update(gradient, state, key=jax.random.key(0))
      >>> int(state.count), updates["w"].shape
      (1, (3,))
    """

    def init(params: Any) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(
        updates: Any,
        state: optax.ScaleByScheduleState,
        params: Any = None,
        *,
        key: jax.Array | None = None,
        **more: Any,
    ) -> tuple[Any, optax.ScaleByScheduleState]:
        del params, more
        if key is None:
            raise ValueError("gradient_noise got no key; call update(updates, state, params, key=key)")
        deviation = jnp.sqrt(variance / (1.0 + state.count) ** decay)
        noise = optax.tree.random_like(key, updates, sampler=jax.random.normal)
        noisy = jax.tree.map(lambda leaf, one: leaf + (deviation * one).astype(leaf.dtype), updates, noise)
        return noisy, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init, update)
