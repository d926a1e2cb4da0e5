"""A published model: weights by name, and the hyper-parameters in the `config.json` beside them."""

import json
import math
import os
from typing import Any, NamedTuple

import numpy as np

from fdl.data.readers.opened_files import content_of
from fdl.pretrained.sharded import INDEX
from fdl.pretrained.weights import read_weights
from fdl.storage import Folder, kind_of, path_of


class Checkpoint(NamedTuple):
    """What is published.

    Attributes:
      path: the file of weights, or the index of its shards.
      config: hyper-parameters by Hugging Face's names.
      tensors: the weights by Hugging Face's names.
    """

    path: Folder
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]


def read_checkpoint(path: str | os.PathLike[str], family: str, *, sha256: str | None = None) -> Checkpoint:
    """Reads weights and their `config.json`.

    Args:
      path: the file of weights, or a folder that has them as `model.safetensors`, as its shards with
        `model.safetensors.index.json`, or as `model.npz`.
      family: Hugging Face's `model_type`, as `"bert"`.
      sha256: see `read_weights`.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged, or of another family.
    """
    path = path_of(path)
    if (kind := kind_of(path)) == "directory":
        names = ("model.safetensors", INDEX, "model.npz")
        found = next((path / name for name in names if kind_of(path / name)), None)
        if found is None:
            raise FileNotFoundError(
                f"{path} has none of {', '.join(names)}; give the folder of one model, or the file itself"
            )
        path = found
    elif not kind:
        raise FileNotFoundError(f"{path} does not exist; expected a file of weights, or a model's folder")
    config = _read_config(path.parent / "config.json")
    if config.get("model_type", family) != family:
        raise ValueError(
            f"{path.parent / 'config.json'} is of a {config['model_type']!r} model; expected {family!r}: "
            "use the function of that family"
        )
    return Checkpoint(path, config, read_weights(path, sha256=sha256))


def _read_config(path: Folder) -> dict[str, Any]:
    content = content_of(path)
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); fetch it again") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is a JSON {type(config).__name__}; expected an object: fetch it again")
    return config


def count(checkpoint: Checkpoint, field: str) -> int:
    """A hyper-parameter that is a number of things; `ValueError` if it is missing or below 1."""
    value = checkpoint.config.get(field)
    if type(value) is not int or value < 1:
        raise ValueError(
            f"{checkpoint.path.parent / 'config.json'}: {field} is {value!r}; expected an integer from 1"
        )
    return value


def padding(checkpoint: Checkpoint, *, default: int) -> int | None:
    """The token that is no text, or None if there is none; `ValueError` if it is no token."""
    value = checkpoint.config.get("pad_token_id", default)
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(
            f"{checkpoint.path.parent / 'config.json'}: pad_token_id is {value!r}; expected an integer from 0"
        )
    return value


def flag(checkpoint: Checkpoint, field: str, *, default: bool) -> bool:
    """A hyper-parameter that is true or false; the default if it is missing, `ValueError` for others."""
    value = checkpoint.config.get(field, default)
    if not isinstance(value, bool):
        raise ValueError(
            f"{checkpoint.path.parent / 'config.json'}: {field} is {value!r}; expected true or false"
        )
    return value


def number(checkpoint: Checkpoint, field: str, *, default: float | None = None) -> float:
    """A hyper-parameter above 0; the default if it is missing, `ValueError` if it is no such number."""
    value = checkpoint.config.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(
            f"{checkpoint.path.parent / 'config.json'}: {field} is {value!r}; expected a number above 0"
        )
    return float(value)


def require(checkpoint: Checkpoint, **fields: Any) -> None:
    """`ValueError` for the first hyper-parameter that is there and not as the model here has it."""
    for field, wanted in fields.items():
        value = checkpoint.config.get(field, wanted)
        if value != wanted:
            raise ValueError(
                f"{checkpoint.path.parent / 'config.json'}: {field} is {value!r}; expected {wanted!r}, "
                "which is all that the model here can do: take weights of that form"
            )
