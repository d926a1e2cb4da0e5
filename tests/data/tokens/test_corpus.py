"""Text: vocabularies that lose nothing, windows against plain slices, files that are what they claim."""

import functools
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from fdl.data.splits import Rows, parts, row_of, size_of
from fdl.data.tokens.corpus import read_text, text
from fdl.data.tokens.vocabulary import characters, read_bpe, train_bpe, utf8, write_bpe
from fdl.data.tokens.windows import tokens_file, windows, write_tokens
from fdl.storage import write_atomically

POEM = "Twinkle, twinkle, little bat!\nHow I wonder what you're at! Ünïcödé 日本 🦇\r\n" * 20
BPE = functools.partial(train_bpe, size=300)
MAKERS = (utf8, characters, BPE)


def host(part):
    assert isinstance(part, Rows)
    return part


def rows(part):
    return part.take(np.arange(part.size)) if isinstance(part, Rows) else part


def one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


@pytest.mark.parametrize("make", MAKERS, ids=("utf8", "characters", "bpe"))
def test_what_is_encoded_is_decoded(make):
    vocabulary = make(POEM)
    tokens = vocabulary.encode(POEM)
    assert tokens.dtype == np.int32 and tokens.ndim == 1
    assert tokens.min() >= 0 and tokens.max() < vocabulary.size == len(vocabulary.symbols)
    assert vocabulary.decode(tokens) == vocabulary.decode(tokens.tolist()) == POEM
    assert vocabulary.decode(vocabulary.encode("")) == ""


def test_utf8_is_python_s_own_encoding():
    assert utf8("").encode(POEM).tolist() == list(POEM.encode())
    assert utf8("").decode([0x61, 0xFF]) == "a\ufffd"


def test_characters_are_the_sorted_set():
    vocabulary = characters(POEM)
    assert vocabulary.symbols == tuple(sorted(set(POEM)))
    assert vocabulary.encode(POEM).tolist() == [sorted(set(POEM)).index(character) for character in POEM]


def test_byte_pairs_are_those_of_the_library():
    from tokenizers import ByteLevelBPETokenizer

    reference = ByteLevelBPETokenizer()
    reference.train_from_iterator([POEM], vocab_size=300, min_frequency=0, show_progress=False)
    vocabulary = BPE(POEM)
    assert vocabulary.size == reference.get_vocab_size() == 300
    assert vocabulary.encode("twinkle 日!").tolist() == reference.encode("twinkle 日!").ids
    assert len(vocabulary.encode(POEM)) < len(POEM.encode()) / 2


def test_byte_pairs_are_deterministic_and_kept_in_a_file(tmp_path):
    vocabulary = BPE(POEM)
    assert BPE(POEM).definition == vocabulary.definition
    write_bpe(tmp_path / "bpe.json", vocabulary)
    loaded = read_bpe(tmp_path / "bpe.json")
    assert (loaded.size, loaded.symbols) == (vocabulary.size, vocabulary.symbols)
    assert np.array_equal(loaded.encode("never seen: ł"), vocabulary.encode("never seen: ł"))
    assert os.listdir(tmp_path) == ["bpe.json"]


@pytest.mark.parametrize("make", MAKERS, ids=("utf8", "characters", "bpe"))
@pytest.mark.parametrize("wrong", ([0, -1], [0, 300], [[0]], [0.5]))
def test_tokens_that_do_not_exist(make, wrong):
    with pytest.raises(ValueError, match=r"token 1 is|tokens are") as error:
        make(POEM).decode(wrong)
    one_line(error)


def test_a_character_that_the_vocabulary_lacks():
    with pytest.raises(ValueError, match="position 2") as error:
        characters("abc").encode("abéa")
    one_line(error, "'é'", "U+00E9", "3 of the vocabulary")


@pytest.mark.parametrize("in_file", (False, True), ids=("memory", "file"))
@pytest.mark.parametrize(
    ("length", "stride"), ((4, None), (1, None), (4, 1), (4, 3), (4, 6), (29, None), (28, 1))
)
def test_windows_are_slices(tmp_path, length, stride, in_file):
    tokens = np.random.default_rng(0).integers(0, 60000, 30).astype(np.uint16)
    if in_file:
        write_tokens(tmp_path / "t", tokens, dtype=np.uint16)
        given = tokens_file(tmp_path / "t", dtype=np.uint16)
    else:
        given = tokens
    part = windows(given, length=length, stride=stride)
    step = stride or length
    starts = [start for start in range(0, 30, step) if start + length + 1 <= 30]
    assert isinstance(part, Rows) == (in_file or step < length)
    assert size_of(part) == len(starts)
    for name, shift in (("x", 0), ("y", 1)):
        expected = [tokens[start + shift : start + shift + length] for start in starts]
        assert rows(part)[name].dtype == row_of(part)[name].dtype == np.int32
        assert row_of(part)[name].shape == (length,)
        np.testing.assert_array_equal(rows(part)[name], expected)


