"""DistilBERT's published weights: the encoder, and its logits of masked tokens."""

import os
from typing import Any

import jax

from fdl.models.text_encoder import MaskedLanguageModel, TextEncoder, bert
from fdl.pretrained.checkpoint import Checkpoint, count, padding, require
from fdl.pretrained.encoders import Family, alone, load_encoder
from fdl.pretrained.names import Names, dense_names, embedding_names, norm_names, same

_BUFFERS = (r"distilbert\.embeddings\.position_ids",)
_HEADS = (r"(vocab_\w+|pre_classifier|classifier|qa_outputs)\..*",)
_COPIES = {"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"}


def load_distilbert(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[TextEncoder, dict[str, Any]]:
    """A DistilBERT encoder and its variables `{"params": ...}`; the weights of heads are left out.

    It is BERT's without segments (Sanh et al. 2019, DistilBERT, sec. 3). As part of another model they are
    what belongs there: of a `TextClassifier`, `{"encoder": params}`.

    Arguments and errors are those of `load_bert`.
    """
    ignored = (*_BUFFERS, *_HEADS)
    return load_encoder(
        DISTILBERT, path, alone, distilbert_names, ignored=ignored, sha256=sha256, dropout=dropout
    )


def load_masked_distilbert(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[MaskedLanguageModel, dict[str, Any]]:
    """As `load_distilbert`, with the logits of masked tokens."""
    masked = lambda encoder, _: MaskedLanguageModel(encoder)  # noqa: E731
    return load_encoder(
        DISTILBERT, path, masked, masked_distilbert_names, ignored=_BUFFERS, sha256=sha256, dropout=dropout
    )


def _prefixed(name: str) -> str:
    """The name that DistilBertForMaskedLM has for what DistilBertModel calls without a prefix."""
    return f"distilbert.{name}" if name.startswith(("embeddings.", "transformer.")) else name


def _encoder(checkpoint: Checkpoint, dropout: float | jax.Array) -> TextEncoder:
    # Whether positions began as waves makes no difference: the file has their table either way.
    require(checkpoint, activation="gelu", tie_word_embeddings=True)
    return bert(
        count(checkpoint, "vocab_size"),
        length=count(checkpoint, "max_position_embeddings"),
        width=count(checkpoint, "dim"),
        layers=count(checkpoint, "n_layers"),
        heads=count(checkpoint, "n_heads"),
        hidden=count(checkpoint, "hidden_dim"),
        segments=0,
        padding=padding(checkpoint, default=0),
        dropout=dropout,
    )


DISTILBERT = Family("distilbert", "n_layers", _prefixed, _COPIES, _encoder)


def distilbert_names(layers: int, *, ours: str = "") -> Names:
    """Of a `TextEncoder` without segments, from DistilBertModel; `ours` is what our paths begin with."""
    inner, theirs = f"{ours}transformer", "distilbert.embeddings"
    out = (
        embedding_names(f"{ours}tokens", f"{theirs}.word_embeddings.weight")
        | embedding_names(f"{inner}/positions", f"{theirs}.position_embeddings.weight")
        | norm_names(f"{inner}/LayerNorm_0", f"{theirs}.LayerNorm")
    )
    for i in range(layers):
        a, b = f"{inner}/layer_{i}", f"distilbert.transformer.layer.{i}"
        for name, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out")):
            out |= dense_names(f"{a}/attention/{name}", f"{b}.attention.{letter}_lin")
        out |= dense_names(f"{a}/feed_forward/up", f"{b}.ffn.lin1")
        out |= dense_names(f"{a}/feed_forward/down", f"{b}.ffn.lin2")
        out |= norm_names(f"{a}/LayerNorm_0", f"{b}.sa_layer_norm")
        out |= norm_names(f"{a}/LayerNorm_1", f"{b}.output_layer_norm")
    return out


def masked_distilbert_names(layers: int) -> Names:
    """Of a `MaskedLanguageModel`, from DistilBertForMaskedLM."""
    return (
        distilbert_names(layers, ours="encoder/")
        | dense_names("transform", "vocab_transform")
        | norm_names("LayerNorm_0", "vocab_layer_norm")
        | {"bias": ("vocab_projector.bias", same)}
    )
