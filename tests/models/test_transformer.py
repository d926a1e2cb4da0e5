"""Transformers against Hugging Face's, against themselves in other forms, and their published sizes."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.attention import causal, sliding_window
from fdl.models.axes import names_shown
from fdl.models.encoder_decoder import original_transformer, t5
from fdl.models.language_model import gpt2, llama
from fdl.models.positions import Positions, learned, rotary, sinusoidal
from fdl.models.text_encoder import MaskedLanguageModel, TextClassifier, bert, first_token, mean_of_tokens
from tests.models import hf_reference
from tests.models.parameters import drawn

pytestmark = pytest.mark.slow  # minutes of compiling

TOKENS = jax.random.randint(jax.random.key(7), (2, 6), 1, 13)
PADDED = TOKENS.at[1, 4:].set(0)
SMALL: Any = {"width": 16, "layers": 2, "heads": 4}


def gpt(**options) -> Any:
    return gpt2(13, length=8, **SMALL, **options)


def pair(**options) -> Any:
    return original_transformer(13, hidden=24, **SMALL, **options)


def close(value, reference, rtol=1e-5):
    def one(a, b):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())

    jax.tree.map(one, value, reference)


def without_key_bias(gradients):
    """The gradient of a key's bias is zero but for rounding: it shifts all scores of a query alike."""
    size = max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients))

    def one(path, leaf):
        if [entry.key for entry in path[-2:]] != ["key", "bias"]:
            return leaf
        assert np.abs(leaf).max() < 1e-5 * size
        return np.zeros_like(leaf)

    return jax.tree_util.tree_map_with_path(one, gradients)


def hugging_face(kind, config, **options):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    transformers = pytest.importorskip("transformers", reason="Transformers is the reference")
    torch.manual_seed(0)
    made = getattr(transformers, config)(attn_implementation="eager", **options)
    module = getattr(transformers, kind)(made).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return module


def assert_agrees(model, ours, module, theirs, names, output="logits", counted: Any = 1.0):
    """Outputs, and the gradients of a random linear function of them in all parameters.

    Args:
      model: ours, called with the arguments `ours`.
      ours: its inputs.
      module: theirs; the parameters are taken from it.
      theirs: its inputs by name.
      names: a map of `hf_reference`.
      output: the name of their output.
      counted: factor of what enters the gradients: torch's embeddings pass none to the padding token.
    """
    import torch

    arrays = {name: p.detach().numpy().copy() for name, p in module.named_parameters()}
    assert set(arrays) == {name for name, _ in names.values()}
    params = hf_reference.tree_of(names, arrays)
    shapes = functools.partial(jax.tree.map, np.shape)
    assert shapes(params) == shapes(drawn(model, *ours))
    out = module(**{name: torch.tensor(np.asarray(a)) for name, a in theirs.items()})[output]
    weight = np.asarray(counted * np.random.default_rng(0).normal(size=out.shape), np.float32)
    (out * torch.tensor(weight)).sum().backward()

    def objective(params):
        value = model.apply({"params": params}, *ours)
        return jnp.sum(value * weight), value

    gradients, value = jax.jit(jax.grad(objective, has_aux=True))(params)
    close(value, out.detach().numpy())
    found = {name: p.grad.numpy() for name, p in module.named_parameters() if p.grad is not None}
    expected = hf_reference.tree_of(names, found)
    close(without_key_bias(gradients), without_key_bias(expected))


def test_gpt2_agrees():
    options = {"vocab_size": 13, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 4}
    module = hugging_face("GPT2LMHeadModel", "GPT2Config", **options)
    assert_agrees(gpt(), (TOKENS,), module, {"input_ids": TOKENS}, hf_reference.gpt2(2))


def test_llama_agrees():
    options = {"vocab_size": 13, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"num_key_value_heads": 2, "intermediate_size": 24, "rms_norm_eps": 1e-6, "pad_token_id": 0}
    module = hugging_face("LlamaForCausalLM", "LlamaConfig", **options, **more)
    model = llama(13, shared=2, hidden=24, **SMALL)
    assert_agrees(model, (TOKENS,), module, {"input_ids": TOKENS}, hf_reference.llama(2))


@pytest.mark.parametrize("kind", ["masked", "pooled"])
def test_bert_agrees(kind):
    options = {"vocab_size": 13, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"intermediate_size": 24, "max_position_embeddings": 8}
    theirs = {"input_ids": PADDED, "attention_mask": np.asarray(PADDED != 0).astype(np.int64)}
    encoder = bert(13, length=8, hidden=24, **SMALL)
    if kind == "masked":
        module = hugging_face("BertForMaskedLM", "BertConfig", **options, **more)
        model, counted = MaskedLanguageModel(encoder), np.asarray(PADDED != 0)[..., None]
        assert_agrees(model, (PADDED,), module, theirs, hf_reference.bert_masked(2), counted=counted)
    else:
        module = hugging_face("BertModel", "BertConfig", **options, **more)
        model = TextClassifier(encoder, 0, first_token)
        assert_agrees(model, (PADDED,), module, theirs, hf_reference.bert_pooled(2), output="pooler_output")