def test_rows_come_in_the_order_asked_for():
    part = host(windows(np.arange(100), length=5, stride=1))
    assert part.take(np.array([7, 3, 7]))["y"][:, 0].tolist() == [8, 4, 8]


def test_overlapping_windows_hold_no_copy():
    tokens = np.arange(2_000_000, dtype=np.int32)
    part = host(windows(tokens, length=1000, stride=1))  # 16 GB if it were copied
    tokens[5] = -7
    assert part.take(np.array([0]))["x"][0, 5] == -7


@pytest.mark.parametrize("dtype", ("uint16", "uint32"))
def test_token_files_are_flat_and_little_endian(tmp_path, dtype):
    tokens = np.array([0, 1, 258, np.iinfo(dtype).max])
    write_tokens(tmp_path / "t", tokens, dtype=dtype)
    width = np.dtype(dtype).itemsize
    expected = b"".join(int(token).to_bytes(width, "little") for token in tokens)
    assert (tmp_path / "t").read_bytes() == expected
    mapped = tokens_file(tmp_path / "t", dtype=dtype)
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, tokens)


@pytest.mark.parametrize(
    ("tokens", "dtype", "words"),
    (
        ([0, 70000], "uint16", ("token 1 is 70000", "65535")),
        ([-1], "uint32", ("token 0 is -1",)),
        ([1], "int32", ("dtype is int32", "uint16")),
        ([], "uint16", ("L at least 1",)),
        ([0.5], "uint16", ("float64",)),
        ([[1]], "uint16", ("[1, 1]",)),
    ),
)
def test_tokens_that_cannot_be_written(tmp_path, tokens, dtype, words):
    with pytest.raises(ValueError) as error:
        write_tokens(tmp_path / "t", np.array(tokens), dtype=dtype)
    one_line(error, *words)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    (
        (b"", ("is empty",)),
        (b"abc", ("3 bytes", "multiple of 2")),
        (b"\x93NUMPY\x01\x00", (".npy", "mmap_mode")),
    ),
)
def test_files_that_hold_no_tokens(tmp_path, content, words):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError) as error:
        tokens_file(tmp_path / "t", dtype=np.uint16)
    one_line(error, str(tmp_path / "t"), *words)


@pytest.mark.parametrize(
    ("tokens", "arguments", "words"),
    (
        (np.arange(4), {"length": 4}, ("4 tokens", "need 5")),
        (np.arange(9), {"length": 0}, ("length is 0",)),
        (np.arange(9), {"length": 2, "stride": 0}, ("stride is 0",)),
        (np.ones(9), {"length": 2}, ("float64",)),
        (np.ones((3, 3), int), {"length": 2}, ("[3, 3]",)),
        (np.full(9, 2**31), {"length": 2}, ("2147483648", "2**31 - 1")),
    ),
)
def test_what_no_windows_are_made_of(tokens, arguments, words):
    with pytest.raises(ValueError) as error:
        windows(tokens, **arguments)
    one_line(error, *words)


def test_mapped_tokens_beyond_int32_are_seen_when_taken(tmp_path):
    write_tokens(tmp_path / "t", np.array([1, 2, 3, 2**31]), dtype=np.uint32)
    part = host(windows(tokens_file(tmp_path / "t", dtype=np.uint32), length=1))
    assert part.take(np.array([0]))["y"].item() == 2
    with pytest.raises(ValueError, match="2147483648"):
        part.take(np.array([0, 2]))


@pytest.mark.parametrize("make", MAKERS, ids=("utf8", "characters", "bpe"))
def test_the_parts_are_stretches_of_the_text(make):
    splits = text(POEM, length=8, vocabulary=make, validation=0.1, test=0.2)
    held, last = int(0.1 * len(POEM)), int(0.2 * len(POEM))
    train = POEM[: len(POEM) - held - last]
    stretches = (train, POEM[len(train) : len(POEM) - last], POEM[len(POEM) - last :])
    vocabulary = make(train)
    assert splits.classes == vocabulary.symbols
    for part, stretch in zip(parts(splits).values(), stretches, strict=True):
        tokens = vocabulary.encode(stretch)
        size = (len(tokens) - 1) // 8
        np.testing.assert_array_equal(rows(part)["x"], tokens[: size * 8].reshape(size, 8))
        np.testing.assert_array_equal(rows(part)["y"], tokens[1 : size * 8 + 1].reshape(size, 8))


