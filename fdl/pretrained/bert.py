"""BERT's published weights: the encoder, its pooler, and its logits of masked tokens."""

import os
import re
from collections.abc import Mapping
from typing import Any

import jax

from fdl.models.text_encoder import MaskedLanguageModel, TextClassifier, TextEncoder, bert, first_token
from fdl.pretrained.checkpoint import Checkpoint, count, padding, require
from fdl.pretrained.encoders import Family, alone, load_encoder
from fdl.pretrained.names import Names, dense_names, embedding_names, norm_names, same
from fdl.pretrained.writing import TEXTS, heads_of, named_tensors, write_weights

_BUFFERS = (r"bert\.embeddings\.(position_ids|token_type_ids)",)
_HEADS = (r"(cls|classifier|qa_outputs|dropout)\..*",)
_POOLER = (r"bert\.pooler\..*",)
_NEXT_SENTENCE = (r"cls\.seq_relationship\..*",)
_COPIES = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def load_bert(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[TextEncoder, dict[str, Any]]:
    """A BERT encoder and its variables `{"params": ...}`; the weights of pooler and heads are left out.

    As part of another model they are what belongs there: of a `TextClassifier`, `{"encoder": params}`.

    Args:
      path: the file of weights in Hugging Face's layout with `config.json` beside it, or their folder.
      sha256: of the file of weights, in hexadecimal, or None: not checked.
      dropout: rate of embeddings, attention weights and branches, in place of the published ones.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged or of another model; all differences are told.
    """
    ignored = (*_BUFFERS, *_HEADS, *_POOLER)
    return load_encoder(BERT, path, alone, bert_names, ignored=ignored, sha256=sha256, dropout=dropout)


def load_pooled_bert(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[TextClassifier, dict[str, Any]]:
    """As `load_bert`, with the pooler: the model gives a text's vector `[B, E]` by `first_token`."""
    pooled = lambda encoder, _: TextClassifier(encoder, 0, first_token)  # noqa: E731
    ignored = (*_BUFFERS, *_HEADS)
    return load_encoder(
        BERT, path, pooled, pooled_bert_names, ignored=ignored, sha256=sha256, dropout=dropout
    )


def load_masked_bert(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[MaskedLanguageModel, dict[str, Any]]:
    """As `load_bert`, with the logits of masked tokens."""
    masked = lambda encoder, _: MaskedLanguageModel(encoder)  # noqa: E731
    ignored = (*_BUFFERS, *_POOLER, *_NEXT_SENTENCE)
    return load_encoder(
        BERT, path, masked, masked_bert_names, ignored=ignored, sha256=sha256, dropout=dropout
    )


def write_masked_bert(
    folder: str | os.PathLike[str], model: MaskedLanguageModel, variables: Mapping[str, Any]
) -> None:
    """Writes a `fdl.models.MaskedLanguageModel` of a `fdl.models.bert` in Hugging Face's layout, what
    `load_masked_bert` and `load_bert` read.

    Args:
      folder: new or empty, local; `config.json` and `model.safetensors` are written, as Transformers reads
        them.
      model: around an encoder as `fdl.models.bert` makes it, of any sizes.
      variables: its variables, as `fdl.load(...).run(...).variables`.

    Raises:
      ValueError: a folder that holds something, or a model that such a file cannot tell of.
      OSError: a file cannot be written.
    """
    encoder, params = model.encoder, dict(variables["params"])["encoder"]
    if not isinstance(encoder, TextEncoder):
        raise ValueError(f"the encoder is a {type(encoder).__name__}; expected one of fdl.models.bert")
    layers = encoder.transformer.layers
    config = {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": encoder.vocabulary,
        "hidden_size": encoder.width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads_of(encoder.transformer),
        "intermediate_size": len(params["transformer"]["layer_0"]["feed_forward"]["up"]["bias"]),
        "max_position_embeddings": len(params["transformer"]["positions"]["embedding"]),
        "type_vocab_size": encoder.segments,
        "pad_token_id": encoder.padding,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }
    tensors = named_tensors({"params": masked_bert_names(layers)}, variables)
    write_weights(folder, config, tensors, load_masked_bert, model, variables, TEXTS)


def _today(name: str) -> str:
    """The name that BertForMaskedLM has for what older files and BertModel call otherwise."""
    name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


def _encoder(checkpoint: Checkpoint, dropout: float | jax.Array) -> TextEncoder:
    require(checkpoint, hidden_act="gelu", layer_norm_eps=1e-12, position_embedding_type="absolute")
    require(checkpoint, is_decoder=False, tie_word_embeddings=True)
    return bert(
        count(checkpoint, "vocab_size"),
        length=count(checkpoint, "max_position_embeddings"),
        width=count(checkpoint, "hidden_size"),
        layers=count(checkpoint, "num_hidden_layers"),
        heads=count(checkpoint, "num_attention_heads"),
        hidden=count(checkpoint, "intermediate_size"),
        segments=count(checkpoint, "type_vocab_size"),
        padding=padding(checkpoint, default=0),
        dropout=dropout,
    )


BERT = Family("bert", "num_hidden_layers", _today, _COPIES, _encoder)


def bert_names(layers: int, *, prefix: str = "bert.", ours: str = "") -> Names:
    """Of a `TextEncoder`, from BertModel.

    Args:
      layers: how many.
      prefix: of their names; `""` in a file of BertModel itself.
      ours: what our paths begin with.
    """
    inner = f"{ours}transformer"
    out = (
        embedding_names(f"{ours}tokens", f"{prefix}embeddings.word_embeddings.weight")
        | embedding_names(f"{ours}segment", f"{prefix}embeddings.token_type_embeddings.weight")
        | embedding_names(f"{inner}/positions", f"{prefix}embeddings.position_embeddings.weight")
        | norm_names(f"{inner}/LayerNorm_0", f"{prefix}embeddings.LayerNorm")
    )
    for i in range(layers):
        a, b = f"{inner}/layer_{i}", f"{prefix}encoder.layer.{i}"
        for name in ("query", "key", "value"):
            out |= dense_names(f"{a}/attention/{name}", f"{b}.attention.self.{name}")
        out |= dense_names(f"{a}/attention/out", f"{b}.attention.output.dense")
        out |= dense_names(f"{a}/feed_forward/up", f"{b}.intermediate.dense")
        out |= dense_names(f"{a}/feed_forward/down", f"{b}.output.dense")
        out |= norm_names(f"{a}/LayerNorm_0", f"{b}.attention.output.LayerNorm")
        out |= norm_names(f"{a}/LayerNorm_1", f"{b}.output.LayerNorm")
    return out


def pooled_bert_names(layers: int, *, prefix: str = "bert.") -> Names:
    """Of a `TextClassifier` that pools by `first_token`, from BertModel; see `bert_names`."""
    return bert_names(layers, prefix=prefix, ours="encoder/") | dense_names("pooler", f"{prefix}pooler.dense")


def masked_bert_names(layers: int) -> Names:
    """Of a `MaskedLanguageModel`, from BertForMaskedLM."""
    return (
        bert_names(layers, ours="encoder/")
        | dense_names("transform", "cls.predictions.transform.dense")
        | norm_names("LayerNorm_0", "cls.predictions.transform.LayerNorm")
        | {"bias": ("cls.predictions.bias", same)}
    )
