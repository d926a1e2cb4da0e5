"""Counts that a caller gives, checked before anything is made of them."""

import operator
from typing import Any


def check_counts(**counts: Any) -> None:
    """Raises `ValueError` for the first of the named counts that is no whole number or below 1.

    >>> check_counts(steps=3, batch_size=8.0)
    Traceback (most recent call last):
    ValueError: batch_size is 8.0 (float); expected a whole number, at least 1
    """
    for name, count in counts.items():
        if isinstance(count, bool) or not hasattr(count, "__index__"):
            raise ValueError(
                f"{name} is {count!r} ({type(count).__name__}); expected a whole number, at least 1"
            )
        if operator.index(count) < 1:
            raise ValueError(f"{name} is {count}; expected at least 1")
