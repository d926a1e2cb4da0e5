"""Models made of files that Transformers wrote give what Transformers' own give."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import pytest

from fdl import pretrained
from fdl.models import roberta
from tests.pretrained.files import write

torch = pytest.importorskip("torch", reason="PyTorch is the reference")
transformers = pytest.importorskip("transformers", reason="Transformers is the reference")

TOKENS = np.random.default_rng(7).integers(1, 13, (2, 6))
PADDED = np.where(np.arange(6) < [[6], [4]], TOKENS, 0)
IMAGES = np.random.default_rng(7).normal(size=(2, 8, 8, 3)).astype(np.float32)
LARGER = np.random.default_rng(7).normal(size=(2, 40, 33, 3)).astype(np.float32)
BERT = {"vocab_size": 13, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
BERT |= {"intermediate_size": 24, "max_position_embeddings": 8}
ROBERTA = BERT | {"type_vocab_size": 1, "layer_norm_eps": 0.02}
DISTIL = {"vocab_size": 13, "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 24}
DISTIL |= {"max_position_embeddings": 8}
GPT = {"vocab_size": 13, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 4}
GPT |= {"bos_token_id": 0, "eos_token_id": 0}
LLAMA = {"vocab_size": 13, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
LLAMA |= {"num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 0.03}
# Within 5 places, one pair of a head's entries turns often, the other seldom.
ROPE = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 0.04}
ROPE |= {"high_freq_factor": 0.9, "original_max_position_embeddings": 5}
VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
VIT |= {"image_size": 8, "patch_size": 4, "num_labels": 3}
RESNET = {"embedding_size": 4, "depths": [1, 2], "num_labels": 3}
T5 = {"vocab_size": 13, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 4}


class Case(NamedTuple):
    load: Callable[..., Any]
    saved: str  # Transformers' class whose file is read
    config: str
    options: dict[str, Any]
    ours: tuple[np.ndarray, ...]
    theirs: dict[str, np.ndarray]
    reference: str = ""  # its class that is compared, if not the saved one
    output: str = "logits"


MASKED = {"input_ids": PADDED, "attention_mask": (PADDED != 0).astype(np.int64)}
TEXT = {"input_ids": TOKENS}
# RoBERTa's padding, 1, also before and between text: its positions count text alone.
SPARSE = np.array([[5, 2, 9, 1, 1, 4], [1, 3, 8, 2, 6, 1]])
MASKED_SPARSE = {"input_ids": SPARSE, "attention_mask": (SPARSE != 1).astype(np.int64)}
PIXELS, MORE_PIXELS = ({"pixel_values": np.moveaxis(x, -1, 1)} for x in (IMAGES, LARGER))
HIDDEN = "last_hidden_state"
load_bert, load_llama, load_resnet = pretrained.load_bert, pretrained.load_llama, pretrained.load_resnet
CASES = {
    "bert": Case(load_bert, "BertModel", "BertConfig", BERT, (PADDED,), MASKED, output=HIDDEN),
    "bert of a larger file": Case(
        load_bert, "BertForPreTraining", "BertConfig", BERT, (PADDED,), MASKED, "BertModel", HIDDEN
    ),
    "pooled": Case(
        pretrained.load_pooled_bert, "BertModel", "BertConfig", BERT, (PADDED,), MASKED, "", "pooler_output"
    ),
    "masked": Case(pretrained.load_masked_bert, "BertForMaskedLM", "BertConfig", BERT, (PADDED,), MASKED),
    "roberta": Case(
        pretrained.load_roberta,
        "RobertaModel",
        "RobertaConfig",
        ROBERTA,
        (SPARSE,),
        MASKED_SPARSE,
        "",
        HIDDEN,
    ),
    "masked roberta": Case(
        pretrained.load_masked_roberta,
        "RobertaForMaskedLM",
        "RobertaConfig",
        ROBERTA,
        (SPARSE,),
        MASKED_SPARSE,
    ),
    "distilbert": Case(
        pretrained.load_distilbert,
        "DistilBertModel",
        "DistilBertConfig",
        DISTIL,
        (PADDED,),
        MASKED,
        "",
        HIDDEN,
    ),
    "masked distilbert": Case(
        pretrained.load_masked_distilbert,
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        DISTIL,
        (PADDED,),
        MASKED,
    ),
    "gpt2": Case(pretrained.load_gpt2, "GPT2LMHeadModel", "GPT2Config", GPT, (TOKENS,), TEXT),
    "gpt2 without a head": Case(
        pretrained.load_gpt2, "GPT2Model", "GPT2Config", GPT, (TOKENS,), TEXT, "GPT2LMHeadModel"
    ),
    "untied gpt2": Case(
        pretrained.load_gpt2,
        "GPT2LMHeadModel",
        "GPT2Config",
        GPT | {"tie_word_embeddings": False},
        (TOKENS,),
        TEXT,
    ),
    "llama": Case(load_llama, "LlamaForCausalLM", "LlamaConfig", LLAMA, (TOKENS,), TEXT),
    "tied llama of longer texts": Case(
        load_llama,
        "LlamaForCausalLM",
        "LlamaConfig",
        LLAMA | {"tie_word_embeddings": True, "rope_parameters": ROPE},
        (TOKENS,),
        TEXT,
    ),
    "vit": Case(pretrained.load_vit, "ViTForImageClassification", "ViTConfig", VIT, (IMAGES,), PIXELS),
    "vit of another epsilon": Case(
        pretrained.load_vit,
        "ViTForImageClassification",
        "ViTConfig",
        VIT | {"layer_norm_eps": 0.05},
        (IMAGES,),
        PIXELS,
    ),
    "basic resnet": Case(
        load_resnet,
        "ResNetForImageClassification",
        "ResNetConfig",
        RESNET | {"hidden_sizes": [4, 8], "layer_type": "basic"},
        (LARGER,),
        MORE_PIXELS,
    ),
    "bottleneck resnet": Case(
        load_resnet,
        "ResNetForImageClassification",
        "ResNetConfig",
        RESNET | {"hidden_sizes": [16, 32], "layer_type": "bottleneck"},
        (LARGER,),
        MORE_PIXELS,
    ),
    "t5": Case(
        pretrained.load_t5,
        "T5ForConditionalGeneration",
        "T5Config",
        T5,
        (PADDED, TOKENS[:, :5]),
        MASKED | {"decoder_input_ids": TOKENS[:, :5]},
    ),
}


def saved(case, folder):
    """A module of random parameters and running statistics, in a folder."""
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    module = getattr(transformers, case.saved)(getattr(transformers, case.config)(**case.options)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
        for name, buffer in module.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand(buffer.shape))
    module.save_pretrained(folder)
    return module


def rewritten(folder, rename=lambda name: name, dtype: Any = np.float32, suffix=".safetensors"):
    """The folder's weights again in another folder, under other names."""
    tensors = pretrained.read_weights(folder / "model.safetensors")
    other = folder / "other"
    other.mkdir()
    tensors = {rename(name): array.astype(dtype) for name, array in tensors.items()}
    write(other, tensors, json.loads((folder / "config.json").read_text()), suffix)
    return other


