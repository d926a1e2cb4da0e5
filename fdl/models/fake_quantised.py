"""Fake quantisation: a model that computes with the values that integers of few bits can have."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl import shards
from fdl.arguments import checked
from fdl.models.conv import Conv, ConvTranspose, Local
from fdl.models.integers import Bits, round_between, round_kernel
from fdl.models.wrapped import Wrapped, calling
from fdl.optim.paths import map_kernels

LAYERS = (nn.Dense, nn.DenseGeneral, nn.Conv, nn.ConvTranspose, Conv, ConvTranspose, Local)
"""The layers whose inputs are rounded: what fdl's models are made of, and Flax's own."""
RANGES = "ranges"
"""The collection of the inputs' ranges."""
_DECAY = 0.99


@checked
class FakeQuantised(Wrapped):
    """A model whose kernels, and the inputs of whose layers, are rounded to what integers can hold.

    Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference, sec. 3: kernels each time by `fdl.models.integers.to_integers`; inputs of dense and
    convolutional layers (`LAYERS`) to even steps of a range, which is the moving average of the batches'
    lowest and highest values in training, in the collection `"ranges"` (of the first batches their plain
    mean). Sums are float32. Biases, norms, tables of tokens and recurrent states are not rounded. The model
    knows nothing of it.

    Until it has seen a training batch its outputs are not numbers.

    Attributes:
      model: what computes, see `Wrapped`.
      bits: of kernels and inputs alike, 2 to 8.
      aware: whether training rounds too, with gradients that pass straight through (quantisation-aware
        training); otherwise it trains as the model does, and what is evaluated is rounded (post-training
        quantisation, with ranges from the training's last batches).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.FakeQuantised(models.MLP((64,), 10))
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> sorted(variables)
      ['params', 'ranges']
    """

    bits: Bits = 8
    aware: bool = True

    def run(self, method: str, arguments: Any, options: Any) -> Any:
        """What the model's method returns, computed with rounded numbers."""
        run, starts = calling(method), self.is_initializing()
        records = self.is_mutable_collection(RANGES) and not starts
        rounds = not starts and (self.aware or not records)
        if rounds:
            rounded = lambda tree: map_kernels(lambda leaf: round_kernel(leaf, self.bits), tree)  # noqa: E731
            run = nn.map_variables(run, "params", trans_in_fn=rounded)
        through = functools.partial(_layer, self.bits if rounds else None, records)
        with nn.intercept_methods(through):
            return run(self.model, *arguments, **options)


def _layer(
    bits: int | None, records: bool, function: Callable[..., Any], args: Any, kwargs: Any, context: Any
) -> Any:
    """A module's method; if it is a layer's call, with its range recorded and its input rounded."""
    module = context.module
    if not isinstance(module, LAYERS) or context.method_name != "__call__":
        return function(*args, **kwargs)
    x, *more = args
    held = module.variable(RANGES, "input", _unseen)
    if records:
        held.value = _seen(held.value, jax.lax.stop_gradient(x))
    if bits is not None:
        x = round_between(x, held.value["low"], held.value["high"], bits)
    return function(x, *more, **kwargs)


def _unseen() -> dict[str, jax.Array]:
    return {"low": jnp.array(jnp.nan), "high": jnp.array(jnp.nan), "count": jnp.zeros((), jnp.int32)}


def _seen(before: dict[str, jax.Array], x: jax.Array) -> dict[str, jax.Array]:
    """The range after a batch, of all its rows, and how many batches there were."""
    ends = shards.gathered(jnp.stack([jnp.min(x), jnp.max(x)])[None]).astype(jnp.float32)
    new = {"low": jnp.minimum(jnp.min(ends), 0), "high": jnp.maximum(jnp.max(ends), 0)}
    rate = jnp.maximum(1 - _DECAY, 1 / (before["count"] + 1))
    mean = {
        end: jnp.where(before["count"] == 0, one, before[end] + rate * (one - before[end]))
        for end, one in new.items()
    }
    return {**mean, "count": before["count"] + 1}
