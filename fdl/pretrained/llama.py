"""Llama's published weights, of versions 1 to 3."""

import functools
import os
from typing import Any

import jax

from fdl.models.language_model import LanguageModel, llama
from fdl.models.norms import rms_norm
from fdl.models.positions import Positions, rotary, slower
from fdl.pretrained.checkpoint import Checkpoint, count, flag, number, read_checkpoint, require
from fdl.pretrained.encoders import TEXT
from fdl.pretrained.fit import fit_variables, renamed, untied
from fdl.pretrained.names import Names, dense_names, embedding_names, norm_names

_RATES = (r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",)  # constants, no parameters
_COPIES = {"lm_head.weight": "model.embed_tokens.weight"}


def load_llama(
    path: str | os.PathLike[str], *, sha256: str | None = None, dropout: float | jax.Array = 0.0
) -> tuple[LanguageModel, dict[str, Any]]:
    """A Llama and its variables `{"params": ...}`.

    Args:
      path: the file of weights in Hugging Face's layout with `config.json` beside it, or their folder.
      sha256: of the file of weights, in hexadecimal, or None: not checked.
      dropout: rate of embeddings, attention weights and branches, in place of the published ones.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged or of another model; all differences are told.
    """
    checkpoint = read_checkpoint(path, "llama", sha256=sha256)
    width, layers = count(checkpoint, "hidden_size"), count(checkpoint, "num_hidden_layers")
    heads, tied = count(checkpoint, "num_attention_heads"), _tied(checkpoint)
    require(checkpoint, hidden_act="silu", attention_bias=False, mlp_bias=False)
    if checkpoint.config.get("head_dim") is not None:
        require(checkpoint, head_dim=width // heads)
    grouped = checkpoint.config.get("num_key_value_heads") is not None
    epsilon = number(checkpoint, "rms_norm_eps", default=1e-6)
    model = llama(
        count(checkpoint, "vocab_size"),
        width=width,
        layers=layers,
        heads=heads,
        shared=count(checkpoint, "num_key_value_heads") if grouped else None,
        hidden=count(checkpoint, "intermediate_size"),
        tied=tied,
        dropout=dropout,
        norm=functools.partial(rms_norm, epsilon=epsilon),
        positions=_positions(checkpoint),
    )
    checkpoint = untied(renamed(checkpoint, _prefixed), _COPIES if tied else {})
    names = {"params": llama_names(layers, tied=tied)}
    return model, fit_variables(checkpoint, model, TEXT, names, ignored=_RATES)


def _tied(checkpoint: Checkpoint) -> bool:
    return flag(checkpoint, "tie_word_embeddings", default=False)


def _positions(checkpoint: Checkpoint) -> Positions:
    """The rotations, by the fields of today or of older files."""
    fields = checkpoint.config.get("rope_parameters") or checkpoint.config.get("rope_scaling") or {}
    if not isinstance(fields, dict):
        raise ValueError(
            f"{checkpoint.path.parent / 'config.json'}: rope_parameters are {str(fields)[:80]!r}; "
            "expected an object: fetch it again"
        )
    older = {"rope_type": fields.get("type", "default")}
    if "rope_theta" in checkpoint.config:
        older["rope_theta"] = checkpoint.config["rope_theta"]
    rope = checkpoint._replace(config=older | fields)
    base = number(rope, "rope_theta", default=10000.0)
    require(rope, partial_rotary_factor=1.0)
    if rope.config["rope_type"] != "llama3":
        require(rope, rope_type="default")
        return rotary(base=base)
    length = count(rope, "original_max_position_embeddings")
    low, high = number(rope, "low_freq_factor"), number(rope, "high_freq_factor")
    if not low < high:
        raise ValueError(
            f"{checkpoint.path.parent / 'config.json'}: low_freq_factor is {low} and high_freq_factor "
            f"{high}; expected the first below the second: fetch it again"
        )
    return rotary(base=base, rates=slower(number(rope, "factor"), length, low=low, high=high))


def _prefixed(name: str) -> str:
    """The name that LlamaForCausalLM has for what LlamaModel calls without a prefix."""
    return f"model.{name}" if name.startswith(("embed_tokens.", "layers.", "norm.")) else name


def llama_names(layers: int, *, tied: bool = False) -> Names:
    """Of a `LanguageModel`, from LlamaForCausalLM."""
    plain = functools.partial(dense_names, bias=False)
    scale = functools.partial(norm_names, bias=False)
    out = embedding_names("tokens", "model.embed_tokens.weight") | scale(
        "transformer/RMSNorm_0", "model.norm"
    )
    if not tied:
        out |= plain("head", "lm_head")
    for i in range(layers):
        a, b = f"transformer/layer_{i}", f"model.layers.{i}"
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
            out |= plain(f"{a}/attention/{ours}", f"{b}.self_attn.{theirs}_proj")
        for name in ("up", "gate", "down"):
            out |= plain(f"{a}/feed_forward/{name}", f"{b}.mlp.{name}_proj")
        out |= scale(f"{a}/RMSNorm_0", f"{b}.input_layernorm")
        out |= scale(f"{a}/RMSNorm_1", f"{b}.post_attention_layernorm")
    return out