def assert_same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_agrees_with_transformers(case, tmp_path):
    module = saved(case, tmp_path)
    if case.reference:
        module = getattr(transformers, case.reference).from_pretrained(tmp_path).eval()
    with torch.no_grad():
        given = {name: torch.tensor(array) for name, array in case.theirs.items()}
        expected = module(**given)[case.output].numpy()
    model, variables = case.load(tmp_path)
    initial = jax.eval_shape(model.init, jax.random.key(0), *case.ours)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, nn.meta.unbox(initial))
    value = jax.jit(model.apply)(variables, *case.ours)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


OLDER_BERT = {".LayerNorm.weight": ".LayerNorm.gamma", ".LayerNorm.bias": ".LayerNorm.beta"}
NEWER_VIT = {
    "vit.encoder.layer.": "vit.layers.",
    ".attention.attention.query.": ".attention.q_proj.",
    ".attention.attention.key.": ".attention.k_proj.",
    ".attention.attention.value.": ".attention.v_proj.",
    ".attention.output.dense.": ".attention.o_proj.",
    ".intermediate.dense.": ".mlp.fc1.",
    ".output.dense.": ".mlp.fc2.",
}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("masked", OLDER_BERT),
        ("masked", {"cls.predictions.bias": "cls.predictions.decoder.bias"}),
        ("vit", NEWER_VIT),
        ("gpt2", {"transformer.": ""}),
        ("tied llama of longer texts", {"model.": ""}),
        ("t5", {"shared.": "decoder.embed_tokens."}),
    ],
    ids=["gamma and beta", "bias of the decoder", "projections", "without prefix", "llama", "embeddings"],
)
def test_names_of_other_versions_mean_the_same(name, changes, tmp_path):
    case = CASES[name]
    saved(case, tmp_path)

    def rename(text):
        for old, new in changes.items():
            text = text.replace(old, new)
        return text

    other = rewritten(tmp_path, rename)
    assert set(pretrained.read_weights(other / "model.safetensors")) != set(
        pretrained.read_weights(tmp_path / "model.safetensors")
    )
    assert_same(case.load(other)[1], case.load(tmp_path)[1])


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("gpt2", "h.1.attn.bias"),
        ("llama", "model.layers.1.self_attn.rotary_emb.inv_freq"),
        ("t5", "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"),
        ("vit", "vit.pooler.dense.weight"),
        ("roberta", "lm_head.dense.weight"),
        ("distilbert", "pre_classifier.weight"),
        ("masked", "cls.seq_relationship.weight"),
    ],
)
def test_what_published_files_have_without_use_is_left_out(name, extra, tmp_path):
    case = CASES[name]
    saved(case, tmp_path)
    path = tmp_path / "model.safetensors"
    before, tensors = case.load(path)[1], pretrained.read_weights(path)
    write(
        tmp_path,
        tensors | {extra: np.ones((1, 2), np.float32)},
        json.loads((tmp_path / "config.json").read_text()),
    )
    assert_same(case.load(path)[1], before)


