"""Predictions as a table: a row for each input, columns under the names that users look for."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdl.storage import write_atomically
from fdl.trained.predicting import Outputs

ENDINGS = (".csv", ".parquet", ".npz")
"""How the names of files of predictions end."""


def predictions_table(outputs: Outputs, classes: Sequence[str], names: Sequence[str] | None) -> pd.DataFrame:
    """A row for each input; of outputs at each place of a text, for each place; of boxes, for
    each box.

    Args:
      outputs: by name `[N, ...]`.
      classes: the names of the labels 0, 1, ...; `()` for the numbers themselves.
      names: of the inputs, such as their files; None for their numbers.

    Returns:
      `row` (or `file`); and `label`, `probability` (of that label), and of a label an input
      `probability_CLASS` for each class; `place` where an input has several rows, `perplexity` and others of
      the whole input beside each; `score`, `top`, `left`, `bottom`, `right` of a box; `prediction`, or
      `prediction_0` and so on.

    Raises:
      ValueError: outputs of more axes than a table has.
    """
    rows = len(next(iter(outputs.values())))
    first = {"row": np.arange(rows)} if names is None else {"file": list(names)}
    label, probability = outputs.get("label"), outputs.get("probability")
    if label is not None and "boxes" in outputs:
        return _boxes(first, outputs, classes)
    if label is None or probability is None or probability.ndim != label.ndim + 1:
        return pd.DataFrame({**first, **_columns(outputs)})
    if label.ndim > 2:
        raise ValueError(f"the labels of an input have shape {list(label.shape[1:])}; write .npz instead")
    of_label = {name: one for name, one in outputs.items() if one.ndim == label.ndim}
    each = {name: one for name, one in outputs.items() if one.ndim == probability.ndim}
    rest = {name: one for name, one in outputs.items() if name not in of_label and name not in each}
    found = {**of_label, **{name: _at(one, label) for name, one in each.items()}}
    found["label"] = _called(label, classes)
    if label.ndim == 2:
        whole = {name: np.repeat(one, label.shape[1]) for name, one in rest.items() if one.ndim == 1}
        places = _places(first, label.shape[1])
        return pd.DataFrame({**places, **{name: one.ravel() for name, one in found.items()}, **whole})
    titles = [str(one) for one in _called(np.arange(probability.shape[1]), classes)]
    spelled = {f"{name}_{title}": one[:, i] for name, one in each.items() for i, title in enumerate(titles)}
    return pd.DataFrame({**first, **found, **spelled, **_columns(rest)})


def _places(first: Mapping[str, Any], places: int) -> dict[str, np.ndarray]:
    """The columns that say which input a row is of, for so many places of each."""
    repeated = {name: np.repeat(np.asarray(one, object), places) for name, one in first.items()}
    count = len(next(iter(first.values())))
    return {**repeated, "place": np.tile(np.arange(places), count)}


def _boxes(first: Mapping[str, Any], outputs: Outputs, classes: Sequence[str]) -> pd.DataFrame:
    """A row for each box."""
    label, sides = outputs["label"], ("top", "left", "bottom", "right")
    found = {"label": _called(label, classes).ravel(), "score": outputs["score"].ravel()}
    box = {name: outputs["boxes"][..., side].ravel() for side, name in enumerate(sides)}
    return pd.DataFrame({**_places(first, label.shape[1]), **found, **box})


def write_predictions(
    path: Path, outputs: Outputs, classes: Sequence[str], names: Sequence[str] | None
) -> None:
    """Writes predictions, by the ending of the file's name: `.csv` and `.parquet` as `predictions_table`
    says, `.npz` the arrays themselves, with their own names and shapes.

    Raises:
      ValueError: another ending, or outputs that are no table.
      OSError: the file cannot be written.
    """
    check_ending(path)
    content = io.BytesIO()
    if path.suffix == ".npz":
        extra = {**({"classes": np.array(classes)} if classes else {}), **outputs}
        extra |= {} if names is None else {"file": np.array(names)}
        np.savez(content, allow_pickle=False, **extra)
    elif path.suffix == ".csv":
        predictions_table(outputs, classes, names).to_csv(content, index=False)
    else:
        predictions_table(outputs, classes, names).to_parquet(content, index=False)
    write_atomically(path, content.getvalue())


def check_ending(path: Path) -> None:
    """Raises `ValueError` unless predictions can be written under that name."""
    if path.suffix not in ENDINGS:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(ENDINGS)}")


def _at(values: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Of values of each class `[N, ..., C]` those of the labels `[N, ...]`."""
    return np.take_along_axis(values, label[..., None], axis=-1)[..., 0]


def _called(label: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Labels by their names; those that have none, as where a model has more outputs, by their numbers."""
    if not classes:
        return label
    more = range(len(classes), int(label.max(initial=0)) + 1)
    return np.asarray([*classes, *map(str, more)], object)[label]


def _columns(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs of numbers for each input as columns."""
    found: dict[str, np.ndarray] = {}
    for name, values in outputs.items():
        flat = values.reshape(len(values), -1)
        alone = flat.shape[1] == 1
        found |= {name if alone else f"{name}_{i}": flat[:, i] for i in range(flat.shape[1])}
    return found
