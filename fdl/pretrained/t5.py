"""T5's published weights, of the first version (ReLU, tied embeddings)."""

import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.models.encoder_decoder import EncoderDecoder, t5
from fdl.pretrained.checkpoint import count, padding, read_checkpoint, require
from fdl.pretrained.fit import fit_variables, untied
from fdl.pretrained.names import Names, dense_names, embedding_names, norm_names
from fdl.pretrained.writing import TEXTS, heads_of, named_tensors, write_weights

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


def write_t5(folder: str | os.PathLike[str], model: EncoderDecoder, variables: Mapping[str, Any]) -> None:
    """Writes a `fdl.models.t5` in Hugging Face's layout, what `load_t5` reads.

    Args:
      folder: new or empty, local; `config.json` and `model.safetensors` are written, as Transformers reads
        them.
      model: as `fdl.models.t5` makes it, of any sizes.
      variables: its variables, as `fdl.load(...).run(...).variables`.

    Raises:
      ValueError: a folder that holds something, or a model that such a file cannot tell of.
      OSError: a file cannot be written.
    """
    encoder, layers = dict(variables["params"])["encoder"], model.encoder.layers
    heads, first = heads_of(model.encoder), encoder["layer_0"]
    config = {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": model.vocabulary,
        "d_model": model.width,
        "d_kv": np.shape(first["attention"]["query"]["kernel"])[1] // heads,
        "d_ff": np.shape(first["feed_forward"]["up"]["kernel"])[1],
        "num_layers": layers,
        "num_decoder_layers": layers,
        "num_heads": heads,
        "feed_forward_proj": "relu",
        "layer_norm_epsilon": 1e-6,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "tie_word_embeddings": True,
        "pad_token_id": model.padding,
        "decoder_start_token_id": 0,
    }
    tensors = named_tensors({"params": t5_names(layers)}, variables)
    write_weights(folder, config, tensors, load_t5, model, variables, TEXTS * 2)


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