@pytest.mark.parametrize("size", [16, 12, 4, (8, 12), (20, 4)], ids=str)
def test_a_vit_at_another_resolution_agrees(size, tmp_path):
    module = saved(CASES["vit"]._replace(options=VIT | {"image_size": 12}), tmp_path)  # 3 x 3 positions
    height, width = (size, size) if isinstance(size, int) else size
    images = np.random.default_rng(7).normal(size=(2, height, width, 3)).astype(np.float32)
    with torch.no_grad():
        given = torch.tensor(np.moveaxis(images, -1, 1))
        expected = module(given, interpolate_pos_encoding=True).logits.numpy()
    model, variables = pretrained.load_vit(tmp_path, size=size)
    value = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_positions_of_the_published_size_stay_bit_for_bit(tmp_path):
    saved(CASES["vit"], tmp_path)
    assert_same(pretrained.load_vit(tmp_path, size=8)[1], pretrained.load_vit(tmp_path)[1])


@pytest.mark.parametrize("size", [10, 0, (8, 6), -4, 8.5, (8, 8, 8)], ids=str)
def test_a_size_of_no_whole_patches_is_told(size, tmp_path):
    saved(CASES["vit"], tmp_path)
    with pytest.raises(ValueError, match=r"size is .*; expected multiples of the patch's size, 4"):
        pretrained.load_vit(tmp_path, size=size)


