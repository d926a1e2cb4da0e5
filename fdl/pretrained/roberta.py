"""RoBERTa's published weights: the encoder, and its logits of masked tokens."""

import functools
import os
from typing import Any

import jax

from fdl.models.norms import layer_norm
from fdl.models.text_encoder import MaskedLanguageModel, TextEncoder, roberta
from fdl.models.transformer import Norm
from fdl.pretrained.bert import bert_names
from fdl.pretrained.checkpoint import Checkpoint, count, number, padding, require
from fdl.pretrained.encoders import Family, alone, load_encoder
from fdl.pretrained.names import Names, dense_names, norm_names, same

_BUFFERS = (r"roberta\.embeddings\.(position_ids|token_type_ids)", r"roberta\.pooler\..*")
_HEADS = (r"(lm_head|classifier|qa_outputs)\..*",)
_COPIES = {
    "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}


def load_roberta(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[TextEncoder, dict[str, Any]]:
    """A RoBERTa encoder and its variables `{"params": ...}`; the weights of pooler and heads are left out.

    As part of another model they are what belongs there: of a `TextClassifier`, `{"encoder": params}`. Its
    padding is token 1: give it to `tokenized`.

    Arguments and errors are those of `load_bert`.
    """
    ignored = (*_BUFFERS, *_HEADS)
    return load_encoder(ROBERTA, path, alone, roberta_names, ignored=ignored, sha256=sha256, dropout=dropout)


def load_masked_roberta(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[MaskedLanguageModel, dict[str, Any]]:
    """As `load_roberta`, with the logits of masked tokens."""
    masked = lambda encoder, checkpoint: MaskedLanguageModel(encoder, norm=_norm(checkpoint))  # noqa: E731
    return load_encoder(
        ROBERTA, path, masked, masked_roberta_names, ignored=_BUFFERS, sha256=sha256, dropout=dropout
    )


def _prefixed(name: str) -> str:
    """The name that RobertaForMaskedLM has for what RobertaModel calls without a prefix."""
    return f"roberta.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


def _norm(checkpoint: Checkpoint) -> Norm:
    return functools.partial(layer_norm, epsilon=number(checkpoint, "layer_norm_eps", default=1e-12))


def _encoder(checkpoint: Checkpoint, dropout: float | jax.Array) -> TextEncoder:
    require(checkpoint, hidden_act="gelu", position_embedding_type="absolute")
    require(checkpoint, is_decoder=False, tie_word_embeddings=True)
    pad, rows = padding(checkpoint, default=1), count(checkpoint, "max_position_embeddings")
    if pad is None or rows < pad + 2:
        raise ValueError(
            f"{checkpoint.path.parent / 'config.json'}: pad_token_id is {pad} and max_position_embeddings "
            f"{rows}; expected a token, and rows for positions after it: fetch the file again"
        )
    return roberta(
        count(checkpoint, "vocab_size"),
        length=rows - pad - 1,
        width=count(checkpoint, "hidden_size"),
        layers=count(checkpoint, "num_hidden_layers"),
        heads=count(checkpoint, "num_attention_heads"),
        hidden=count(checkpoint, "intermediate_size"),
        segments=count(checkpoint, "type_vocab_size"),
        padding=pad,
        dropout=dropout,
        norm=_norm(checkpoint),
        first_norm=_norm(checkpoint),
    )


ROBERTA = Family("roberta", "num_hidden_layers", _prefixed, _COPIES, _encoder)


def roberta_names(layers: int, *, ours: str = "") -> Names:
    """Of a `TextEncoder` with `places`, from RobertaModel; `ours` is what our paths begin with."""
    out = bert_names(layers, prefix="roberta.", ours=ours)
    out[f"{ours}positions/embedding"] = out.pop(f"{ours}transformer/positions/embedding")
    return out


def masked_roberta_names(layers: int) -> Names:
    """Of a `MaskedLanguageModel`, from RobertaForMaskedLM."""
    return (
        roberta_names(layers, ours="encoder/")
        | dense_names("transform", "lm_head.dense")
        | norm_names("LayerNorm_0", "lm_head.layer_norm")
        | {"bias": ("lm_head.bias", same)}
    )
