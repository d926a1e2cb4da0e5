"""Weights go through files unchanged, and what does not fit is told in one line; needs no other library."""

import hashlib
import json
import pickle
from typing import Any

import jax
import numpy as np
import pytest

from fdl import pretrained
from fdl.models.text_encoder import bert
from fdl.pretrained.bert import bert_names
from fdl.pretrained.gpt2 import gpt2_names
from tests.models.parameters import drawn
from tests.pretrained.files import safetensors, write

MODEL: Any = bert(13, length=8, width=8, layers=1, heads=2, hidden=12)
PARAMS = drawn(MODEL, np.ones((1, 4), np.int32))
CONFIG = {"model_type": "bert", "vocab_size": 13, "max_position_embeddings": 8, "hidden_size": 8}
CONFIG |= {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "type_vocab_size": 2}
QUERY = "bert.encoder.layer.0.attention.self.query"


def published():
    """`PARAMS` in Hugging Face's layout: transposing twice changes nothing."""
    out = {}
    for path, (name, convert) in bert_names(1).items():
        leaf = PARAMS
        for key in path.split("/"):
            leaf = leaf[key]
        out[name] = np.ascontiguousarray(convert(np.asarray(leaf)))
    return out


TENSORS = published()


def without(*names):
    return {name: array for name, array in TENSORS.items() if name not in names}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_round_trip_changes_nothing(suffix, tmp_path):
    path = write(tmp_path, TENSORS, CONFIG, suffix)
    for given in (path, tmp_path):
        model, variables = pretrained.load_bert(given, dropout=0.5)
        jax.tree.map(np.testing.assert_array_equal, variables, {"params": PARAMS})
        assert model.transformer.dropout == 0.5 and model.padding == 0


def test_the_checksum_is_that_of_the_file(tmp_path):
    path = write(tmp_path, TENSORS, CONFIG)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    pretrained.load_bert(path, sha256=right.upper())
    with pytest.raises(ValueError, match=f"SHA-256 {right}; expected 0{{64}}: fetch"):
        pretrained.load_bert(path, sha256="0" * 64)


HEADS_AND_BUFFERS = {
    "bert.embeddings.position_ids": np.arange(8)[None],
    "bert.pooler.dense.weight": np.zeros((8, 8), np.float32),
    "cls.predictions.decoder.weight": TENSORS["bert.embeddings.word_embeddings.weight"],
}


def test_what_is_listed_is_left_out(tmp_path):
    write(tmp_path, TENSORS | HEADS_AND_BUFFERS, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, pretrained.load_bert(tmp_path)[1], {"params": PARAMS})


TENSOR_CASES = {
    "missing": (without(f"{QUERY}.bias"), rf"1 missing \({QUERY}\.bias\); give the weights"),
    "many missing": (
        without(*list(TENSORS)[3:9]),
        r"6 missing \([\w.]+, [\w.]+, [\w.]+, \.\.\.\)",
    ),
    "extra": (
        TENSORS | {"bert.encoder.layer.1.x": np.zeros((2, 3), np.float32)},
        r"1 unexpected \(bert\.encoder\.layer\.1\.x \[2, 3\]\)",
    ),
    "wrong shape": (
        TENSORS | {f"{QUERY}.weight": np.zeros((8, 4), np.float32)},
        rf"1 of another shape \({QUERY}\.weight is \[8, 4\], which does not fit "
        r"transformer/layer_0/attention/query/kernel \[8, 8\]\)",
    ),
    "too few axes": (
        TENSORS | {f"{QUERY}.weight": np.zeros(8, np.float32)},
        rf"1 of another shape \({QUERY}\.weight is \[8\], which",
    ),
    "wrong dtype": (
        TENSORS | {f"{QUERY}.bias": np.zeros(8, np.int64)},
        rf"1 of another dtype than float32, float16, bfloat16 \({QUERY}\.bias is int64\)",
    ),
    "all at once": (
        without(f"{QUERY}.bias") | {"x": np.zeros(2), f"{QUERY}.weight": np.zeros((8, 4), np.float32)},
        r"1 missing .*; 1 unexpected \(x \[2\]\); 1 of another shape ",
    ),
    "weights of another family": (
        {name: np.zeros(2, np.float32) for name, _ in gpt2_names(1).values()},
        r"21 missing .*; 16 unexpected ",
    ),
    "two names": (
        TENSORS | {"bert.embeddings.LayerNorm.gamma": np.ones(8, np.float32)},
        r"has bert\.embeddings\.LayerNorm\.weight under two names",
    ),
    "untied": (
        TENSORS | {"cls.predictions.decoder.weight": np.zeros((13, 8), np.float32)},
        r"decoder\.weight differs from bert\.embeddings\.word_embeddings\.weight; expected them tied",
    ),
}


@pytest.mark.parametrize(("tensors", "message"), TENSOR_CASES.values(), ids=TENSOR_CASES)
def test_tensors_that_do_not_fit_are_told(tensors, message, tmp_path):
    path = write(tmp_path, tensors, CONFIG)
    told(message, path, tmp_path)


def told(message, named, given, load=pretrained.load_bert):
    with pytest.raises(ValueError, match=message) as caught:
        load(given)
    assert str(named) in str(caught.value) and "\n" not in str(caught.value)


WHOLE = safetensors(TENSORS)
FIRST = next(iter(TENSORS))


def entry(**changes):
    """The file with the first array's entry in the header changed."""
    length = int.from_bytes(WHOLE[:8], "little")
    return safetensors(TENSORS, {FIRST: json.loads(WHOLE[8 : 8 + length])[FIRST] | changes})


