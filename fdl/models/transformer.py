"""The transformer: layers of attention and feed-forward nets, every choice of which is a function."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.attention import Attend, Initializer, Mask, causal
from fdl.models.axes import constrain, with_axes
from fdl.models.dropout import Dropout
from fdl.models.norms import layer_norm
from fdl.models.positions import Positions

Norm = Callable[[jax.Array, bool], jax.Array]


def fine_layer_norm(x: jax.Array, train: bool) -> jax.Array:
    """As `layer_norm`, but with an epsilon of 1e-12: BERT's."""
    return layer_norm(x, train, epsilon=1e-12)


@checked
class FeedForward(nn.Module):
    """Two layers applied at each place: `[B, T, E]` to `[B, T, E]`, by kernels `[E, F]` and `[F, E]`.

    Attributes:
      width: F, units of the hidden layer.
      activation: its nonlinearity; exact GELU by default.
      gated: whether the activations, of a kernel `gate` of their own, are factors of the hidden units:
        with `nn.silu` this is SwiGLU (Shazeer 2020, GLU Variants Improve Transformer, eq. 6).
      bias: whether the layers add a bias.
      initializer: makes the initialiser of the kernels; biases start at zero.
      last_initializer: makes that of the last kernel; `initializer` if None.
      dropout: rate of dropout of the hidden units.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.FeedForward(width=256, gated=True)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6, 64)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 64)
    """

    width: Count
    activation: Callable[[jax.Array], jax.Array] = lambda x: nn.gelu(x, approximate=False)
    gated: bool = False
    bias: bool = True
    initializer: Initializer = nn.initializers.lecun_normal
    last_initializer: Initializer | None = None
    dropout: Share[float | jax.Array] = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Applies the layers to `x` `[B, T, E]`; `train`: whether there is dropout."""
        up = self._dense(x, "up", self.width, ("embed", "mlp"), self.initializer)
        if self.gated:
            gate = self._dense(x, "gate", self.width, ("embed", "mlp"), self.initializer)
            hidden = self.activation(gate) * up
        else:
            hidden = self.activation(up)
        hidden = Dropout(self.dropout)(hidden, train)
        last = self.last_initializer or self.initializer
        return self._dense(hidden, "down", x.shape[-1], ("mlp", "embed"), last)

    def _dense(
        self, x: jax.Array, name: str, width: int, axes: tuple[str, str], initializer: Initializer
    ) -> jax.Array:
        kernel, bias = with_axes(initializer(), *axes), with_axes(nn.initializers.zeros, axes[1])
        dense = nn.Dense(width, self.bias, kernel_init=kernel, bias_init=bias, name=name)
        return constrain(dense(x), "batch", "length", axes[1])


@checked
class Block(nn.Module):
    """Attention to the text, attention to a context if there is one, feed-forward; each a residual branch.

    Attributes:
      attention: makes an attention, as `Attention`.
      feed_forward: makes what follows, as `FeedForward` or `Experts`.
      norm: called for each branch.
      pre_norm: whether `x + branch(norm(x))`, else `norm(x + branch(x))`.
      dropout: rate of dropout of each branch's output.
    """

    attention: Callable[..., nn.Module]
    feed_forward: Callable[..., nn.Module]
    norm: Norm
    pre_norm: bool
    dropout: Share[float | jax.Array]

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool,
        *,
        context: jax.Array | None,
        context_mask: jax.Array | None,
        **inputs: Any,
    ) -> jax.Array:
        """`x` `[B, T, E]` to the same shape; `inputs` are what the attention to the text takes."""
        attention = self.attention(name="attention")
        x = self._branch(x, train, lambda x: attention(x, train, **inputs))
        if context is not None:
            cross = self.attention(name="cross")
            x = self._branch(x, train, lambda x: cross(x, train, context=context, mask=context_mask))
        feed_forward = self.feed_forward(name="feed_forward")
        return self._branch(x, train, lambda x: feed_forward(x, train))

    def _branch(self, x: jax.Array, train: bool, branch: Callable[[jax.Array], jax.Array]) -> jax.Array:
        y = Dropout(self.dropout)(branch(self.norm(x, train) if self.pre_norm else x), train)
        return constrain(x + y if self.pre_norm else self.norm(x + y, train), "batch", "length", "embed")


@checked
class Transformer(nn.Module):
    """Vectors `[B, T, E]` to vectors `[B, T, E]`: positions, layers, and with `pre_norm` a last norm.

    The parameters of layer i are `layer_i`; with `scan`, those of all layers are `layers`, each array
    with a leading axis `[L, ...]`.

    Attributes:
      layers: L, how many there are.
      attention: makes an attention, as `functools.partial(Attention, heads=8)`.
      feed_forward: makes what follows it, as `functools.partial(FeedForward, 2048)`.
      positions: how places are told apart, as `rotary()`; `Positions()`: not at all.
      mask: which places may see which, as `causal`; None: all see all.
      attend: how the attentions compute where there is no cache, as `fused_attend`; None: as they are made.
      norm: called for each branch of each layer, `norm(x, train)`.
      pre_norm: whether norms stand at the start of branches, else after their sums.
      first_norm: called before the first layer, or None.
      dropout: rate of dropout of the first layer's inputs and of each branch; the attention and the
        feed-forward nets have their own.
      last_dropout: rate of dropout of the outputs.
      scan: whether one layer is compiled and applied in a loop: less time to compile.
      remat: whether a layer's activations are computed again for the gradient: less memory.
      cache: how many places the attention's cache holds; 0: there is none. With one, each call reads
        the places after those of the calls before, and the collection `"cache"` must be mutable.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> import functools
      >>> model = models.Transformer(
      ...     layers=2,
      ...     attention=functools.partial(models.Attention, heads=4),
      ...     feed_forward=functools.partial(models.FeedForward, 256),
      ... )
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6, 64)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 64)
    """

    layers: NotNegative[int]
    attention: Callable[..., nn.Module]
    feed_forward: Callable[..., nn.Module]
    positions: Positions = Positions()
    mask: Mask | None = None
    attend: Attend | None = None
    norm: Norm = layer_norm
    pre_norm: bool = True
    first_norm: Norm | None = None
    dropout: Share[float | jax.Array] = 0.0
    last_dropout: Share[float | jax.Array] = 0.0
    scan: bool = False
    remat: bool = False
    cache: NotNegative[int] = 0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool = False,
        *,
        valid: jax.Array | None = None,
        context: jax.Array | None = None,
        context_valid: jax.Array | None = None,
    ) -> jax.Array:
        """Transforms `x`.

        Args:
          x: `[B, T, E]`.
          train: whether there is dropout.
          valid: bool `[B, T]`, False where nothing may be seen (padding); None: all may be.
          context: `[B, S, C]`, what every layer attends to as well, or None.
          context_valid: bool `[B, S]`, as `valid`.

        Raises:
          ValueError: more places than positions or than the cache holds, or a cache without a mask.
        """
        self._check(x.shape[1])
        queries = self._start(x.shape[1]) + jnp.arange(x.shape[1], dtype=jnp.int32)
        keys = jnp.arange(self.cache, dtype=jnp.int32) if self.cache else queries
        if self.cache:  # what is written past the end of the cache would be written over what is there
            x = jnp.where((queries < self.cache)[:, None], x, jnp.nan)
        x = self.positions.embed(x, queries)
        x = x if self.first_norm is None else self.first_norm(x, train)
        x = constrain(Dropout(self.dropout)(x, train), "batch", "length", "embed")
        is_causal = self._is_causal(valid)
        mask = None if self.mask is None or is_causal else self.mask(queries, keys)[None, None]
        if valid is not None:
            mask = _seen(valid) if mask is None else mask & _seen(valid)
        inputs = {
            "positions": queries,
            "mask": mask,
            "bias": self.positions.bias(queries, keys),
            "context": context,
            "context_mask": None if context_valid is None else _seen(context_valid),
        }
        options = {"attend": self.attend, "is_causal": is_causal} if self._attends() else {}
        x = self._apply_layers(x, train, inputs, options)
        return Dropout(self.last_dropout)(self.norm(x, train) if self.pre_norm else x, train)

    def _check(self, length: int) -> None:
        limit = self.positions.limit
        if limit is not None and max(length, self.cache) > limit:
            raise ValueError(f"there are {max(length, self.cache)} places and positions for only {limit}")
        if self.cache and (self.mask is None or length > self.cache):
            raise ValueError(
                f"a cache of {self.cache} places cannot serve a text of {length} with mask {self.mask}; "
                "expected no longer text, and a mask such as causal"
            )

    def _attends(self) -> bool:
        """Whether the attentions compute as `attend` says."""
        return self.attend is not None and not self.cache

    def _is_causal(self, valid: jax.Array | None) -> bool:
        """Whether `attend` need not be given a mask, as it is causal and nothing else."""
        return self._attends() and self.mask is causal and valid is None

    def _start(self, length: int) -> jax.Array | int:
        """The position of the first place."""
        if not self.cache:
            return 0
        position = self.variable("cache", "position", lambda: jnp.zeros((), jnp.int32))
        start = position.value
        position.value = start + length
        return start

    def _apply_layers(
        self, x: jax.Array, train: bool, inputs: dict[str, Any], options: dict[str, Any]
    ) -> jax.Array:
        """The layers, one after another; `options` are attributes of the attentions."""

        def make(name: str) -> Block:
            def attention(name: str) -> nn.Module:
                return self.attention(rotate=self.positions.rotate, cache=self.cache, name=name, **options)

            return Block(attention, self.feed_forward, self.norm, self.pre_norm, self.dropout, name=name)

        def body(block: Block, x: jax.Array, inputs: dict[str, Any]) -> jax.Array:
            return block(x, train, **inputs)

        apply: Any = nn.remat(body) if self.remat else body
        if not self.scan:
            for index in range(self.layers):
                x = apply(make(f"layer_{index}"), x, inputs)
            return x
        scan: Any = nn.scan  # its annotations do not know `broadcast`
        scanned = scan(
            lambda block, x, inputs: (apply(block, x, inputs), None),
            variable_axes={True: 0},
            split_rngs={True: True},
            in_axes=nn.broadcast,
            length=self.layers,
            metadata_params={nn.PARTITION_NAME: None},
        )
        return scanned(make("layers"), x, inputs)[0]


def _seen(valid: jax.Array) -> jax.Array:
    return valid[:, None, None, :]