@pytest.mark.medium
def test_older_fields_of_rotations_mean_the_same(tmp_path):
    case = CASES["tied llama of longer texts"]
    saved(case, tmp_path)
    new, variables = case.load(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    path.write_text(json.dumps(config))
    old = case.load(tmp_path)[0]
    value = new.apply(variables, TOKENS)
    np.testing.assert_array_equal(old.apply(variables, TOKENS), value)
    path.write_text(json.dumps(config | {"rope_scaling": None}))
    plain = case.load(tmp_path)[0].apply(variables, TOKENS)
    assert np.abs(plain - value).max() > 0.01  # what is compared with Transformers does make a difference


ROPE_CASES = {
    "unknown": ({"rope_type": "yarn", "rope_theta": 1e4}, "rope_type is 'yarn'; expected 'default'"),
    "incomplete": (ROPE | {"factor": None}, "factor is None; expected a number above 0"),
    "crossed": (
        ROPE | {"low_freq_factor": 3.0},
        r"json: low_freq_factor is 3\.0 and high_freq_factor 0\.9; expected the first below",
    ),
    "partial": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5; expected 1.0"),
    "a list": ([1], r"rope_parameters are '\[1\]'; expected an object"),
}


@pytest.mark.parametrize(("rope", "message"), ROPE_CASES.values(), ids=ROPE_CASES)
def test_rotations_that_are_not_ours_are_told(rope, message, tmp_path):
    config = LLAMA | {"rope_parameters": rope}
    write(tmp_path, {}, config)
    with pytest.raises(ValueError, match=message):
        load_llama(tmp_path)


def test_shards_give_the_same(tmp_path):
    case = CASES["gpt2"]
    module = saved(case, tmp_path)
    module.save_pretrained(tmp_path / "shards", max_shard_size="4KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    assert_same(case.load(tmp_path / "shards")[1], case.load(tmp_path)[1])


def test_an_npz_gives_the_same(tmp_path):
    case = CASES["basic resnet"]
    saved(case, tmp_path)
    assert_same(case.load(rewritten(tmp_path, suffix=".npz"))[1], case.load(tmp_path)[1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_widened(dtype, tmp_path):
    case, dtype = CASES["gpt2"], np.dtype(getattr(jax.numpy, dtype))
    saved(case, tmp_path)
    halved = case.load(rewritten(tmp_path, dtype=dtype))[1]
    whole = case.load(tmp_path)[1]
    assert_same(halved, jax.tree.map(lambda leaf: leaf.astype(dtype).astype(np.float32), whole))
    assert {leaf.dtype for leaf in jax.tree.leaves(halved)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["vit", "basic resnet"])
def test_a_new_head_is_left_out(name, tmp_path):
    case = CASES[name]
    saved(case, tmp_path)
    model, variables = case.load(tmp_path, outputs=5)
    assert model.outputs == 5
    old = case.load(tmp_path)[1]
    head = {"vit": "head", "basic resnet": "Dense_0"}[name]
    assert_same(variables["params"], {k: v for k, v in old["params"].items() if k != head})


def test_files_are_read_as_the_reference_reads_them(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy", reason="the package safetensors is the reference")
    rng = np.random.default_rng(0)
    dtypes = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
    tensors = {name: (100 * rng.normal(size=(3, 5))).astype(name) for name in dtypes}
    tensors |= {"scalar": np.array(3, np.float32), "empty": np.zeros((2, 0), np.float32)}
    path = tmp_path / "arrays.safetensors"
    numpy.save_file(tensors, path, metadata={"format": "np"})
    found = pretrained.read_weights(path)
    assert {name: array.dtype for name, array in found.items()} == {n: a.dtype for n, a in tensors.items()}
    assert_same(found, tensors)


def test_a_text_longer_than_the_positions_of_roberta_is_told():
    model = roberta(13, length=5, width=8, layers=1, heads=2)
    with pytest.raises(ValueError, match="there are 6 places and positions for only 5"):
        jax.eval_shape(model.init, jax.random.key(0), SPARSE)


PAD_CASES = {
    "none": ({"pad_token_id": None}, "pad_token_id is None and max_position_embeddings 8; expected a token"),
    "no rows": ({"pad_token_id": 7}, "pad_token_id is 7 and max_position_embeddings 8"),
}


@pytest.mark.parametrize(("changes", "message"), PAD_CASES.values(), ids=PAD_CASES)
def test_a_roberta_without_room_for_positions_is_told(changes, message, tmp_path):
    write(tmp_path, {}, ROBERTA | changes)
    with pytest.raises(ValueError, match=message):
        pretrained.load_roberta(tmp_path)
