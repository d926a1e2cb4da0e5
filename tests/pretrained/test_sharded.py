"""Weights in several files are those of one, and an index that contradicts them is told in one line."""

import json

import numpy as np
import pytest

from fdl import pretrained
from fdl.pretrained.sharded import INDEX
from tests.pretrained.files import safetensors

TENSORS = {name: np.full((2, 3), number, np.float32) for number, name in enumerate("abc")}
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
MAP = {"a": FIRST, "b": SECOND, "c": FIRST}


def write(folder, index, **changes):
    """Two shards as `MAP` has them, but for `changes`, names of a shard's arrays, and an index."""
    for shard, names in ({FIRST: "ac", SECOND: "b"} | changes).items():
        (folder / shard).write_bytes(safetensors({name: TENSORS[name] for name in names}))
    path = folder / INDEX
    path.write_text(index if isinstance(index, str) else json.dumps(index))
    return path


def test_shards_are_read_as_one_file(tmp_path):
    found = pretrained.read_weights(write(tmp_path, {"metadata": {"total_size": 1}, "weight_map": MAP}))
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(found[name], array)


def mapped(**changes):
    return {"weight_map": MAP | changes}


MAP_OF_TWO = {"weight_map": {"a": FIRST, "b": SECOND}}
CASES = {
    "not JSON": ("{", {}, "is no index of shards"),
    "deep": ("[" * 200_000, {}, "is no index of shards"),
    "a list": ([], {}, "has no weight_map"),
    "no map": ({"metadata": {}}, {}, "has no weight_map"),
    "an empty map": ({"weight_map": {}}, {}, "has no weight_map"),
    "a list for a map": ({"weight_map": [FIRST]}, {}, "has no weight_map"),
    "twice": (json.dumps(MAP_OF_TWO).replace('"b"', '"a"'), {}, "it has 'a' twice"),
    "no name": (mapped(b=2), {}, r"has 'b' in '2'; expected the name of a \.safetensors file beside it"),
    "another folder": (mapped(b=f"../{SECOND}"), {}, r"has 'b' in '\.\./model-00002"),
    "an absolute path": (mapped(b=f"/{SECOND}"), {}, "has 'b' in '/model-00002"),
    "NUL": (mapped(b=f"\0{SECOND}"), {}, "has 'b' in "),
    "a pickle": (mapped(b="pytorch_model.bin"), {}, "has 'b' in 'pytorch_model.bin'"),
    "absent": (mapped(b="gone.safetensors"), {}, r"lists 2 shards, and 1 of them .* 'gone\.safetensors'"),
    "a name too long": (mapped(b="x" * 300 + ".safetensors"), {}, "lists 2 shards, and 1 of them"),
    "unknown": (mapped(d=SECOND), {}, "differ in 1 arrays, 'd' for one: the index has it"),
    "the wrong shard": (mapped(b=FIRST, a=SECOND), {}, "differ in 2 arrays, 'a' for one: the index has it"),
    "unlisted": (mapped(), {SECOND: "bc"}, "differ in 1 arrays, 'c' for one: the shard has it"),
}


@pytest.mark.parametrize(("index", "changes", "message"), CASES.values(), ids=CASES)
def test_an_index_that_does_not_fit_is_told(index, changes, message, tmp_path):
    path = write(tmp_path, index, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        pretrained.read_weights(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_shard_is_told_by_its_own_name(tmp_path):
    path = write(tmp_path, mapped())
    (tmp_path / SECOND).write_bytes((tmp_path / SECOND).read_bytes()[:-4])
    with pytest.raises(ValueError, match=rf"{SECOND} has \d+ bytes; expected"):
        pretrained.read_weights(path)


def test_one_checksum_for_many_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is the index of 2 files, of which one SHA-256 says nothing"):
        pretrained.read_weights(write(tmp_path, mapped()), sha256="0" * 64)
