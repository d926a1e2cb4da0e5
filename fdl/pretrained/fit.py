"""Published weights as a model's variables, after every array is accounted for."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fdl.pretrained.checkpoint import Checkpoint
from fdl.pretrained.names import Convert, Names, tree_of

_LISTED = 3  # faults: of a model that does not fit there are often hundreds
_FLOATS = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(jnp.bfloat16))


def renamed(checkpoint: Checkpoint, rename: Callable[[str], str]) -> Checkpoint:
    """The same weights under other names; `ValueError` where two would have the same."""
    tensors: dict[str, np.ndarray] = {}
    for name, array in checkpoint.tensors.items():
        if (new := rename(name)) in tensors:
            raise ValueError(f"{checkpoint.path} has {new} under two names, one of them {name}; remove one")
        tensors[new] = array
    return checkpoint._replace(tensors=tensors)


def untied(checkpoint: Checkpoint, copies: Mapping[str, str]) -> Checkpoint:
    """The weights without copies of others.

    Args:
      checkpoint: what is published.
      copies: the name of each copy and of its original; a copy without original takes its name.

    Raises:
      ValueError: a copy differs from its original, so that the model here would be another one.
    """
    tensors = dict(checkpoint.tensors)
    for copy, original in copies.items():
        if copy not in tensors:
            continue
        array = tensors.pop(copy)
        if not np.array_equal(tensors.setdefault(original, array), array):
            raise ValueError(
                f"{checkpoint.path}: {copy} differs from {original}; expected them tied: "
                "take weights whose embeddings are tied"
            )
    return checkpoint._replace(tensors=tensors)


def outputs_of(checkpoint: Checkpoint, bias: str) -> int:
    """How many outputs a head has, by its bias; `ValueError` without one."""
    if bias not in checkpoint.tensors or checkpoint.tensors[bias].ndim != 1:
        raise ValueError(f"{checkpoint.path} has no {bias} [outputs]; give `outputs` for a new head")
    return len(checkpoint.tensors[bias])


def fit_variables(
    checkpoint: Checkpoint,
    model: nn.Module,
    inputs: Sequence[jax.ShapeDtypeStruct],
    names: Mapping[str, Names],
    *,
    ignored: Sequence[str] = (),
) -> dict[str, Any]:
    """The model's variables, float32 on the host.

    Args:
      checkpoint: what is published.
      model: which they are for.
      inputs: what the model is called with.
      names: of each collection's arrays, `{"params": ...}`.
      ignored: regular expressions of names, matched whole, whose arrays the model has no use for.

    Raises:
      ValueError: arrays that are missing, that neither `names` nor `ignored` knows, or of another shape
        or dtype; the message counts and lists them.
    """
    wanted = nn.meta.unbox(jax.eval_shape(model.init, jax.random.key(0), *inputs))
    faults = _faults(checkpoint.tensors, wanted, names, ignored)
    told = "; ".join(f"{len(some)} {kind} ({_first(some)})" for kind, some in faults.items() if some)
    if told:
        raise ValueError(
            f"{checkpoint.path} does not fit the model: {told}; give the weights that belong to config.json"
        )

    def single(convert: Convert) -> Convert:
        return lambda array: convert(array).astype(np.float32, copy=False)

    return {
        collection: tree_of({path: (name, single(f)) for path, (name, f) in some.items()}, checkpoint.tensors)
        for collection, some in names.items()
    }


def _faults(
    tensors: Mapping[str, np.ndarray], wanted: Any, names: Mapping[str, Names], ignored: Sequence[str]
) -> dict[str, list[str]]:
    """What does not fit, by kind."""
    # By name, as one array of theirs may be several of ours.
    missing, shapes, dtypes = {}, {}, {}
    for collection, some in names.items():
        for path, (name, convert) in some.items():
            if name not in tensors:
                missing[name] = name
                continue
            array, shape = tensors[name], _at(wanted[collection], path).shape
            if array.dtype not in _FLOATS:
                dtypes[name] = f"{name} is {array.dtype}"
            if _shape_of(array, convert) != shape:
                shapes[name] = f"{name} is {list(array.shape)}, which does not fit {path} {list(shape)}"
    known = {name for some in names.values() for name, _ in some.values()}
    rest = [name for name in tensors if name not in known]
    unexpected = [name for name in rest if not any(re.fullmatch(pattern, name) for pattern in ignored)]
    return {
        "missing": list(missing.values()),
        "unexpected": [f"{name} {list(tensors[name].shape)}" for name in unexpected],
        "of another shape": list(shapes.values()),
        "of another dtype than float32, float16, bfloat16": list(dtypes.values()),
    }


def _first(faults: list[str]) -> str:
    return ", ".join(faults[:_LISTED]) + (", ..." if len(faults) > _LISTED else "")


def _at(tree: Any, path: str) -> Any:
    for key in path.split("/"):
        tree = tree[key]
    return tree


def _shape_of(array: np.ndarray, convert: Convert) -> tuple[int, ...] | None:
    """The shape of the converted array; None if it has too few axes or too few entries for that."""
    try:
        return convert(array).shape
    except (ValueError, IndexError):
        return None
