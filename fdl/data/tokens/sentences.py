"""Sentences of known words as padded arrays of tokens."""

from collections.abc import Sequence

import numpy as np

PAD, END = 0, 1
SPECIAL = ("<pad>", "<end>")
"""What the tokens `PAD` and `END` are called: the first two names of every vocabulary here."""


def to_tokens(sentences: Sequence[Sequence[str]], vocabulary: tuple[str, ...]) -> np.ndarray:
    """Each sentence's words, then `END`, then `PAD` up to the longest sentence.

    Args:
      sentences: N sequences of words.
      vocabulary: the name of each token, `SPECIAL` first.

    Returns:
      int32 `[N, T]`, T one more than the words of the longest sentence.

    Raises:
      ValueError: a word that the vocabulary does not have.
    """
    token = {word: number for number, word in enumerate(vocabulary)}
    tokens = np.full((len(sentences), max(map(len, sentences), default=0) + 1), PAD, np.int32)
    for row, sentence in enumerate(sentences):
        unknown = [word for word in sentence if word not in token]
        if unknown:
            raise ValueError(
                f"sentence {row} has the word {unknown[0]!r}; expected words of {vocabulary[2:]}"
            )
        tokens[row, : len(sentence)] = [token[word] for word in sentence]
        tokens[row, len(sentence)] = END
    return tokens


def to_words(tokens: np.ndarray, vocabulary: tuple[str, ...]) -> str:
    """The words of tokens `[T]` before the first `END` (or all of them), with blanks between."""
    ends = np.flatnonzero(tokens == END)
    return " ".join(vocabulary[token] for token in tokens[: ends[0] if ends.size else None])