def test_only_train_windows_overlap():
    splits = text(POEM, length=8, stride=1)
    assert size_of(splits.train) == len(POEM) - 2 * int(0.05 * len(POEM)) - 8
    assert not isinstance(splits.validation, Rows) and not isinstance(splits.test, Rows)


def test_a_vocabulary_that_exists_already():
    known = characters(POEM + "ß")
    assert text(POEM, length=8, vocabulary=known).classes == known.symbols


@pytest.mark.parametrize("given", (True, False))
def test_a_byte_order_mark_is_no_token(tmp_path, given):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbf" + b"abcab" * 40)
    source = "\ufeff" + "abcab" * 40 if given else tmp_path / "t.txt"
    splits = text(source, length=2)
    assert splits.classes == ("a", "b", "c") and np.asarray(splits.train["x"])[0].tolist() == [0, 1]
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfabc\xff")
    with pytest.raises(ValueError, match="byte 6 is 0xff"):
        read_text(tmp_path / "t.txt")
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(ValueError, match="is empty"):
        read_text(tmp_path / "t.txt")


def test_line_ends_are_kept(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"a\r\nb\n")
    assert read_text(tmp_path / "t.txt") == "a\r\nb\n"


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    (
        (b"", {}, ("is empty",)),
        (b"good \xe9t\xe9" + b"a" * 99, {}, ("byte 5", "0xe9", "UTF-8")),
        ("cut \u20ac".encode()[:-1], {}, ("byte 4", "0xe2")),
        (b"ab" * 40, {}, ("validation part", "characters 72 to 76 of 80", "need 5")),
        (b"ab" * 200 + b"z" * 10, {}, ("test part", "characters 390 to 410", "'z'", "position 10")),
        (b"ab" * 200, {"validation": 0.0}, ("validation is 0.0",)),
        (b"ab" * 200, {"validation": 0.5, "test": 0.5}, ("test is 0.5",)),
        (b"ab" * 200, {"length": 0}, ("length is 0",)),
        (b"ab" * 200, {"vocabulary": functools.partial(train_bpe, size=99)}, ("size is 99", "256")),
    ),
)
def test_texts_that_make_no_data_set(tmp_path, content, arguments, words):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(ValueError) as error:
        text(tmp_path / "t.txt", **{"length": 4, **arguments})
    one_line(error, *words)


def test_a_path_given_as_text_says_so():
    with pytest.raises(ValueError, match=r"pathlib\.Path") as error:
        text("shakespeare.txt", length=64)
    one_line(error)


@pytest.mark.parametrize("read", (read_text, read_bpe, functools.partial(tokens_file, dtype="uint16")))
@pytest.mark.parametrize("name", ("missing", "."))
def test_files_that_cannot_be_read(tmp_path, read, name):
    with pytest.raises(OSError) as error:
        read(tmp_path / name)
    one_line(error, str(tmp_path))


@pytest.mark.parametrize("content", (b"", b"{", b'{"model": 1}', b"\xff\xfe", b"[]"))
def test_files_that_are_no_tokenizer(tmp_path, content):
    (tmp_path / "bpe.json").write_bytes(content)
    with pytest.raises(ValueError, match="is no tokenizer") as error:
        read_bpe(tmp_path / "bpe.json")
    one_line(error, "bpe.json")


def test_a_vocabulary_without_a_file():
    with pytest.raises(ValueError, match="no definition"):
        write_bpe("never", characters("a"))
    with pytest.raises(ValueError, match="the text is empty"):
        characters("")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ValueError, match=r"fdl\[text\]"):
        BPE(POEM)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomically(tmp_path / "f", b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "f", b"new")
    assert os.listdir(tmp_path) == ["f"] and (tmp_path / "f").read_bytes() == b"old"


@pytest.mark.skipif("FDL_DATA" not in os.environ, reason="FDL_DATA names no folder with text/shakespeare.txt")
def test_tiny_shakespeare():
    path = Path(os.environ["FDL_DATA"]) / "text" / "shakespeare.txt"
    content = read_text(path)
    assert path.stat().st_size == len(content) == 1_115_394
    splits = text(path, length=256)
    assert len(splits.classes) == len(set(content)) == 65
    assert content.startswith(
        "".join(splits.classes[token] for token in rows(splits.train)["x"].ravel()[:5000])
    )
    assert [size_of(part) for part in parts(splits).values()] == [3921, 217, 217]
    vocabulary = characters(content)
    assert vocabulary.decode(vocabulary.encode(content)) == content