BYTES_CASES = {
    "empty": (b"", "header of 0 bytes, and the file has 0"),
    "truncated header": (WHOLE[:100], r"is no safetensors file, or incomplete: .* has 100; fetch"),
    "truncated arrays": (WHOLE[:-4], r"has \d+ bytes; expected \d+, by its header: fetch"),
    "too long": (WHOLE + b"1234", r"has \d+ bytes; expected \d+, by its header: fetch"),
    "wrong header length": ((2**40).to_bytes(8, "little") + WHOLE[8:], "header of 1099511627776 bytes"),
    "short header length": ((20).to_bytes(8, "little") + WHOLE[8:], "its header is not JSON"),
    "no object": ((2).to_bytes(8, "little") + b"[]", "its header is no JSON object"),
    "deep": ((200_000).to_bytes(8, "little") + b"[" * 200_000, "its header is not JSON"),
    "pickle inside": (pickle.dumps({"x": [1.0]}, protocol=2), "is no safetensors file"),
    "unknown dtype": (entry(dtype="F4"), "has dtype 'F4'; expected one of F64, F32"),
    "list of dtypes": (entry(dtype=["F32"]), r"has dtype \['F32'\]; expected one of F64"),
    "endless offsets": (entry(data_offsets=[0, float("inf")]), "expected dtype, shape and data_offsets"),
    "65 dimensions": (entry(shape=[13, 8, *[1] * 63]), r"has shape \(13, 8, 1.*which NumPy refuses"),
    "shape": (entry(shape=[13, 9]), rf"{FIRST} has bytes 0 to 416; expected 0 to 468"),
    "negative": (entry(shape=[-13, -8]), "expected dtype, shape and data_offsets"),
    "offsets": (entry(data_offsets=[4, 420]), rf"{FIRST} has bytes 4 to 420; expected 0 to 416"),
    "not offsets": (entry(data_offsets="x"), "expected dtype, shape and data_offsets"),
    "no entry": (safetensors(TENSORS, {FIRST: 3}), f"entry of {FIRST} is 3; expected dtype"),
}


@pytest.mark.parametrize(("content", "message"), BYTES_CASES.values(), ids=BYTES_CASES)
def test_damaged_safetensors_are_told(content, message, tmp_path):
    path = write(tmp_path, {}, CONFIG)
    path.write_bytes(content)
    told(message, path, path)


class Harmful:
    def __reduce__(self):
        return (open, ("harmed", "w"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl", "model"])
def test_pickles_are_refused_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {}, CONFIG)
    (tmp_path / name).write_bytes(pickle.dumps(Harmful()))
    told(r"expected \.safetensors or \.npz, as a pickle .* can run code", tmp_path / name, tmp_path / name)
    assert not (tmp_path / "harmed").exists()


def test_pickles_in_an_npz_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, {"x": np.array([Harmful()])}, CONFIG, ".npz")
    told("x.npy is an array of objects; expected an NPZ archive", path, path)
    for content in (pickle.dumps(Harmful()), path.read_bytes()[:80], b""):
        path.write_bytes(content)
        told("expected an NPZ archive", path, path)
    assert not (tmp_path / "harmed").exists()


CONFIG_CASES = {
    "family": (CONFIG | {"model_type": "gpt2"}, "is of a 'gpt2' model; expected 'bert'"),
    "missing": ({k: v for k, v in CONFIG.items() if k != "hidden_size"}, "hidden_size is None; expected"),
    "no number": (CONFIG | {"vocab_size": "13"}, "vocab_size is '13'; expected an integer from 1"),
    "activation": (CONFIG | {"hidden_act": "relu"}, "hidden_act is 'relu'; expected 'gelu', which is all"),
    "heads": (CONFIG | {"num_attention_heads": 3}, "a width of 8 does not divide into 3 heads"),
    "padding": (CONFIG | {"pad_token_id": 1.5}, r"pad_token_id is 1\.5; expected an integer from 0"),
    "more layers": (CONFIG | {"num_hidden_layers": 2}, "16 missing"),
    "list": ([], "config.json is a JSON list; expected an object"),
}


@pytest.mark.parametrize(("config", "message"), CONFIG_CASES.values(), ids=CONFIG_CASES)
def test_configs_that_do_not_fit_are_told(config, message, tmp_path):
    write(tmp_path, TENSORS, config)
    told(message, "", tmp_path)


def test_a_config_that_is_not_json_is_told(tmp_path):
    write(tmp_path, TENSORS, CONFIG)
    (tmp_path / "config.json").write_text("{")
    told("config.json is not JSON", tmp_path, tmp_path)


HEADLESS = {"num_hidden_layers": 1, "image_size": 8, "embedding_size": 4, "depths": [1]}
HEADLESS |= {"hidden_sizes": [16], "layer_type": "bottleneck"}


@pytest.mark.parametrize("load", [pretrained.load_vit, pretrained.load_resnet])
def test_a_missing_head_is_told(load, tmp_path):
    path = write(tmp_path, {}, HEADLESS)
    told(r"has no classifier\.[1.]*bias \[outputs\]; give `outputs` for a new head", path, tmp_path, load)


@pytest.mark.parametrize("name", ["absent", "absent/model.safetensors", "."])
def test_what_is_not_there_is_an_os_error(name, tmp_path):
    with pytest.raises(OSError, match=r"absent|has none of model\.safetensors, .*, model\.npz; give"):
        pretrained.load_bert(tmp_path / name)
    with pytest.raises(OSError, match="gone"):
        pretrained.read_weights(tmp_path / "gone.safetensors")


def test_a_folder_in_place_of_a_file_is_an_os_error(tmp_path):
    write(tmp_path, {}, CONFIG)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        pretrained.load_bert(tmp_path)
