"""GPT-2's published weights."""

import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fdl.models.language_model import LanguageModel, gpt2
from fdl.pretrained.checkpoint import count, flag, read_checkpoint, require
from fdl.pretrained.encoders import TEXT
from fdl.pretrained.fit import fit_variables, renamed, untied
from fdl.pretrained.names import Names, dense_names, embedding_names, norm_names, same
from fdl.pretrained.writing import TEXTS, heads_of, named_tensors, write_weights

_MASKS = (r"transformer\.h\.\d+\.attn\.(bias|masked_bias)",)  # constants of attention, no parameters
_COPIES = {"lm_head.weight": "transformer.wte.weight"}


def load_gpt2(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[LanguageModel, dict[str, Any]]:
    """A GPT-2 and its variables `{"params": ...}`.

    Args:
      path: the file of weights in Hugging Face's layout with `config.json` beside it, or their folder.
      sha256: of the file of weights, in hexadecimal, or None: not checked.
      dropout: rate of embeddings, attention weights and branches, in place of the published ones.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged or of another model; all differences are told.
    """
    checkpoint = read_checkpoint(path, "gpt2", sha256=sha256)
    width, layers = count(checkpoint, "n_embd"), count(checkpoint, "n_layer")
    require(checkpoint, activation_function="gelu_new", layer_norm_epsilon=1e-5)
    require(checkpoint, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False)
    if checkpoint.config.get("n_inner") is not None:
        require(checkpoint, n_inner=4 * width)
    tied = flag(checkpoint, "tie_word_embeddings", default=True)
    model = gpt2(
        count(checkpoint, "vocab_size"),
        length=count(checkpoint, "n_positions"),
        width=width,
        layers=layers,
        heads=count(checkpoint, "n_head"),
        tied=tied,
        dropout=dropout,
    )
    checkpoint = untied(renamed(checkpoint, _prefixed), _COPIES if tied else {})
    return model, fit_variables(
        checkpoint, model, TEXT, {"params": gpt2_names(layers, tied=tied)}, ignored=_MASKS
    )


def write_gpt2(folder: str | os.PathLike[str], model: LanguageModel, variables: Mapping[str, Any]) -> None:
    """Writes a `fdl.models.gpt2` in Hugging Face's layout, what `load_gpt2` reads.

    Args:
      folder: new or empty, local; `config.json` and `model.safetensors` are written, as Transformers reads
        them.
      model: as `fdl.models.gpt2` makes it, of any sizes.
      variables: its variables, as `fdl.load(...).run(...).variables`.

    Raises:
      ValueError: a folder that holds something, or a model that such a file cannot tell of.
      OSError: a file cannot be written.
    """
    params, layers = dict(variables["params"]), model.transformer.layers
    length, width = np.shape(params["transformer"]["positions"]["embedding"])
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": model.vocabulary,
        "n_positions": length,
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads_of(model.transformer),
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": model.tied,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    tensors = named_tensors({"params": gpt2_names(layers, tied=model.tied)}, variables, {_third: same})
    write_weights(folder, config, tensors, load_gpt2, model, variables, TEXTS)


def _prefixed(name: str) -> str:
    """The name that GPT2LMHeadModel has for what GPT2Model, as in most files, calls without a prefix."""
    return f"transformer.{name}" if name.startswith(("wte.", "wpe.", "h.", "ln_f.")) else name


def gpt2_names(layers: int, *, tied: bool = True) -> Names:
    """Of a `LanguageModel`, from GPT2LMHeadModel, whose kernels are `[in, out]` as ours."""
    out = (
        embedding_names("tokens", "transformer.wte.weight")
        | embedding_names("transformer/positions", "transformer.wpe.weight")
        | norm_names("transformer/LayerNorm_0", "transformer.ln_f")
    )
    if not tied:
        out |= dense_names("head", "lm_head", bias=False)
    for i in range(layers):
        a, b = f"transformer/layer_{i}", f"transformer.h.{i}"
        for number, name in enumerate(("query", "key", "value")):
            for ours, theirs in (("kernel", "weight"), ("bias", "bias")):
                out[f"{a}/attention/{name}/{ours}"] = (
                    f"{b}.attn.c_attn.{theirs}",
                    functools.partial(_third, number),
                )
        pairs = (("attention/out", "attn.c_proj"), ("feed_forward/up", "mlp.c_fc"))
        for ours, theirs in (*pairs, ("feed_forward/down", "mlp.c_proj")):
            out[f"{a}/{ours}/kernel"] = (f"{b}.{theirs}.weight", same)
            out[f"{a}/{ours}/bias"] = (f"{b}.{theirs}.bias", same)
        out |= norm_names(f"{a}/LayerNorm_0", f"{b}.ln_1") | norm_names(f"{a}/LayerNorm_1", f"{b}.ln_2")
    return out


def _third(number: int, array: np.ndarray) -> np.ndarray:
    """Query, key or value of one array for all three, `[..., 3 E]` to `[..., E]`."""
    return np.split(array, 3, axis=-1)[number]
