"""T5's published weights, of the first version (ReLU, tied embeddings)."""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp

from fdl.models.encoder_decoder import EncoderDecoder, t5
from fdl.pretrained.checkpoint import count, padding, read_checkpoint, require
from fdl.pretrained.fit import fit_variables, untied
from fdl.pretrained.names import Names, dense_names, embedding_names, norm_names

_COPIES = {
    "encoder.embed_tokens.weight": "shared.weight",
    "decoder.embed_tokens.weight": "shared.weight",
    "lm_head.weight": "shared.weight",
}
_ENCODER = (("attention", "SelfAttention"),)
_DECODER = (("attention", "SelfAttention"), ("cross", "EncDecAttention"))
# The published files have it, and no implementation has ever used it.
_UNUSED = (r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",)


def load_t5(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[EncoderDecoder, dict[str, Any]]:
    """A T5 and its variables `{"params": ...}`; targets begin with the padding token, 0.

    Args:
      path: the file of weights in Hugging Face's layout with `config.json` beside it, or their folder.
      sha256: of the file of weights, in hexadecimal, or None: not checked.
      dropout: as `fdl.models.t5`'s, in place of the published one.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged or of another model; all differences are told.
    """
    checkpoint = read_checkpoint(path, "t5", sha256=sha256)
    layers = count(checkpoint, "num_layers")
    require(checkpoint, num_decoder_layers=layers, feed_forward_proj="relu", layer_norm_epsilon=1e-6)
    require(checkpoint, tie_word_embeddings=True, scale_decoder_outputs=True)
    require(checkpoint, relative_attention_num_buckets=32, relative_attention_max_distance=128)
    model = t5(
        count(checkpoint, "vocab_size"),
        width=count(checkpoint, "d_model"),
        layers=layers,
        heads=count(checkpoint, "num_heads"),
        head_width=count(checkpoint, "d_kv"),
        hidden=count(checkpoint, "d_ff"),
        padding=padding(checkpoint, default=0),
        dropout=dropout,
    )
    text = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    names = {"params": t5_names(layers)}
    return model, fit_variables(untied(checkpoint, _COPIES), model, (text, text), names, ignored=_UNUSED)


def t5_names(layers: int) -> Names:
    """Of an `EncoderDecoder`, from T5ForConditionalGeneration."""
    plain, scale = functools.partial(dense_names, bias=False), functools.partial(norm_names, bias=False)
    out = embedding_names("tokens", "shared.weight")
    for side, attentions in (("encoder", _ENCODER), ("decoder", _DECODER)):
        first = f"{side}.block.0.layer.0.SelfAttention"
        out |= embedding_names(f"{side}/relative", f"{first}.relative_attention_bias.weight")
        out |= scale(f"{side}/RMSNorm_0", f"{side}.final_layer_norm")
        for i in range(layers):
            a, b = f"{side}/layer_{i}", f"{side}.block.{i}.layer"
            for place, (ours, theirs) in enumerate(attentions):
                for kernel, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
                    out |= plain(f"{a}/{ours}/{kernel}", f"{b}.{place}.{theirs}.{letter}")
                out |= scale(f"{a}/RMSNorm_{place}", f"{b}.{place}.layer_norm")
            last = len(attentions)
            out |= plain(f"{a}/feed_forward/up", f"{b}.{last}.DenseReluDense.wi")
            out |= plain(f"{a}/feed_forward/down", f"{b}.{last}.DenseReluDense.wo")
            out |= scale(f"{a}/RMSNorm_{last}", f"{b}.{last}.layer_norm")
    return out
