"""Attention roll-out: from which places a place of the last layer draws, through all layers."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import checked
from fdl.models import Attention

_KEPT = "attention_weights"


@checked
def attention_weights(apply: Callable[..., Any], variables: Any, x: jax.Array) -> list[jax.Array]:
    """The weights of every self-attention of a model, in the order in which it computes them.

    They are read by intercepting `fdl.models.Attention`; the model knows nothing of it. What computes the
    attention, also a fused kernel, is asked for them by values that are 1 at one key and 0 at the others: as
    many times more as the text is longer than a head is wide.

    Args:
      apply: a Flax model's own, which takes `mutable=`.
      variables: the model's.
      x: what the model gets, of B texts or images.

    Returns:
      `[B, H, T, S]` of each layer: how much query t of head h draws from key s.

    Raises:
      ValueError: the model has no `fdl.models.Attention` of a text to itself.

    Example:
      >>> model = fdl.models.vision_transformer(3, size=8, patch=4, width=8, layers=2, heads=2)
      >>> x = jnp.ones((1, 8, 8, 1))
      >>> variables = model.init(jax.random.key(0), x)
      >>> [weights.shape for weights in fdl.analysis.attention_weights(model.apply, variables, x)]
      [(1, 2, 5, 5), (1, 2, 5, 5)]
    """
    order: list[tuple[str, ...]] = []

    def intercept(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        itself = isinstance(module, Attention) and kwargs.get("context") is None
        if not itself or context.method_name != "__call__":
            return call(*args, **kwargs)
        own = module.attend
        order.append(module.path)

        def attend(query: jax.Array, key: jax.Array, value: jax.Array, **given: Any) -> jax.Array:
            module.sow("intermediates", _KEPT, _weights(own, query, key, value, given))
            return own(query, key, value, **given)

        object.__setattr__(module, "attend", attend)  # of this call's module alone: it is frozen for others
        try:
            return call(*args, **kwargs)
        finally:
            object.__setattr__(module, "attend", own)

    with nn.intercept_methods(intercept):
        _, kept = apply(variables, x, mutable=["intermediates"])
    if not order:
        raise ValueError(
            "the model has no fdl.models.Attention of a text to itself, whose weights could be read"
        )
    return [weights for path in dict.fromkeys(order) for weights in _layers(kept["intermediates"], path)]


@checked
def attention_rollout(apply: Callable[..., Any], variables: Any, x: jax.Array) -> jax.Array:
    """Attention roll-out (Abnar & Zuidema 2020, Quantifying Attention Flow in Transformers, sec. 3): the
    product over layers of (the mean over heads + the identity) / 2, where the identity stands for the
    residual branch.

    Args:
      apply: a Flax model's own, which takes `mutable=`.
      variables: the model's.
      x: what the model gets, of B texts or images.

    Returns:
      `[B, T, T]`, rows that add up to 1: the share of place t after the last layer that comes from place s of
      the first's input. Of a vision transformer place 0 is the one that is classified.

    Raises:
      ValueError: the model has no `fdl.models.Attention` of a text to itself.

    Example:
      >>> model = fdl.models.vision_transformer(3, size=8, patch=4, width=8, layers=2, heads=2)
      >>> x = jnp.ones((1, 8, 8, 1))
      >>> variables = model.init(jax.random.key(0), x)
      >>> shares = fdl.analysis.attention_rollout(model.apply, variables, x)
      >>> shares.shape, round(float(shares[0, 0].sum()), 5)
      ((1, 5, 5), 1.0)
    """
    flow = None
    for weights in attention_weights(apply, variables, x):
        layer = (jnp.mean(weights, axis=1) + jnp.eye(weights.shape[-1], dtype=weights.dtype)) / 2
        flow = layer if flow is None else layer @ flow
    assert flow is not None
    return flow


def _weights(
    attend: Callable[..., jax.Array],
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    given: dict[str, Any],
) -> jax.Array:
    """`[B, H, T, S]`, by values `[B, S, K, D]` each entry of which is 1 at one key."""
    keys, width = value.shape[1], value.shape[-1]
    asked = []
    for first in range(0, keys, width):
        one = (jnp.arange(keys)[:, None] == first + jnp.arange(width)).astype(value.dtype)
        asked.append(attend(query, key, jnp.broadcast_to(one[:, None], value.shape), **given))
    return jnp.transpose(jnp.concatenate(asked, axis=-1)[..., :keys], (0, 2, 1, 3))


def _layers(kept: Any, path: tuple[str, ...]) -> list[jax.Array]:
    """What a module kept: one layer, or those of a scan, one after another."""
    for name in path:
        kept = kept[name]
    return [layer for one in kept[_KEPT] for layer in (one if one.ndim == 5 else [one])]
