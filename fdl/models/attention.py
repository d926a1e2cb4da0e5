"""Attention: queries that read values where keys match, with masks, shared keys and a cache."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.dropout import Dropout

Mask = Callable[[jax.Array, jax.Array], jax.Array]
"""`mask(queries, keys)`, positions `[T]` and `[S]` to bool `[T, S]`: which keys a query may see."""
Attend = Callable[..., jax.Array]
"""Of the form of `attend`, as `fused_attend`; `drop` it gets only where there is something to drop."""
Initializer = Callable[[], nn.initializers.Initializer]


@checked
def causal(queries: jax.Array, keys: jax.Array) -> jax.Array:
    """Keys at the query's position and before; positions `[T]` and `[S]` to bool `[T, S]`.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> models.causal(jnp.arange(3), jnp.arange(3)).astype(int)
      Array([[1, 0, 0],
             [1, 1, 0],
             [1, 1, 1]], dtype=int32)
    """
    return keys[None, :] <= queries[:, None]


@checked
def sliding_window(width: Count) -> Mask:
    """The `width` latest keys up to the query's position (Beltagy et al. 2020, Longformer, sec. 3.1).

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> models.sliding_window(2)(jnp.arange(3), jnp.arange(3)).astype(int)
      Array([[1, 0, 0],
             [1, 1, 0],
             [0, 1, 1]], dtype=int32)
    """

    def mask(queries: jax.Array, keys: jax.Array) -> jax.Array:
        return causal(queries, keys) & (queries[:, None] - keys[None, :] < width)

    return mask


@checked
def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    drop: Callable[[jax.Array], jax.Array] = lambda weights: weights,
) -> jax.Array:
    """Scaled dot-product attention (Vaswani et al. 2017, Attention Is All You Need, sec. 3.2.1).

    H query heads share K heads of keys and values (Ainslie et al. 2023, GQA): query head h reads head
    h // (H / K). Scores and their softmax are float32 at least. A query that may see no key sees
    all of them alike.

    Args:
      query: `[B, T, H, D]`.
      key: `[B, S, K, D]`.
      value: `[B, S, K, D]`.
      mask: bool, `[B, 1, T, S]` or what broadcasts to it: True where a query may see a key.
      bias: added to the scaled scores, `[H, T, S]`.
      scale: factor of the scores; D ** -0.5 if None.
      is_causal: whether query t sees, of what the mask leaves, only the keys 0 to t.
      drop: what is done to the weights `[B, H, T, S]`, such as dropout.

    Returns:
      `[B, T, H, D]`, of the values' dtype.

    Raises:
      ValueError: H is no multiple of K.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> x = jnp.ones((1, 6, 4, 16))  # [B, T, heads, width]
      >>> models.attend(x, x, x).shape
      (1, 6, 4, 16)
    """
    batch, length, heads, width = query.shape
    shared = key.shape[2]
    if heads % shared:
        raise ValueError(f"{heads} query heads cannot share {shared} heads of keys; expected a multiple")
    factor = width**-0.5 if scale is None else scale
    grouped = (query * factor).reshape(batch, length, shared, heads // shared, width)
    precise = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.einsum("btkgd,bskd->bkgts", grouped, key, preferred_element_type=precise)
    scores = scores.reshape(batch, heads, length, -1)
    if bias is not None:
        scores = scores + bias
    if is_causal:
        before = causal(jnp.arange(length), jnp.arange(key.shape[1]))
        mask = before if mask is None else mask & before
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(precise).min)
    weights = drop(jax.nn.softmax(scores, axis=-1).astype(value.dtype))
    weights = weights.reshape(batch, shared, heads // shared, length, -1)
    return jnp.einsum("bkgts,bskd->btkgd", weights, value).reshape(query.shape)


@checked
class Attention(nn.Module):
    """Multi-head attention `[B, T, E]` to `[B, T, E]`, of a text to itself or to a context.

    Kernels are `[E, H D]` (query), `[E, K D]` (key, value) and `[H D, E]` (out), head after head.

    With `cache`, keys and values stay in the collection `"cache"` (which must be mutable): those of
    the text itself at their positions, to be seen by what is read later; those of a context from the
    first call on.

    Attributes:
      heads: H, heads of queries.
      shared: K, heads of keys and values; H if None.
      width: D, entries of a head; E // H if None.
      bias: whether the four projections add a bias.
      scale: see `attend`.
      rotate: see `fdl.models.positions.Positions`.
      dropout: rate of dropout of the weights.
      attend: what computes it from queries, keys and values, as `fused_attend`.
      is_causal: whether places of a text see, of what the mask leaves, only themselves and what is before
        them; for what `attend` does faster than by a mask. Without a cache.
      initializer: makes the initialiser of the kernels; biases start at zero.
      query_initializer: makes that of the query's kernel; `initializer` if None.
      last_initializer: makes that of the last kernel; `initializer` if None.
      cache: how many positions the cache holds; 0: there is none.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Attention(heads=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6, 64)), jnp.zeros((1, 6, 64)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 64)
    """

    heads: Count
    shared: Count | None = None
    width: Count | None = None
    bias: bool = True
    scale: float | None = None
    rotate: Callable[[jax.Array, jax.Array], jax.Array] = lambda heads, positions: heads
    dropout: Share[float | jax.Array] = 0.0
    attend: Attend = attend
    is_causal: bool = False
    initializer: Initializer = nn.initializers.lecun_normal
    query_initializer: Initializer | None = None
    last_initializer: Initializer | None = None
    cache: NotNegative[int] = 0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool = False,
        *,
        positions: jax.Array | None = None,
        context: jax.Array | None = None,
        mask: jax.Array | None = None,
        bias: jax.Array | None = None,
    ) -> jax.Array:
        """Attends from `x` to itself or to a context.

        Args:
          x: `[B, T, E]`.
          train: whether weights are dropped.
          positions: `[T]`, those of x, one after another; from 0 on if None.
          context: `[B, S, C]`; x itself if None. Its keys and the queries are then not rotated.
          mask: see `attend`.
          bias: see `attend`.

        Raises:
          ValueError: heads that do not divide E, or a number of shared heads that does not divide H.
        """
        if self.width is None and x.shape[-1] % self.heads:
            raise ValueError(f"a width of {x.shape[-1]} does not divide into {self.heads} heads")
        width, shared = self.width or x.shape[-1] // self.heads, self.shared or self.heads
        query = self._project(x, "query", self.heads, width)
        if context is not None:
            key, value = self._remembered(context, shared, width)
        else:
            positions = jnp.arange(x.shape[1]) if positions is None else positions
            query = self.rotate(query, positions)
            key = self.rotate(self._project(x, "key", shared, width), positions)
            value = self._project(x, "value", shared, width)
            if self.cache:
                key = self._stored("key", key, positions[0])
                value = self._stored("value", value, positions[0])
        given = {"mask": mask, "bias": bias, "scale": self.scale} | self._more(train, context)
        # Parameters are made in float32, which a kernel may not take.
        y = (attend if self.is_initializing() else self.attend)(query, key, value, **given)
        y = y.reshape(*y.shape[:2], -1)
        kernel = with_axes((self.last_initializer or self.initializer)(), "heads", "embed")
        out = nn.Dense(x.shape[-1], self.bias, kernel_init=kernel, bias_init=_zeros("embed"), name="out")
        return constrain(out(y), "batch", "length", "embed")

    def _more(self, train: bool, context: jax.Array | None) -> dict[str, Any]:
        """What an `attend` is told only where it matters."""
        never = isinstance(self.dropout, int | float) and self.dropout == 0
        drop = lambda weights: Dropout(self.dropout)(weights, train)  # noqa: E731
        dropped = {} if never or not train else {"drop": drop}
        return dropped | ({"is_causal": True} if self.is_causal and context is None else {})

    def _project(self, x: jax.Array, name: str, heads: int, width: int) -> jax.Array:
        """`[B, T, E]` to `[B, T, heads, width]`."""
        first = self.query_initializer if name == "query" else None
        kernel = with_axes((first or self.initializer)(), "embed", "heads")
        dense = nn.Dense(heads * width, self.bias, kernel_init=kernel, bias_init=_zeros("heads"), name=name)
        y = dense(x).reshape(*x.shape[:2], heads, width)
        return constrain(y, "batch", "length", "heads", None)

    def _remembered(self, context: jax.Array, heads: int, width: int) -> tuple[jax.Array, jax.Array]:
        """Keys and values of a context, computed once where there is a cache."""

        def made(name: str) -> jax.Array:
            project = lambda: self._project(context, name, heads, width)  # noqa: E731
            return self.variable("cache", f"{name}_cache", project).value if self.cache else project()

        return made("key"), made("value")

    def _stored(self, name: str, new: jax.Array, start: jax.Array) -> jax.Array:
        """All that the cache holds `[B, cache, K, D]`, after `new` is written from position `start` on."""
        shape = (new.shape[0], self.cache, *new.shape[2:])
        stored = self.variable("cache", f"{name}_cache", jnp.zeros, shape, new.dtype)
        stored.value = lax.dynamic_update_slice(stored.value, new, (0, start, 0, 0))
        return stored.value


def _zeros(name: str) -> nn.initializers.Initializer:
    return with_axes(nn.initializers.zeros, name)
