"""Parameters that stay as they are, and with them the statistics of their layers."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import flax.linen as nn
import jax
import optax

from fdl.arguments import checked
from fdl.optim.paths import names

Chosen = Callable[[tuple[str, ...]], bool]
"""Which parameters, by the names on the way to them: `lambda path: path[0] != "Dense_1"`."""


class Frozen(optax.GradientTransformationExtraArgs):
    """An optimizer that leaves some parameters as they are.

    Attributes:
      chosen: which.
    """

    chosen: Chosen


@checked
def frozen(optimizer: optax.GradientTransformation, chosen: Chosen) -> Frozen:
    """`optimizer`, which neither changes the chosen parameters nor sees them or keeps a state for them.

    Tasks also keep the chosen leaves of the model's other collections: `chosen` is asked of running
    statistics by their names, as `("BatchNorm_0", "mean")`, and a `flax.linen.BatchNorm` whose mean is chosen
    normalises by them in training too, so that a frozen layer is one function from the first step to the
    last (Keras' `trainable = False`; PyTorch's `requires_grad = False` lets statistics follow the data). It
    must be the outermost transformation: in a chain, tasks do not see it.

    Args:
      optimizer: for the other parameters; norms over all parameters are norms over these.
      chosen: which parameters stay as they are.

    Example:
      >>> import optax
      >>> optimizer = fdl.optim.frozen(optax.sgd(0.5), lambda path: path[0] == "body")
      >>> params = {"body": jnp.ones(1), "head": jnp.ones(1)}
      >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
      >>> updates["body"].tolist(), updates["head"].tolist()
      ([0.0], [-0.5])
    """

    def labels(params: Any) -> Any:
        label = lambda path, _: "frozen" if chosen(names(path)) else "trained"  # noqa: E731
        return jax.tree_util.tree_map_with_path(label, params)

    transforms = {"trained": optimizer, "frozen": optax.set_to_zero()}
    inner = optax.partition(transforms, labels, mask_compatible_extra_args=True)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        extra = {name: _of_trained(x, params, chosen) if callable(x) else x for name, x in extra.items()}
        return inner.update(updates, state, params, **extra)

    both = Frozen(inner.init, update)
    both.chosen = chosen
    return both


def _of_trained(function: Any, params: Any, chosen: Chosen) -> Any:
    """A function of all parameters, such as a line search's `value_fn`, as one of those that are trained."""
    missing = lambda node: isinstance(node, optax.MaskedNode)  # noqa: E731

    def masked(tree: Any) -> Any:
        leaf = lambda path, leaf: optax.MaskedNode() if chosen(names(path)) else leaf  # noqa: E731
        return jax.tree_util.tree_map_with_path(leaf, tree)

    @functools.wraps(function)
    def of_trained(trained: Any, *args: Any, **kwargs: Any) -> Any:
        whole = jax.tree.map(lambda a, b: b if missing(a) else a, trained, params, is_leaf=missing)
        out = function(whole, *args, **kwargs)
        return masked(out) if jax.tree.structure(out) == jax.tree.structure(params) else out

    return of_trained


def unmoved(optimizer: optax.GradientTransformation) -> AbstractContextManager[Any]:
    """Where batch norms of chosen layers normalise by their running statistics, also in training."""
    if not isinstance(optimizer, Frozen):
        return nullcontext()
    chosen = optimizer.chosen

    def call(function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if not isinstance(module, nn.BatchNorm) or not chosen((*module.path, "mean")):
            return function(*args, **kwargs)
        before = module.use_running_average
        # The call's own argument, which Flax also has, must not be given beside the attribute.
        object.__setattr__(module, "use_running_average", None)
        try:
            return function(*args, **{**kwargs, "use_running_average": True})
        finally:
            object.__setattr__(module, "use_running_average", before)

    return nn.intercept_methods(call)


def kept(optimizer: optax.GradientTransformation, before: Any, after: Any) -> Any:
    """The collections after a pass, of which the chosen leaves are as before."""
    if not isinstance(optimizer, Frozen):
        return after
    chosen = optimizer.chosen

    def leaf(path: Any, old: jax.Array, new: jax.Array) -> jax.Array:
        return old if chosen(names(path)[1:]) else new  # the first name is the collection's

    return jax.tree_util.tree_map_with_path(leaf, before, after)
