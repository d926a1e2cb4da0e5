"""Mixture of experts: feed-forward nets of which each token uses few."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from fdl import shards
from fdl.arguments import Count, Positive, checked
from fdl.models.attention import Initializer
from fdl.models.axes import constrain, with_axes


@checked
class Experts(nn.Module):
    """Each token's sum of the `chosen` experts that a router thinks likeliest, weighted by their shares.

    Fedus et al. 2022, Switch Transformers, sec. 2 (one expert, weighted by its probability); Lepikhin et
    al. 2021, GShard, and Jiang et al. 2024, Mixtral of Experts, sec. 2.1 (several, whose probabilities
    are divided by their sum); without Switch's noise on the router's inputs, and its smaller start. It
    takes the place of a `FeedForward`. The balance loss (`balance_loss`) is left in the collection
    `"losses"`, for the task to add.

    Attributes:
      experts: X, how many there are.
      feed_forward: makes an expert, as `functools.partial(FeedForward, 2048)`; parameters have a leading
        axis `[X, ...]`.
      chosen: k, experts of a token.
      capacity: an expert takes at most `ceil(capacity k T / X)` tokens of a text, the earlier ones first;
        to the others it adds nothing. None: it takes all. A text that is read part by part, with a
        cache, has this limit in each part.
      initializer: makes the initialiser of the router's kernel `[E, X]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> feed_forward = lambda **more: models.FeedForward(256, **more)
      >>> model = models.Experts(experts=4, feed_forward=feed_forward, chosen=2)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6, 64)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 64)
    """

    experts: Count
    feed_forward: Callable[..., nn.Module]
    chosen: Count = 2
    capacity: Positive[float] | None = None
    initializer: Initializer = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """`x` `[B, T, E]` to the same shape.

        Raises:
          ValueError: more chosen experts than X.
        """
        if self.chosen > self.experts:
            raise ValueError(f"each token has {self.chosen} of {self.experts} experts; expected at most all")
        kernel = with_axes(self.initializer(), "embed", None)
        router = nn.Dense(self.experts, use_bias=False, kernel_init=kernel, name="router")
        logits = router(x)
        shares = nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), axis=-1)
        weights, index = lax.top_k(shares, self.chosen)
        if self.chosen > 1:  # divided by itself, a single one would pass no gradient to the router
            weights = weights / weights.sum(axis=-1, keepdims=True)
        loss = balance_loss(shares, index)
        self.sow("losses", "balance", loss, reduce_fn=lambda _, new: new, init_fn=lambda: jnp.zeros(()))
        return constrain(self._mixed(x, train, index, weights), "batch", "length", "embed")

    def _mixed(self, x: jax.Array, train: bool, index: jax.Array, weights: jax.Array) -> jax.Array:
        """The weighted sums; experts `index` and `weights` are `[B, T, k]`."""
        batch, length, width = x.shape
        capacity = length
        if self.capacity is not None:
            capacity = min(length, math.ceil(self.capacity * self.chosen * length / self.experts))
        place = jax.vmap(lambda row: _places(row, self.experts, capacity))(index.reshape(batch, -1))
        rows = jnp.repeat(x, self.chosen, axis=1)
        empty = jnp.zeros((self.experts * capacity, width), x.dtype)
        filled = jax.vmap(lambda place, rows: empty.at[place].set(rows, mode="drop"))(place, rows)
        filled = filled.reshape(batch, self.experts, capacity, width)
        each = nn.vmap(
            lambda expert, rows: expert(rows, train),
            in_axes=1,
            out_axes=1,
            variable_axes={True: 0},
            split_rngs={True: True},
            axis_size=self.experts,
            metadata_params={nn.PARTITION_NAME: None},
        )
        done = each(self.feed_forward(name="expert"), filled).reshape(batch, -1, width)
        taken = jax.vmap(lambda done, place: done.at[place].get(mode="fill", fill_value=0))(done, place)
        taken = taken.reshape(batch, length, self.chosen, width)
        return jnp.einsum("btke,btk->bte", taken, weights.astype(taken.dtype))


def balance_loss(shares: jax.Array, index: jax.Array) -> jax.Array:
    """How unevenly tokens use experts: 1 if evenly, X if all use one.

    Fedus et al. 2022, Switch Transformers, eq. 4 without its factor: X Σ f_x P_x, where f_x is the part
    of all choices that fell on expert x, which has no gradient, and P_x its mean probability.

    Args:
      shares: the router's probabilities, `[..., X]`.
      index: the experts chosen, `[..., k]`.

    Returns:
      A scalar.
    """
    experts = shares.shape[-1]
    part = shards.mean(jnp.bincount(index.ravel(), length=experts) / index.size)
    return experts * jnp.sum(part * shares.reshape(-1, experts).mean(axis=0))


def _places(index: jax.Array, experts: int, capacity: int) -> jax.Array:
    """Where each choice `[n]` goes among all experts' rows, in turn; `experts * capacity` for nowhere."""
    chosen = index[:, None] == jnp.arange(experts)
    turn = jnp.sum(jnp.where(chosen, jnp.cumsum(chosen, axis=0), 0), axis=1) - 1
    return jnp.where(turn < capacity, index * capacity + turn, experts * capacity)
