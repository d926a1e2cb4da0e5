"""One reader of the published encoders of texts, whose families differ in names and in a few fields."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.models.text_encoder import TextEncoder
from fdl.pretrained.checkpoint import Checkpoint, count, read_checkpoint
from fdl.pretrained.fit import fit_variables, renamed, untied
from fdl.pretrained.names import Names

M = TypeVar("M", bound="nn.Module")
TEXT = (jax.ShapeDtypeStruct((1, 1), jnp.int32),)
"""What a model of texts is started with."""


class Family(NamedTuple):
    """What a family's files are like.

    Attributes:
      kind: their `model_type`.
      layers: the field of `config.json` with the number of layers.
      today: `today(name)`, the name that its model of masked tokens has for what other files call otherwise.
      copies: which of these names are copies of which others, see `untied`.
      encoder: `encoder(checkpoint, dropout)`, the model of its `config.json`.
    """

    kind: str
    layers: str
    today: Callable[[str], str]
    copies: Mapping[str, str]
    encoder: Callable[[Checkpoint, float | jax.Array], TextEncoder]


def load_encoder(
    family: Family,
    path: str | os.PathLike[str],
    whole: Callable[[TextEncoder, Checkpoint], M],
    names: Callable[[int], Names],
    *,
    ignored: tuple[str, ...],
    sha256: str | None,
    dropout: float | jax.Array,
) -> tuple[M, dict[str, Any]]:
    """A family's model and its variables `{"params": ...}`.

    Args:
      family: whose files they are.
      path: the file of weights in Hugging Face's layout with `config.json` beside it, or their folder.
      whole: `whole(encoder, checkpoint)`, the model around the encoder.
      names: `names(layers)`, where its parameters are in the file.
      ignored: patterns of names in the file that the model has not.
      sha256: of the file of weights, in hexadecimal, or None: not checked.
      dropout: rate of embeddings, attention weights and branches, in place of the published ones.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged or of another model; all differences are told.
    """
    checkpoint = renamed(read_checkpoint(path, family.kind, sha256=sha256), family.today)
    checkpoint = untied(checkpoint, family.copies)
    model = whole(family.encoder(checkpoint, dropout), checkpoint)
    params = {"params": names(count(checkpoint, family.layers))}
    return model, fit_variables(checkpoint, model, TEXT, params, ignored=ignored)


def alone(encoder: TextEncoder, checkpoint: Checkpoint) -> TextEncoder:
    """The encoder itself, as `load_encoder` asks for it."""
    del checkpoint
    return encoder