def test_segments_agree():
    options = {"vocab_size": 13, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    options |= {"intermediate_size": 24, "max_position_embeddings": 8}
    module = hugging_face("BertModel", "BertConfig", **options)
    import torch

    arrays = {name: p.detach().numpy() for name, p in module.named_parameters()}
    segments = jnp.broadcast_to(jnp.arange(6) // 3, TOKENS.shape)
    given = {"input_ids": TOKENS, "token_type_ids": segments}
    expected = module(**{k: torch.tensor(np.asarray(v)) for k, v in given.items()}).last_hidden_state
    params = hf_reference.tree_of(hf_reference.bert(2), arrays)
    model = bert(13, length=8, hidden=24, **SMALL)
    close(model.apply({"params": params}, TOKENS, segments=segments), expected.detach().numpy())


def test_t5_agrees():
    options = {"vocab_size": 13, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 4}
    module = hugging_face("T5ForConditionalGeneration", "T5Config", **options)
    target = TOKENS[:, ::-1][:, :5]
    theirs = {
        "input_ids": PADDED,
        "attention_mask": np.asarray(PADDED != 0).astype(np.int64),
        "decoder_input_ids": target,
    }
    model = t5(13, head_width=6, hidden=24, **SMALL)
    assert_agrees(model, (PADDED, target), module, theirs, hf_reference.t5(2))


def test_the_published_numbers_of_parameters():
    def count(model, *arguments):
        shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *arguments))["params"]
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    text = jnp.zeros((1, 2), jnp.int32)
    assert count(gpt2(), text) == count(gpt2(scan=True), text) == 124_439_808
    assert count(TextClassifier(bert(), 0, first_token), text) == 109_482_240
    assert count(t5(), text, text) == 60_506_624


@pytest.mark.parametrize(
    "model",
    [gpt(), gpt(mask=sliding_window(3)), gpt(positions=rotary()), llama(13, shared=1, **SMALL)],
    ids=["gpt2", "window", "rotary", "llama"],
)
def test_no_place_sees_a_later_one(model):
    params = drawn(model, TOKENS)
    seen = jax.jacobian(lambda table: model.apply({"params": params | {"tokens": {"embedding": table}}}, one))
    # Each place has a token of its own, so that the table's rows stand for places.
    one = jnp.arange(6)[None]
    if model.tied:
        model = model.clone(tied=False)
        params |= {"head": {"kernel": params["tokens"]["embedding"].T}}
    depends = np.abs(seen(params["tokens"]["embedding"])).max(axis=(0, 2, 4))[:, :6] > 0
    reach = np.tril(np.ones((6, 6), bool))
    if model.transformer.mask is not causal:  # two layers of three places reach five
        reach &= np.subtract.outer(np.arange(6), np.arange(6)) < 5
    np.testing.assert_array_equal(depends, reach)


def test_padding_is_not_seen():
    model: Any = bert(13, length=8, **SMALL)
    params = drawn(model, PADDED)
    apply = jax.jit(model.apply)
    whole, part = (apply({"params": params}, x) for x in (PADDED[1:], PADDED[1:, :4]))
    close(whole[:, :4], part)
    pooling: Any = TextClassifier(model, 0, mean_of_tokens)
    pooled = jax.jit(pooling.apply)({"params": {"encoder": params}}, PADDED[1:])
    close(pooled, part.mean(axis=1))


@pytest.mark.parametrize(
    ("positions", "told"),
    [(Positions(), False), (sinusoidal(), True), (learned(8), True), (rotary(), True)],
    ids=["none", "sinusoidal", "learned", "rotary"],
)
def test_only_positions_tell_the_order(positions, told):
    model: Any = bert(13, positions=positions, padding=None, **SMALL)
    params = drawn(model, TOKENS)
    order = jnp.array([3, 0, 5, 1, 4, 2])
    apply = jax.jit(model.apply)
    permuted, kept = apply({"params": params}, TOKENS[:, order]), apply({"params": params}, TOKENS)
    assert (np.abs(permuted - kept[:, order]).max() > 1e-3) == told


def test_dropout_needs_training_and_a_key():
    model = gpt(dropout=0.5)
    params = drawn(model, TOKENS)
    still = model.apply({"params": params}, TOKENS)
    a, b = (
        model.apply({"params": params}, TOKENS, train=True, rngs={"dropout": jax.random.key(k)})
        for k in (0, 1)
    )
    assert np.abs(a - b).max() > 0.01 and np.abs(a - still).max() > 0.01
    close(still, gpt().apply({"params": params}, TOKENS))


@pytest.mark.parametrize("model", [gpt(scan=True), llama(13, shared=2, **SMALL)], ids=["gpt2", "llama"])
def test_half_precision_stays_so_and_is_finite(model):
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), drawn(model, TOKENS))
    out = jax.jit(model.apply)({"params": params}, TOKENS)
    assert out.dtype == jnp.bfloat16 and bool(jnp.isfinite(out).all())


def test_every_matrix_names_its_axes():
    known = {"embed", "heads", "mlp", "vocab", None}
    for model, arguments in ((gpt(scan=True), (TOKENS,)), (pair(), (PADDED, TOKENS))):
        with names_shown():
            boxed = jax.eval_shape(lambda m=model, a=arguments: m.init(jax.random.key(0), *a))["params"]
        is_box = lambda leaf: isinstance(leaf, nn.LogicallyPartitioned)  # noqa: E731
        for path, leaf in jax.tree_util.tree_leaves_with_path(boxed, is_leaf=is_box):
            if path[-1].key in ("kernel", "embedding"):
                assert len(leaf.names) == leaf.value.ndim and set(leaf.names) <= known
                assert any(leaf.names)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (gpt2(13, length=4, **SMALL), "6 places and positions for only 4"),
        (gpt().cached(4), "a cache of 4 places cannot serve a text of 6"),
        (gpt(mask=None).cached(8), "a mask such as causal"),
        (gpt2(13, length=8, width=16, layers=1, heads=3), "does not divide into 3 heads"),
        (llama(13, shared=3, **SMALL), "cannot share 3 heads"),
    ],
    ids=["positions", "cache", "mask", "heads", "shared"],
)
def test_what_does_not_fit_is_told(model, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), TOKENS))
