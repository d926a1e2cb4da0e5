"""Vocabularies: text to tokens and back, by bytes, characters or byte pairs."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fdl.arguments import Count, checked
from fdl.data.readers.opened_files import content_of
from fdl.storage import path_of, write_atomically
from fdl.text import message_of

_BYTES = 256


class Vocabulary(NamedTuple):
    """A way to write text as tokens, as pure functions.

    Attributes:
      encode: `encode(text) -> int32 [L]`, each token in `range(size)`.
      decode: `decode(tokens [L]) -> text`; `ValueError` for a token that is not in `range(size)`.
      size: how many tokens there are.
      symbols: how each token is shown, `size` of them.
      definition: JSON of Hugging Face `tokenizers` for byte pairs; `""` for the others, which need none.
    """

    encode: Callable[[str], np.ndarray]
    decode: Callable[[ArrayLike], str]
    size: int
    symbols: tuple[str, ...]
    definition: str = ""


@checked
def utf8(text: str) -> Vocabulary:
    """The 256 bytes of UTF-8: every text can be encoded.

    Bytes that are no UTF-8, which a model can produce, are decoded to U+FFFD.

    Args:
      text: not used; it is there because all vocabularies are made from a text.

    Example:
      >>> fdl.data.utf8("").encode("é").tolist()
      [195, 169]
    """
    del text

    def decode(tokens: ArrayLike) -> str:
        return _checked(tokens, _BYTES).astype(np.uint8).tobytes().decode(errors="replace")

    shown = (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in range(_BYTES))
    return Vocabulary(_bytes_of, decode, _BYTES, tuple(shown))


@checked
def characters(text: str) -> Vocabulary:
    """The characters (Unicode code points) of a text, in order of their code points.

    The `encode` raises `ValueError` for a character that the text does not have.

    Raises:
      ValueError: the text is empty.

    Example:
      >>> vocabulary = fdl.data.characters("hello")
      >>> vocabulary.encode("hole").tolist(), vocabulary.decode([2, 3])
      ([1, 3, 2, 0], 'lo')
    """
    if not text:
        raise ValueError("the text is empty; expected at least one character to make a vocabulary of")
    known = np.unique(_code_points(text))

    def decode(tokens: ArrayLike) -> str:
        return "".join(symbols[token] for token in _checked(tokens, len(symbols)))

    symbols = tuple(map(chr, known.tolist()))
    return Vocabulary(functools.partial(_places_of, known), decode, len(symbols), symbols)


@checked
def train_bpe(text: str, *, size: Count) -> Vocabulary:
    """Byte-pair encoding learned from a text: the most frequent pairs become one token each.

    Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units",
    on bytes as in GPT-2 (Radford et al. 2019, sec. 2.2), so every text can be encoded. The same
    text and size give the same vocabulary.

    Args:
      text: to learn from.
      size: tokens wanted, at least the 256 bytes. A text with few repetitions gives fewer.

    Raises:
      ValueError: a size below 256, or the extra `text` is missing.

    Example:
      >>> vocabulary = fdl.data.train_bpe("to be or not to be " * 9, size=260)  # doctest: +SKIP
      >>> vocabulary.size  # doctest: +SKIP
      260
    """
    if size < _BYTES:
        raise ValueError(f"size is {size}; byte pairs need at least {_BYTES}, one for each byte")
    library = _tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return _byte_pairs(tokenizer)


@checked
def write_bpe(path: str | os.PathLike[str], vocabulary: Vocabulary) -> None:
    """Writes the JSON file of a vocabulary of byte pairs, whole or not at all.

    Raises:
      OSError: the file cannot be written.
      ValueError: the vocabulary is not of byte pairs.

    Example:
      >>> fdl.data.write_bpe("bpe.json", fdl.data.train_bpe("to be or not to be", size=260))  # doctest: +SKIP
    """
    if not vocabulary.definition:
        raise ValueError("the vocabulary has no definition to write; expected one from train_bpe or read_bpe")
    write_atomically(path_of(path), vocabulary.definition.encode())


@checked
def read_bpe(path: str | os.PathLike[str]) -> Vocabulary:
    """The vocabulary in a JSON file of Hugging Face `tokenizers`; its special tokens are never added.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no such file, or the extra `text` is missing.

    Example:
      >>> fdl.data.write_bpe("bpe.json", fdl.data.train_bpe("to be or not to be", size=260))  # doctest: +SKIP
      >>> fdl.data.read_bpe("bpe.json").size  # doctest: +SKIP
      260
    """
    library = _tokenizers()
    content = content_of(path)
    try:
        tokenizer = library.Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing more precise
        reason = message_of(error)
        raise ValueError(
            f"{path} is no tokenizer ({reason}); expected the JSON that write_bpe or `tokenizers` writes"
        ) from None
    return _byte_pairs(tokenizer)


def _byte_pairs(tokenizer: Any) -> Vocabulary:
    def decode(tokens: ArrayLike) -> str:
        return tokenizer.decode(_checked(tokens, size).tolist(), skip_special_tokens=False)

    size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    symbols = tuple(tokenizer.id_to_token(token) or "" for token in range(size))
    return Vocabulary(functools.partial(_pairs_of, tokenizer), decode, size, symbols, tokenizer.to_str())


def told_vocabulary(vocabulary: Vocabulary) -> dict[str, str] | None:
    """What `vocabulary_of` makes it again from, JSON-able; None for one that is none of these."""
    encode = getattr(vocabulary.encode, "func", vocabulary.encode)
    if encode is _pairs_of:
        return {"definition": vocabulary.definition}
    if encode is _places_of:
        return {"characters": "".join(vocabulary.symbols)}
    return {} if encode is _bytes_of else None


def vocabulary_of(told: Mapping[str, str]) -> Vocabulary:
    """The vocabulary of which `told_vocabulary` tells; `ValueError` where the extra `text` is missing."""
    if "definition" in told:
        return _byte_pairs(_tokenizers().Tokenizer.from_str(told["definition"]))
    return characters(told["characters"]) if "characters" in told else utf8("")


def _bytes_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def _places_of(known: np.ndarray, text: str) -> np.ndarray:
    """The tokens of a text by the code points that are known, `[C]` in their order."""
    points = _code_points(text)
    tokens = np.searchsorted(known, points)
    unknown = known[np.minimum(tokens, len(known) - 1)] != points
    if unknown.any():
        place = int(np.argmax(unknown))
        raise ValueError(
            f"character {text[place]!r} (U+{points[place]:04X}) at position {place} is not among the "
            f"{len(known)} of the vocabulary; make the vocabulary of a text that has it"
        )
    return tokens.astype(np.int32)


def _pairs_of(tokenizer: Any, text: str) -> np.ndarray:
    return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int32)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _checked(tokens: ArrayLike, size: int) -> np.ndarray:
    """Tokens `[L]` that are integers in `range(size)`."""
    tokens = np.asarray(tokens)
    if tokens.size == 0:
        return np.zeros(0, np.int32)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens are {tokens.dtype} {list(tokens.shape)}; expected integers [L]")
    outside = (tokens < 0) | (tokens >= size)
    if outside.any():
        place = int(np.argmax(outside))
        raise ValueError(f"token {place} is {tokens[place]}; expected 0 to {size - 1}")
    return tokens


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise ValueError("byte pairs need the extra 'text': pip install fdl[text]") from None
    return tokenizers
