"""Pruning: weights become exactly zero and stay so, by a schedule and what they are worth."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fdl.arguments import Count, Share, checked
from fdl.optim.frozen import Chosen
from fdl.optim.paths import names

Score = Callable[[jax.Array, jax.Array | None], jax.Array]
"""`score(kernel, key)`: what the weights of a kernel `[..., O]` are worth, `[..., O]`, or `[1, ..., O]` for
units, of which each is kept or pruned as a whole; the key is the step's own, None where `update` got none."""


class PruningState(NamedTuple):
    """What pruning keeps.

    Attributes:
      steps: steps so far, int32.
      masks: of each kernel, True where a weight is kept, of the kernel's own shape.
    """

    steps: jax.Array
    masks: Any


def magnitude(kernel: jax.Array, key: jax.Array | None) -> jax.Array:
    """What a weight is worth by its size |w|, `[..., O]`, a `Score`."""
    del key
    return jnp.abs(kernel)


@checked
def unit_magnitude(kernel: jax.Array, key: jax.Array | None) -> jax.Array:
    """What a unit (a filter) is worth by the sum of |w| of the weights into it, `[1, ..., O]`, a `Score`.

    Li et al. 2017, Pruning Filters for Efficient ConvNets, sec. 3.1. The unit's bias stays.

    Example:
      >>> fdl.optim.unit_magnitude(jnp.array([[1.0, -2.0], [-3.0, 0.5]]), None).tolist()
      [[4.0, 2.5]]
    """
    del key
    return jnp.sum(jnp.abs(kernel), axis=range(kernel.ndim - 1), keepdims=True)


@checked
def by_chance(kernel: jax.Array, key: jax.Array | None) -> jax.Array:
    """Random worths `[..., O]`, a `Score`: the control of those that look at the weights.

    Raises:
      ValueError: there is no key.

    Example:
      >>> fdl.optim.by_chance(jnp.zeros((2, 3)), jax.random.key(0)).shape
      (2, 3)
    """
    if key is None:
        raise ValueError("pruning by chance got no key; call update(updates, state, params, key=key)")
    return jax.random.uniform(key, kernel.shape)


def kernels(path: tuple[str, ...]) -> bool:
    """Whether a parameter is a weight matrix or the kernel of a convolution, by its name."""
    return path[-1:] == ("kernel",)


@checked
def pruning(
    sparsity: Share[float] | jax.Array | optax.Schedule,
    *,
    score: Score = magnitude,
    every: Count = 1,
    chosen: Chosen = kernels,
) -> optax.GradientTransformationExtraArgs:
    """Sets, after the update, the weights that are worth least to zero, for good.

    Of each chosen kernel by itself it is the share `sparsity` of its weights, or of its units, rounded to the
    nearest count; what was pruned before is among them. It must come last:
    `optax.chain(optax.adam(1e-3), pruning(0.9))`. Zhu & Gupta 2018, To Prune, or Not to Prune, eq. 1, raise
    the sparsity as a cubic: `optax.polynomial_schedule(0.0, 0.9, 3, steps, begin)`. A constant prunes before
    the first gradient has been of any use; `optax.piecewise_constant_schedule` prunes at once, later.

    Args:
      sparsity: the share to prune, 0 to 1, or a schedule of it by the steps before this one. A schedule that
        falls brings nothing back. It may be traced.
      score: what is worth how much.
      every: steps between two prunings; the first step is one. Between them what is pruned stays zero.
      chosen: which parameters are pruned, by the names on the way to them; each has an axis of units, the
        last one.

    Example:
      >>> prune = fdl.optim.pruning(0.5)
      >>> params = {"kernel": jnp.array([[0.1, -2.0], [0.3, -0.2]])}
      >>> updates, state = prune.update({"kernel": jnp.zeros((2, 2))}, prune.init(params), params)
      >>> (params["kernel"] + updates["kernel"]).tolist()
      [[0.0, -2.0], [0.30000001192092896, 0.0]]
    """

    def init(params: Any) -> PruningState:
        kept = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)
        return PruningState(jnp.zeros((), jnp.int32), kept)

    def update(
        updates: Any, state: PruningState, params: Any = None, *, key: jax.Array | None = None, **more: Any
    ) -> tuple[Any, PruningState]:
        del more
        if params is None:
            raise ValueError("pruning got no parameters; call update(updates, state, params)")
        share = sparsity(state.steps) if callable(sparsity) else sparsity
        leaves, tree = jax.tree.flatten(params)
        keys = [None] * len(leaves) if key is None else list(jax.random.split(key, max(1, len(leaves))))
        changes, masks = tree.flatten_up_to(updates), tree.flatten_up_to(state.masks)

        def renewed() -> list[jax.Array]:
            moved = [leaf + change for leaf, change in zip(leaves, changes, strict=True)]
            worth = [score(*pair) for pair in zip(moved, keys, strict=False)]
            return [still_kept(*pair, share) for pair in zip(worth, masks, strict=True)]

        masks = jax.lax.cond(state.steps % every == 0, renewed, lambda: masks) if every > 1 else renewed()
        # The sum of a weight and its negative is zero without rounding.
        pruned = [jnp.where(*three) for three in zip(masks, changes, (-leaf for leaf in leaves), strict=True)]
        count = optax.safe_increment(state.steps)
        return tree.unflatten(pruned), PruningState(count, tree.unflatten(masks))

    inner = optax.GradientTransformationExtraArgs(init, update)
    return optax.masked(inner, lambda params: _marked(params, chosen), mask_compatible_extra_args=True)


def _marked(params: Any, chosen: Chosen) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: bool(chosen(names(path))), params)


def still_kept(worth: jax.Array, mask: jax.Array, share: Any) -> jax.Array:
    """The mask with the least of what is worth little gone too, so that the share of it is pruned."""
    among = jnp.all(
        mask, axis=[axis for axis, size in enumerate(worth.shape) if size != mask.shape[axis]], keepdims=True
    )
    # What is pruned comes first, so that it stays so; among equals the first in the kernel's order.
    order = jnp.argsort(jnp.where(among, worth, -jnp.inf), axis=None, stable=True)
    number = jnp.floor(jnp.asarray(share) * worth.size + 0.5).astype(jnp.int32)
    kept = jnp.zeros(worth.size, bool).at[order].set(jnp.arange(worth.size) >= number)
    return jnp.broadcast_to(kept.reshape(worth.shape), mask.shape) & mask
