"""Names: for each of our arrays, Hugging Face's name of one of theirs, and what turns that into ours."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Convert = Callable[[np.ndarray], np.ndarray]
Names = dict[str, tuple[str, Convert]]
"""By the path of our array, `"transformer/layer_0/attention/out/kernel"`: their name, and how to convert."""


def same(array: np.ndarray) -> np.ndarray:
    """The array itself."""
    return array


def transposed(array: np.ndarray) -> np.ndarray:
    """`[..., O, I]` as `[..., I, O]`: a torch linear layer's weight as our kernel."""
    return np.swapaxes(array, -1, -2)


def dense_names(ours: str, theirs: str, *, bias: bool = True) -> Names:
    """Of a torch linear layer."""
    kernel: Names = {f"{ours}/kernel": (f"{theirs}.weight", transposed)}
    return kernel | ({f"{ours}/bias": (f"{theirs}.bias", same)} if bias else {})


def norm_names(ours: str, theirs: str, *, bias: bool = True) -> Names:
    """Of a layer norm or, without bias, of an RMS norm."""
    scale: Names = {f"{ours}/scale": (f"{theirs}.weight", same)}
    return scale | ({f"{ours}/bias": (f"{theirs}.bias", same)} if bias else {})


def embedding_names(ours: str, theirs: str) -> Names:
    """Of a table `[V, E]`, whose full name is `theirs`."""
    return {f"{ours}/embedding": (theirs, same)}


def tree_of(names: Names, tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Our nested dictionary of arrays, contiguous copies, from theirs by name."""
    tree: dict[str, Any] = {}
    for path, (name, convert) in names.items():
        *outer, last = path.split("/")
        node = tree
        for key in outer:
            node = node.setdefault(key, {})
        node[last] = np.array(convert(np.asarray(tensors[name])), order="C")
    return tree
