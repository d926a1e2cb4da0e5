"""The maps of `fdl.pretrained` as the tests call them, and Llama's."""

import functools

from fdl.pretrained.bert import bert_names, masked_bert_names, pooled_bert_names
from fdl.pretrained.gpt2 import gpt2_names as gpt2
from fdl.pretrained.names import dense, embedding, norm
from fdl.pretrained.names import tree_of as tree_of
from fdl.pretrained.t5 import t5_names as t5
from fdl.pretrained.vit import vit_names as vit

__all__ = ["bert", "bert_masked", "bert_pooled", "gpt2", "llama", "t5", "tree_of", "vit"]

bert = functools.partial(bert_names, prefix="")
bert_pooled = functools.partial(pooled_bert_names, prefix="")
bert_masked = masked_bert_names


def llama(layers):
    """Of an untied `LanguageModel`, from LlamaForCausalLM."""
    plain, scale = functools.partial(dense, bias=False), functools.partial(norm, bias=False)
    out = (
        embedding("tokens", "model.embed_tokens.weight")
        | scale("transformer/RMSNorm_0", "model.norm")
        | plain("head", "lm_head")
    )
    for i in range(layers):
        a, b = f"transformer/layer_{i}", f"model.layers.{i}"
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
            out |= plain(f"{a}/attention/{ours}", f"{b}.self_attn.{theirs}_proj")
        for name in ("up", "gate", "down"):
            out |= plain(f"{a}/feed_forward/{name}", f"{b}.mlp.{name}_proj")
        out |= scale(f"{a}/RMSNorm_0", f"{b}.input_layernorm")
        out |= scale(f"{a}/RMSNorm_1", f"{b}.post_attention_layernorm")
    return out
