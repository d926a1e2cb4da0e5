"""Shapes of what a metric is made of."""

from typing import Any

import numpy as np


def check_same_shape(**arrays: Any) -> None:
    """Raises `ValueError` unless the named arrays have one shape: JAX would spread `[B, 1]` over `[B]` to
    `[B, B]`, each row under the weight or the label of every other, and the metric would be wrong in silence.

    >>> check_same_shape(values=np.ones((3, 1)), weight=np.ones(3))
    Traceback (most recent call last):
    ValueError: values and weight have shapes [3, 1] and [3]; expected the same
    """
    shapes = [list(np.shape(array)) for array in arrays.values()]
    if any(shape != shapes[0] for shape in shapes):
        *names, last = arrays
        *first, rest = map(str, shapes)
        raise ValueError(
            f"{', '.join(names)} and {last} have shapes {', '.join(first)} and {rest}; expected the same"
        )
