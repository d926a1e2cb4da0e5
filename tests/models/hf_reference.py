"""Our parameters from those of Hugging Face's models: for each of our arrays a name there, and a function."""

import functools

import numpy as np


def same(array):
    return array


def transposed(array):
    return np.swapaxes(array, -1, -2)


def third(number):
    """Query, key or value of GPT-2's one kernel for all three."""
    return lambda array: np.split(array, 3, axis=-1)[number]


def dense(ours, theirs, bias=True):
    """A torch linear layer."""
    kernel = {f"{ours}/kernel": (f"{theirs}.weight", transposed)}
    return kernel | ({f"{ours}/bias": (f"{theirs}.bias", same)} if bias else {})


def norm(ours, theirs, bias=True):
    scale = {f"{ours}/scale": (f"{theirs}.weight", same)}
    return scale | ({f"{ours}/bias": (f"{theirs}.bias", same)} if bias else {})


def embedding(ours, theirs):
    return {f"{ours}/embedding": (theirs, same)}


def bert(layers, prefix="", ours=""):
    """Of a `TextEncoder`, from BertModel."""
    inner = f"{ours}transformer"
    out = (
        embedding(f"{ours}tokens", f"{prefix}embeddings.word_embeddings.weight")
        | embedding(f"{ours}segment", f"{prefix}embeddings.token_type_embeddings.weight")
        | embedding(f"{inner}/positions", f"{prefix}embeddings.position_embeddings.weight")
        | norm(f"{inner}/LayerNorm_0", f"{prefix}embeddings.LayerNorm")
    )
    for i in range(layers):
        a, b = f"{inner}/layer_{i}", f"{prefix}encoder.layer.{i}"
        for name in ("query", "key", "value"):
            out |= dense(f"{a}/attention/{name}", f"{b}.attention.self.{name}")
        out |= dense(f"{a}/attention/out", f"{b}.attention.output.dense")
        out |= dense(f"{a}/feed_forward/up", f"{b}.intermediate.dense")
        out |= dense(f"{a}/feed_forward/down", f"{b}.output.dense")
        out |= norm(f"{a}/LayerNorm_0", f"{b}.attention.output.LayerNorm")
        out |= norm(f"{a}/LayerNorm_1", f"{b}.output.LayerNorm")
    return out


def bert_pooled(layers):
    """Of a `TextClassifier` that pools by `first_token`, from BertModel."""
    return bert(layers, ours="encoder/") | dense("pooler", "pooler.dense")


def bert_masked(layers):
    """Of a `MaskedLanguageModel`, from BertForMaskedLM."""
    return (
        bert(layers, prefix="bert.", ours="encoder/")
        | dense("transform", "cls.predictions.transform.dense")
        | norm("LayerNorm_0", "cls.predictions.transform.LayerNorm")
        | {"bias": ("cls.predictions.bias", same)}
    )


def gpt2(layers):
    """Of a tied `LanguageModel`, from GPT2LMHeadModel, whose kernels are `[in, out]` as ours."""
    out = (
        embedding("tokens", "transformer.wte.weight")
        | embedding("transformer/positions", "transformer.wpe.weight")
        | norm("transformer/LayerNorm_0", "transformer.ln_f")
    )
    for i in range(layers):
        a, b = f"transformer/layer_{i}", f"transformer.h.{i}"
        for number, name in enumerate(("query", "key", "value")):
            for ours, theirs in (("kernel", "weight"), ("bias", "bias")):
                out[f"{a}/attention/{name}/{ours}"] = (f"{b}.attn.c_attn.{theirs}", third(number))
        pairs = (("attention/out", "attn.c_proj"), ("feed_forward/up", "mlp.c_fc"))
        for ours, theirs in (*pairs, ("feed_forward/down", "mlp.c_proj")):
            out[f"{a}/{ours}/kernel"] = (f"{b}.{theirs}.weight", same)
            out[f"{a}/{ours}/bias"] = (f"{b}.{theirs}.bias", same)
        out |= norm(f"{a}/LayerNorm_0", f"{b}.ln_1") | norm(f"{a}/LayerNorm_1", f"{b}.ln_2")
    return out


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


_T5_ENCODER = (("attention", "SelfAttention"),)
_T5_DECODER = (("attention", "SelfAttention"), ("cross", "EncDecAttention"))


def t5(layers):
    """Of an `EncoderDecoder`, from T5ForConditionalGeneration."""
    plain, scale = functools.partial(dense, bias=False), functools.partial(norm, bias=False)
    out = embedding("tokens", "shared.weight")
    for side, attentions in (("encoder", _T5_ENCODER), ("decoder", _T5_DECODER)):
        first = f"{side}.block.0.layer.0.SelfAttention"
        out |= embedding(f"{side}/relative", f"{first}.relative_attention_bias.weight")
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


def vit(layers):
    """Of a `ViT`, from ViTForImageClassification; published files have older names for the layers' parts."""
    patch = "vit.embeddings.patch_embeddings.projection"
    out = dense("head", "classifier") | norm("transformer/LayerNorm_0", "vit.layernorm")
    out["patches/kernel"] = (f"{patch}.weight", lambda w: w.transpose(2, 3, 1, 0).reshape(-1, w.shape[0]))
    out["patches/bias"] = (f"{patch}.bias", same)
    out["first"] = ("vit.embeddings.cls_token", lambda w: w[0, 0])
    out["transformer/positions/embedding"] = ("vit.embeddings.position_embeddings", lambda w: w[0])
    for i in range(layers):
        a, b = f"transformer/layer_{i}", f"vit.layers.{i}"
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
            out |= dense(f"{a}/attention/{ours}", f"{b}.attention.{theirs}_proj")
        out |= dense(f"{a}/feed_forward/up", f"{b}.mlp.fc1") | dense(f"{a}/feed_forward/down", f"{b}.mlp.fc2")
        out |= norm(f"{a}/LayerNorm_0", f"{b}.layernorm_before")
        out |= norm(f"{a}/LayerNorm_1", f"{b}.layernorm_after")
    return out


def tree_of(names, arrays):
    """Our tree of arrays, by a map above, of theirs by name."""
    tree = {}
    for path, (name, convert) in names.items():
        *outer, last = path.split("/")
        node = tree
        for key in outer:
            node = node.setdefault(key, {})
        node[last] = np.ascontiguousarray(convert(np.asarray(arrays[name])))
    return tree
