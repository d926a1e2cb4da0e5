"""What every layer of a Flax model says of a batch, from outside of the model."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict

from fdl.arguments import checked


@checked
def activations(apply: Callable[..., Any], variables: Mapping[str, Any], x: Any) -> dict[str, jax.Array]:
    """The outputs of all modules of a model for a batch, by path; pure, for `jit`, `vmap` and `grad`.

    Flax records them (`capture_intermediates`); the model needs no change. An `MLP`'s `"Layer_0"` is what
    the layer gives on, after its activation, and `"Layer_0/Dense_0"` what is before; `"output"` is the
    model's own output. A module with several outputs, or that is called several times, has `"name/0"`,
    `"name/1"`. Layers that are scanned, as those of a deep `MLP`, are taken apart: `"name[0]"`, `"name[1]"`.
    Outputs that have no row for each row of the batch, such as embeddings of positions, are left out. What
    `jit` returns is sorted by name, as all dictionaries are.

    Args:
      apply: `model.apply` of Flax, or a function that gives its keywords on to it, as
        `functools.partial(model.apply, train=False)`.
      variables: the model's collections, as `run.variables` of a trained run.
      x: the batch as the model takes it, arrays `[B, ...]`.

    Returns:
      Arrays `[B, ...]`, of images `[B, H, W, C]`, of texts `[B, T, E]`.

    Raises:
      ValueError: `apply` takes no `capture_intermediates`, so it is not Flax's.

    Example:
      >>> model = fdl.models.MLP(widths=(16, 8), outputs=3)
      >>> x = jnp.ones((5, 4))
      >>> layers = fdl.analysis.activations(model.apply, model.init(jax.random.key(0), x), x)
      >>> {name: rows.shape for name, rows in layers.items() if "Dropout" not in name}
      {'Layer_0/Dense_0': (5, 16), 'Layer_0': (5, 16), 'Layer_1/Dense_0': (5, 8), 'Layer_1': (5, 8),
       'Dense_0': (5, 3), 'output': (5, 3)}
    """
    takes = inspect.signature(apply).parameters
    if "capture_intermediates" not in takes and not any(
        one.kind is one.VAR_KEYWORD for one in takes.values()
    ):
        raise ValueError(
            "apply takes no capture_intermediates; expected model.apply of a Flax model, or a function that "
            "gives its keywords on to it"
        )

    def captured(x: Any) -> dict[str, jax.Array]:
        _, kept = apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
        return _by_name(kept["intermediates"])

    longer = jax.tree.map(lambda a: jax.ShapeDtypeStruct((a.shape[0] + 1, *a.shape[1:]), a.dtype), x)
    other = jax.eval_shape(captured, longer)
    found = {}
    for name, output in captured(x).items():
        grown = [after - before for before, after in zip(output.shape, other[name].shape, strict=True)]
        if grown and grown[0] == 1 and not any(grown[1:]):
            found[name] = output
        elif grown[:2] == [0, 1] and not any(grown[2:]):
            found |= {f"{name}[{index}]": output[index] for index in range(output.shape[0])}
    return found


def _by_name(kept: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Flax's nested dictionaries of calls as arrays by path."""
    found = {}
    for path, calls in flatten_dict(kept).items():
        name = "/".join(path[:-1] if path[-1] == "__call__" else path) or "output"
        leaves = jax.tree.leaves(calls)
        several = len(leaves) > 1
        found |= {f"{name}/{index}" if several else name: leaf for index, leaf in enumerate(leaves)}
    return found
