"""Hopfield nets as pure functions: the binary one, and the modern continuous one."""

import jax
import jax.numpy as jnp

from fdl.arguments import NotNegative, Positive, checked


@checked
def hebbian(patterns: jax.Array) -> jax.Array:
    """The weights that store patterns: the mean of their outer products, without a diagonal.

    Hopfield 1982, Neural Networks and Physical Systems with Emergent Collective Computational
    Abilities, eq. 2 (there in 0 and 1), divided by N.

    Args:
      patterns: `[P, N]`, each entry -1 or 1.

    Returns:
      `[N, N]`, symmetric.
    """
    units = patterns.shape[1]
    return patterns.T @ patterns / units * (1 - jnp.eye(units, dtype=patterns.dtype))


@checked
def energy(weights: jax.Array, state: jax.Array) -> jax.Array:
    """-s W s / 2 for states `[..., N]` under weights `[N, N]`; `[...]`.

    No asynchronous update raises it, if the weights are symmetric with no diagonal.
    """
    return -0.5 * jnp.sum((state @ weights) * state, axis=-1)


@checked
def synchronous(weights: jax.Array, state: jax.Array) -> jax.Array:
    """All units of `state` `[..., N]` at once: the sign of what each receives, or as before where it is 0."""
    return _signs(state @ weights, state)


@checked
def asynchronous(weights: jax.Array, state: jax.Array, key: jax.Array) -> jax.Array:
    """All units of one `state` `[N]`, one after another, in an order drawn from the key."""

    def update(state: jax.Array, unit: jax.Array) -> tuple[jax.Array, None]:
        changed = _signs(weights[unit] @ state, state[unit])
        return jnp.where(jnp.arange(len(state)) == unit, changed, state), None

    return jax.lax.scan(update, state, jax.random.permutation(key, len(state)))[0]


@checked
def recall(weights: jax.Array, state: jax.Array, key: jax.Array, *, sweeps: NotNegative[int]) -> jax.Array:
    """One `state` `[N]` after so many asynchronous sweeps over all units, each in an order of its own."""
    sweep = lambda state, key: (asynchronous(weights, state, key), None)  # noqa: E731
    return jax.lax.scan(sweep, state, jax.random.split(key, sweeps))[0]


@checked
def modern_update(patterns: jax.Array, state: jax.Array, *, beta: Positive[float | jax.Array]) -> jax.Array:
    """softmax(β s Xᵀ) X: one step of the modern Hopfield net, which is attention to stored patterns.

    Ramsauer et al. 2021, Hopfield Networks is All You Need, eq. 3.

    Args:
      patterns: X `[P, D]`, any reals.
      state: s `[..., D]`.
      beta: inverse temperature; the larger, the more patterns are kept apart.

    Returns:
      `[..., D]`.
    """
    return jax.nn.softmax(beta * state @ patterns.T, axis=-1) @ patterns


@checked
def modern_energy(patterns: jax.Array, state: jax.Array, *, beta: Positive[float | jax.Array]) -> jax.Array:
    """-lse(β s Xᵀ) / β + s s / 2, which no `modern_update` raises; its constants are left out.

    Ramsauer et al. 2021, eq. 2; arguments as for `modern_update`, returns `[...]`.
    """
    likeness = jax.nn.logsumexp(beta * state @ patterns.T, axis=-1) / beta
    return 0.5 * jnp.sum(jnp.square(state), axis=-1) - likeness


def _signs(received: jax.Array, before: jax.Array) -> jax.Array:
    return jnp.where(received == 0, before, jnp.sign(received))
