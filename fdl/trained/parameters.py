"""The arrays of a stored run's state, without its experiment: shapes, dtypes, norms, bytes."""

from typing import NamedTuple

import numpy as np

from fdl import tree
from fdl.formats import memory
from fdl.sweeps.stored_runs import StoredRun
from fdl.trained.states import Which, loaded_arrays


class Parameter(NamedTuple):
    """An array of a state.

    Attributes:
      path: where it is in the state, as `params/Dense_0/kernel`.
      shape: its shape.
      dtype: its type.
      bytes: its size.
      norm: the Euclidean norm of its numbers in float64; None of what is no number, such as a random key.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    norm: float | None


def parameters_of(run: StoredRun, which: Which = "result") -> list[Parameter]:
    """The arrays of a stored run's state, in their order; of learning by gradients those of the model.

    Raises:
      ValueError: there is no checkpoint or it is damaged, or the state is not kept.
      OSError: it cannot be read.
    """
    state = loaded_arrays(run, which)
    if isinstance(state, dict) and {"params", "model_state", "optimizer"} <= set(state):
        state = {"params": state["params"], **state["model_state"]}
    return [_told(path, np.asarray(leaf)) for path, leaf in tree.named_leaves(state).items()]


def _told(path: str, leaf: np.ndarray) -> Parameter:
    number = leaf.dtype.kind in "fiubc" or leaf.dtype.name == "bfloat16"
    norm = float(np.linalg.norm(leaf.astype(np.float64).ravel())) if number else None
    return Parameter(path, leaf.shape, leaf.dtype.name, leaf.nbytes, norm)


def lines_of(parameters: list[Parameter]) -> list[str]:
    """The arrays as a tree: each folder of names once, its arrays beneath it."""
    lines, before = [], ()
    for one in parameters:
        *folders, name = one.path.split("/")
        same = 0
        while same < min(len(folders), len(before)) and folders[same] == before[same]:
            same += 1
        lines += [f"{'  ' * depth}{folders[depth]}" for depth in range(same, len(folders))]
        norm = "" if one.norm is None else f"  norm {one.norm:.4g}"
        lines.append(f"{'  ' * len(folders)}{name}  {one.dtype}{list(one.shape)}  {memory(one.bytes)}{norm}")
        before = tuple(folders)
    return lines
