"""Texts as the tokens that a published model knows."""

import os
from collections.abc import Sequence

import numpy as np

from fdl.data.readers.opened_files import content_of
from fdl.text import message_of


def tokenized(
    texts: Sequence[str], tokenizer: str | os.PathLike[str], *, length: int, padding: int = 0
) -> np.ndarray:
    """Tokens of texts, with the special ones that the tokenizer adds, such as BERT's first and last.

    Args:
      texts: N of them.
      tokenizer: the published `tokenizer.json`, of Hugging Face `tokenizers`.
      length: T, tokens of a text; longer ones are cut before the last special token.
      padding: the token that fills up shorter ones.

    Returns:
      int32 `[N, T]`.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no tokenizer, or the extra `text` is missing.
    """
    try:
        import tokenizers
    except ImportError:
        raise ValueError("a tokenizer.json needs the extra 'text': pip install fdl[text]") from None
    content = content_of(tokenizer)
    try:
        made = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing more precise
        reason = message_of(error)
        raise ValueError(
            f"{tokenizer} is no tokenizer ({reason}); expected a published tokenizer.json"
        ) from None
    made.enable_truncation(length)
    made.no_padding()
    tokens = np.full((len(texts), length), padding, np.int32)
    for row, encoding in zip(tokens, made.encode_batch(list(texts)), strict=True):
        row[: len(encoding.ids)] = encoding.ids
    return tokens
