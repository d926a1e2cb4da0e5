"""Numbers to words: translation from the digits of a number to its English name."""

import hashlib
from collections.abc import Callable

import numpy as np

from fdl.arguments import Count, checked
from fdl.data.datasets.data_set import DataSet, Origin
from fdl.data.splits import Splits
from fdl.data.tokens.sentences import SPECIAL, to_tokens

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBER_DIGITS = (*SPECIAL, *"0123456789")
"""The name of each token of `x`."""
NUMBER_WORDS = (*SPECIAL, *_SMALL, *_TENS, "hundred", "thousand")
"""The name of each token of `y`."""


def number_words(number: int) -> tuple[str, ...]:
    """The English name of a number: 21,305 is twenty one thousand three hundred five.

    American usage, without "and", and without hyphens, as each word is a token.

    Args:
      number: 0 to 999,999,999.

    Raises:
      ValueError: a number out of that range.
    """
    if not 0 <= number < 10**9:
        raise ValueError(f"the number is {number}; expected 0 to 999999999")
    if number < 20:
        return (_SMALL[number],)
    if number < 100:
        return (_TENS[number // 10 - 2], *_rest(number % 10))
    if number < 1000:
        return (_SMALL[number // 100], "hundred", *_rest(number % 100))
    if number < 10**6:
        return (*number_words(number // 1000), "thousand", *_rest(number % 1000))
    return (*number_words(number // 10**6), "million", *_rest(number % 10**6))


@checked
def numbers(*, digits: Count = 4) -> Splits:
    """All numbers below 10**digits, split at random.

    The first eight bytes of the SHA-256 digest of the number in decimal ASCII, read as a big-endian
    integer, modulo 10, say where a number goes: 0 is test, 1 is validation, the others are train.

    Args:
      digits: D, most digits of a number, 2 to 6.

    Returns:
      Parts in ascending order, with `x`, int32 `[N, D + 1]`, tokens of `NUMBER_DIGITS`, the leading
      digit first; and `y`, int32 `[N, T]`, tokens of `NUMBER_WORDS`. Both end with `sentences.END` and
      are padded with `sentences.PAD`.

    Raises:
      ValueError: digits out of range.

    Example:
      >>> splits = fdl.data.numbers(digits=2)
      >>> " ".join(splits.classes[token] for token in splits.test["y"][-1])
      'ninety <end> <pad>'
    """
    return _splits(digits, _slot)


@checked
def numbers_by_length(*, digits: Count = 4) -> Splits:
    """As `numbers`, but numbers of exactly D digits are for test: does a rule carry over to length?

    Of the shorter numbers, those that `numbers` takes for validation are so here, the others train.

    Args:
      digits: D, digits of the numbers for test, 3 to 6.

    Raises:
      ValueError: digits out of range.

    Example:
      >>> splits = fdl.data.numbers_by_length(digits=3)
      >>> len(splits.test["x"])
      900
    """
    if digits < 3:
        raise ValueError(f"digits is {digits}; expected 3 to 6, as numbers of one digit are few")
    longest = 10 ** (digits - 1)
    return _splits(digits, lambda number: 0 if number >= longest else _slot(number) or 2)


def _slot(number: int) -> int:
    return int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:8], "big") % 10


def _rest(number: int) -> tuple[str, ...]:
    """The name of what remains, which is silent if nothing does."""
    return number_words(number) if number else ()


def _splits(digits: int, slot: Callable[[int], int]) -> Splits:
    """The parts, where slot 0 is test, 1 is validation and others are train."""
    if not 2 <= digits <= 6:
        raise ValueError(f"digits is {digits}; expected 2 to 6")
    x = to_tokens([str(number) for number in range(10**digits)], NUMBER_DIGITS)
    y = to_tokens([number_words(number) for number in range(10**digits)], NUMBER_WORDS)
    slots = np.array([slot(number) for number in range(10**digits)])
    rules = (slots > 1, slots == 1, slots == 0)
    train, validation, test = ({"x": x[rows], "y": y[rows]} for rows in rules)
    return Splits(train, validation, test, classes=NUMBER_WORDS)


DATA_SETS = (
    DataSet("numbers", "digits to the English name of a number", Origin.MADE, numbers),
    DataSet(
        "numbers_by_length",
        "digits to English names, the longest numbers for test",
        Origin.MADE,
        numbers_by_length,
    ),
)
