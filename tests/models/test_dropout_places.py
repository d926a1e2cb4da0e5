"""Where models drop: at as many places, and arrays of the same shapes, as the papers' and Transformers'."""

from collections import Counter
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from fdl.models import bert, gpt2, original_transformer, t5, vision_transformer

TEXT = jnp.ones((2, 5), jnp.int32)
SMALL: Any = {"width": 16, "layers": 1, "heads": 4}
HIDDEN, BRANCH = (2, 5, 24), (2, 5, 16)


def dropped(model, *inputs):
    """The shapes of what is dropped in training, and how often."""
    found = Counter()

    def seen(call, args, kwargs, context):
        if type(context.module).__name__ == "Dropout" and context.module.rate > 0:
            found[args[0].shape] += 1
        return call(*args, **kwargs)

    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    with nn.intercept_methods(seen):
        jax.eval_shape(lambda: model.init(keys, *inputs, train=True))
    return dict(found)


def test_vit_drops_after_dense_layers_but_those_of_queries_keys_and_values():
    model = vision_transformer(3, size=8, patch=4, hidden=24, dropout=0.1, **SMALL)
    wanted = {(2, 5, 16): 3, (2, 5, 24): 1}  # appendix B.1: embeddings and two branches; hidden units
    assert dropped(model, jnp.zeros((2, 8, 8, 3))) == wanted


def test_the_first_transformer_drops_embeddings_and_branches():
    model = original_transformer(13, hidden=24, dropout=0.1, **SMALL)
    assert dropped(model, TEXT, TEXT) == {BRANCH: 7}  # sec. 5.4: twice embeddings, two and three branches


def test_t5_drops_what_its_paper_says():
    """Sec. 2.1: in the feed-forward nets, of branches and attention weights, at the input and the output."""
    model = t5(13, head_width=6, hidden=24, dropout=0.1, **SMALL)
    assert dropped(model, TEXT, TEXT) == {HIDDEN: 2, BRANCH: 2 + 3 + 2 * 2, (2, 4, 5, 5): 3}


def of_transformers(monkeypatch, kind, config, options, **inputs):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    transformers = pytest.importorskip("transformers", reason="Transformers is the reference")
    found = Counter()

    def seen(x, p=0.5, training=True, inplace=False):
        found[tuple(x.shape)] += bool(training and p > 0)
        return x

    monkeypatch.setattr(torch.nn.functional, "dropout", seen)
    made = getattr(transformers, config)(attn_implementation="eager", **options)
    ids = {name: torch.ones((2, 5), dtype=torch.long) for name in inputs.get("names", ("input_ids",))}
    getattr(transformers, kind)(made).train()(**ids)
    return dict(found)


@pytest.mark.slow  # to import Transformers takes longer than all else
def test_transformers_drop_at_the_same_places(monkeypatch):
    both = ("input_ids", "decoder_input_ids")
    options = {"vocab_size": 13, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 1, "num_heads": 4}
    theirs = of_transformers(monkeypatch, "T5ForConditionalGeneration", "T5Config", options, names=both)
    assert dropped(t5(13, head_width=6, hidden=24, dropout=0.1, **SMALL), TEXT, TEXT) == theirs

    options = {"vocab_size": 13, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4}
    options |= {"intermediate_size": 24, "max_position_embeddings": 8}
    theirs = of_transformers(monkeypatch, "BertModel", "BertConfig", options)
    assert dropped(bert(13, length=8, hidden=24, dropout=0.1, **SMALL), TEXT) == theirs

    options = {"vocab_size": 13, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 4}
    options |= {"bos_token_id": 0, "eos_token_id": 0}
    theirs = of_transformers(monkeypatch, "GPT2LMHeadModel", "GPT2Config", options)
    assert dropped(gpt2(13, length=8, dropout=0.1, **SMALL), TEXT) == theirs
