"""Weights in Hugging Face's layout, written by the tables of names that they are read by."""

import functools
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fdl import tree
from fdl.models.transformer import Transformer
from fdl.pretrained.names import Convert, Names, same, transposed
from fdl.pretrained.safetensors import safetensors_of
from fdl.storage import write_atomically

Backs = Mapping[Callable[..., Any], Convert]
"""For each way in which an array of theirs becomes one of ours, the way back."""
TEXTS = (jax.ShapeDtypeStruct((1, 2), jnp.int32),)
"""What a model of texts is traced with: of two tokens, so that a mask can be told."""
_BACKS: Backs = {same: same, transposed: transposed}


def named_tensors(
    names: Mapping[str, Names], variables: Mapping[str, Any], backs: Backs | None = None
) -> dict[str, np.ndarray]:
    """Their arrays by name, float32; several of ours that are one of theirs are joined along the last axis.

    Args:
      names: of each collection's arrays, as those of `fdl.pretrained.fit.fit_variables`.
      variables: the collections.
      backs: the ways back of what is neither `same` nor `transposed`.

    Raises:
      ValueError: the variables have other arrays than `names`.
    """
    known = {**_BACKS, **(backs or {})}
    parts: dict[str, list[np.ndarray]] = {}
    for collection, some in names.items():
        arrays = tree.named_leaves(jax.device_get(nn.meta.unbox(variables.get(collection, {}))))
        if other := sorted(arrays.keys() ^ some.keys()):
            raise ValueError(
                f"the variables differ from such a model's in {len(other)} arrays, {other[0]} for one: "
                "give the model's own"
            )
        for path, (name, convert) in some.items():
            back = known[getattr(convert, "func", convert)]
            parts.setdefault(name, []).append(back(np.asarray(arrays[path], np.float32)))
    return {name: one[0] if len(one) == 1 else np.concatenate(one, axis=-1) for name, one in parts.items()}


def write_weights(
    folder: str | os.PathLike[str],
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    load: Callable[[Path], tuple[nn.Module, Mapping[str, Any]]],
    model: nn.Module,
    variables: Mapping[str, Any],
    inputs: Sequence[jax.ShapeDtypeStruct],
) -> None:
    """Writes `config.json` and `model.safetensors`, if they are read again as the same model.

    Args:
      folder: new or empty, local.
      config: what `config.json` says.
      tensors: the weights.
      load: the family's reader.
      model: whose weights they are: as JAX traces it, it must be what the reader makes.
      variables: its variables, which must be what the reader finds.
      inputs: what it is called with.

    Raises:
      ValueError: a folder that holds something, or a model that the family's `config.json` cannot tell of.
      OSError: a file cannot be written.
    """
    place = Path(folder)
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        raise ValueError(f"{place} holds something already; give a new folder")
    files = {
        "config.json": json.dumps(config, indent=2).encode(),
        "model.safetensors": safetensors_of(tensors),
    }
    with tempfile.TemporaryDirectory() as made:
        for name, content in files.items():
            (Path(made) / name).write_bytes(content)
        again, found = load(Path(made))
    if _program(again, found, inputs) != _program(model, variables, inputs):
        raise ValueError(
            f"the {type(model).__name__} is none that Hugging Face's {config['model_type']} can be: as that "
            "file says it, it would compute something else; expected it as fdl.models makes it, in float32"
        )
    ours = tree.named_leaves(jax.device_get(nn.meta.unbox(dict(variables))))
    wrong = [name for name, leaf in tree.named_leaves(found).items() if not np.array_equal(leaf, ours[name])]
    if wrong:
        raise ValueError(f"{wrong[0]} would not be read as it is: it holds NaN, or more digits than float32")
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(place / name, content)


def _program(model: nn.Module, variables: Any, inputs: Sequence[jax.ShapeDtypeStruct]) -> str:
    """What a model computes in an evaluation, as JAX traces it: equal texts are equal functions."""
    forms = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), np.float32), nn.meta.unbox(dict(variables))
    )
    traced = jax.make_jaxpr(functools.partial(model.apply, train=False))(forms, *inputs)
    arrays = [np.asarray(one).tolist() for one in traced.consts]
    return re.sub(r"0x[0-9a-f]+", "", f"{traced} {arrays}")


def heads_of(transformer: Transformer) -> int:
    """How many heads its attentions have; `ValueError` where that is not said."""
    heads = getattr(transformer.attention, "keywords", {}).get("heads")
    if heads is None:
        raise ValueError(
            "the model's attention is one of your own; expected functools.partial(Attention, heads=...)"
        )
    return heads


def numbered_labels(outputs: int) -> dict[str, Any]:
    """How a `config.json` says how many classes there are."""
    return {
        "id2label": {str(i): f"LABEL_{i}" for i in range(outputs)},
        "label2id": {f"LABEL_{i}": i for i in range(outputs)},
    }
