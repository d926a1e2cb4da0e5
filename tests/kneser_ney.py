"""An interpolated Kneser-Ney n-gram model in NumPy: what a language model without a network reaches."""

from typing import NamedTuple

import numpy as np


class Level(NamedTuple):
    """What is known of the n-grams of one length; grams and contexts are numbers to the vocabulary's base.

    Attributes:
      grams: those that were seen, in ascending order.
      counts: of each: how often it was seen or, below the highest order, after how many different tokens.
      contexts: the grams without their last token, in ascending order.
      totals: of each context, the sum of its grams' counts.
      kinds: of each context, how many grams it has.
      discount: what is taken from each count.
    """

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray
    discount: float


def kneser_ney(tokens: np.ndarray, *, vocabulary: int, order: int) -> list[Level]:
    """Counts n-grams: Chen & Goodman 1999, An Empirical Study of Smoothing Techniques, sec. 3 (eq. 2.8
    interpolated), with the discounts n1 / (n1 + 2 n2) of Ney, Essen & Kneser 1994, one for each length.

    Args:
      tokens: the text `[N]`, integers from 0 to `vocabulary` - 1.
      vocabulary: how many tokens there are.
      order: the length of the longest n-grams.

    Returns:
      The levels, from single tokens to the longest n-grams.
    """
    levels = []
    grams, counts = np.unique(_numbers(tokens, vocabulary, order), return_counts=True)
    for length in range(order, 0, -1):
        contexts, which = np.unique(grams // vocabulary, return_inverse=True)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = once / (once + 2 * twice) if once else 0.5
        levels.append(
            Level(grams, counts, contexts, np.bincount(which, counts), np.bincount(which), discount)
        )
        grams, counts = np.unique(grams % vocabulary ** (length - 1), return_counts=True)
    return levels[::-1]


def probabilities(levels: list[Level], grams: np.ndarray, *, vocabulary: int) -> np.ndarray:
    """The probabilities `[N]` of the last tokens of `grams` `[N, order]`, given those before them."""
    result = np.full(len(grams), 1 / vocabulary)
    for length, level in enumerate(levels, 1):
        numbers = grams[:, -length:].astype(np.int64) @ vocabulary ** np.arange(length)[::-1]
        counts = _found(level.grams, level.counts, numbers)
        totals = _found(level.contexts, level.totals, numbers // vocabulary)
        kinds = _found(level.contexts, level.kinds, numbers // vocabulary)
        mixed = np.maximum(counts - level.discount, 0) + level.discount * kinds * result
        result = np.where(totals > 0, mixed / np.maximum(totals, 1), result)
    return result


def grams_of(tokens: np.ndarray, order: int) -> np.ndarray:
    """All stretches of `order` tokens, `[N - order + 1, order]`."""
    return np.lib.stride_tricks.sliding_window_view(tokens, order)


def _numbers(tokens: np.ndarray, vocabulary: int, order: int) -> np.ndarray:
    return grams_of(tokens.astype(np.int64), order) @ vocabulary ** np.arange(order)[::-1]


def _found(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)
