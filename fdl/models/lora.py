"""Low-rank adaptation: a model's matrices plus products of two thin ones, which alone are trained."""

from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.models.wrapped import Wrapped, calling
from fdl.optim.frozen import Chosen
from fdl.optim.paths import names


def query_and_value(path: tuple[str, ...]) -> bool:
    """Whether a parameter is the kernel of an attention's query or value, the paper's choice (sec. 4.2)."""
    return path[-2:] in (("query", "kernel"), ("value", "kernel"))


@checked
class LoRA(Wrapped):
    """A model of whose chosen kernels W `[..., I, O]` each is `W + alpha / rank * a b`.

    Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, sec. 4.1. The model's parameters are
    `model`, and `lora` has for each chosen one `a` `[..., I, rank]`, which starts normal with variance 1 / I
    (the paper: Gaussian; of what variance, it does not say), and `b` `[..., rank, O]`, which starts at zero:
    at the start it is the model itself. Leading axes, as of the layers of a scan or of experts, count
    matrices of which each has its own.

    The model's own parameters are trained too unless the optimizer freezes them, and begin as published ones
    by a warm start:

        model, variables = pretrained.load_gpt2(folder)
        optimizer = tasks.frozen(optax.adam(1e-4), lambda path: path[0] == "model")
        experiment = tasks.language_modelling(models.LoRA(model), splits, optimizer, steps=100, batch_size=8)
        given = {"params": {"model": variables["params"]}}
        experiment = tasks.warm_start(experiment, optimizer, given, fresh=lambda path: path[0] == "lora")

    What is saved is the optimizer's state. Each call computes the sums, so that its arithmetic is no less
    than the model's own, and `merged` gives exactly what it computes with.

    Attributes:
      model: what is adapted, see `Wrapped`. In mixed precision it is `LoRA(MixedPrecision(model))`, which
        adds before it rounds.
      rank: columns of `a` and rows of `b`.
      alpha: divided by `rank`, the factor of the products; `rank` if None, for a factor of 1.
      chosen: which parameters of the model, by the names on the way to them.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.LoRA(models.gpt2(vocabulary=256, width=64, layers=2, heads=4), rank=4)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> sorted(variables['params'])
      ['lora', 'model']
    """

    rank: Count = 8
    alpha: float | jax.Array | None = None
    chosen: Chosen = query_and_value

    @nn.nowrap
    def merged(self, params: Mapping[str, Any]) -> Any:
        """The parameters of `model` alone that give the same outputs (sec. 4.1, no inference latency).

        Args:
          params: those of this model, `{"model": ..., "lora": ...}`.
        """
        plain = nn.meta.unbox(params)
        return _merged(plain["model"], plain["lora"], self._factor())

    @nn.nowrap
    def _factor(self) -> float | jax.Array:
        return 1.0 if self.alpha is None else self.alpha / self.rank

    @nn.compact
    def run(self, method: str, arguments: Any, options: Any) -> Any:
        """What the model's method returns with the products added.

        Raises:
          ValueError: a rank below 1, no parameter is chosen, or one that is no matrix.
        """
        run = calling(method)
        # The matrices' shapes are known once the model has started; the products are zero then.
        first = run(self.model, *arguments, **options) if self.is_initializing() else None
        low = self.param("lora", self._start, self.model.variables["params"])
        if self.is_initializing():
            return first

        def added(tree: Any) -> Any:
            return {"params": _merged(nn.meta.unbox(tree["params"]), low, self._factor())}

        return nn.map_variables(run, "params", trans_in_fn=added)(self.model, *arguments, **options)

    @nn.nowrap
    def _start(self, key: jax.Array, base: Mapping[str, Any]) -> dict[str, Any]:
        """The pairs `{"a": ..., "b": ...}` at the places of the chosen parameters."""
        boxed = lambda leaf: isinstance(leaf, nn.meta.AxisMetadata)  # noqa: E731
        leaves = jax.tree_util.tree_leaves_with_path(base, is_leaf=boxed)
        found = {names(path): leaf for path, leaf in leaves if self.chosen(names(path))}
        if self.rank < 1 or not found:
            raise ValueError(
                f"rank is {self.rank} and {len(found)} parameters are chosen, of such as "
                f"{'/'.join(names(leaves[0][0]))}; expected a rank from 1 and at least one parameter"
            )
        tree: dict[str, Any] = {}
        for (path, leaf), own in zip(found.items(), jax.random.split(key, len(found)), strict=True):
            node = tree
            for name in path:
                node = node.setdefault(name, {})
            node |= _pair(own, "/".join(path), leaf, self.rank)
        return tree


def _pair(key: jax.Array, name: str, leaf: Any, rank: int) -> dict[str, Any]:
    """The two matrices of one `[..., I, O]`, sharded as its inputs and its outputs are."""
    matrix = nn.meta.unbox(leaf)
    if matrix.ndim < 2:
        raise ValueError(f"{name} is {list(matrix.shape)}; expected matrices [..., I, O] to be chosen")
    *more, inputs, outputs = matrix.shape
    a = jax.random.normal(key, (*more, inputs, rank), matrix.dtype) * inputs**-0.5
    b = jnp.zeros((*more, rank, outputs), matrix.dtype)
    axes = getattr(leaf, "names", None)
    if axes is None:
        return {"a": a, "b": b}
    box = cast(Any, leaf)
    return {
        "a": box.replace(value=a, names=(*axes[:-1], None)),
        "b": box.replace(value=b, names=(*axes[:-2], None, axes[-1])),
    }


def _merged(base: Any, low: Mapping[str, Any], factor: float | jax.Array) -> Any:
    """The tree of parameters with the products added where `low` has pairs."""
    if not isinstance(base, Mapping):
        # Weights are no activations: whatever the device's default for products, these are not rounded.
        product = jnp.matmul(low["a"], low["b"], precision=jax.lax.Precision.HIGHEST)
        return (base + factor * product).astype(base.dtype)
    return {k: _merged(v, low[k], factor) if k in low else v for k, v in base.items()}
