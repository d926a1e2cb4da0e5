"""`fdl data`: which data sets there are, getting their files, and a look at them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fdl import data
from fdl.data.datasets.catalog import DATA_SETS
from fdl.data.datasets.data_set import DataSet, Origin, load_data_set
from fdl.data.datasets.published import say_on_stderr
from fdl.data.paths import locate
from fdl.data.splits import Part, Rows, parts, row_of, size_of
from fdl.storage import Folder, kind_of, path_of
from fdl.text import hint

USAGE = """usage: fdl data list [--json]          every data set, and which are on this machine
       fdl data get NAME               downloads what is missing of a published one
       fdl data show NAME|PATH [--out FILE] [--rows N]
                                       sizes, and a few rows: a picture for images and sound, else text"""


def execute(words: Sequence[str]) -> int:
    """Runs `fdl data ...`; returns the exit code.

    Raises:
      ValueError: words that it does not take, or data that cannot be read.
      OSError: a file cannot be read, written or downloaded.
    """
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    action, *rest = words
    if action == "list" and set(rest) <= {"--json"}:
        return _list(as_json=bool(rest))
    if action == "get" and len(rest) == 1:
        print(_get(rest[0]))
        return 0
    if action == "show":
        return _show(*_show_words(rest))
    raise ValueError(f"fdl data does not take {' '.join(words)!r}; {' '.join(USAGE.split())}")


def _list(*, as_json: bool) -> int:
    rows = [(one.name, one.what, _where(one)) for one in DATA_SETS]
    if as_json:
        print(json.dumps([dict(zip(("name", "what", "where"), row, strict=True)) for row in rows]))
        return 0
    width = max(len(name) for name, *_ in rows)
    for name, what, where in rows:
        print(f"{name:{width}}  {what} ({where})")
    return 0


def _where(one: DataSet) -> str:
    if one.origin is not Origin.PUBLISHED:
        return one.origin.value
    found = [locate(*names) for names in one.places]
    if found[0] is not None and all(found):
        return f"in {found[0].parent}"
    size = sum(file.bytes for file in one.files)
    return f"not here: fdl data get {one.name} downloads {size / 1e6:.0f} MB; {one.licence}"


def _get(name: str) -> Folder:
    """Where a published data set lies, downloaded if it was not there."""
    get = {one.name: one.get for one in DATA_SETS if one.get is not None}
    if name not in get:
        raise ValueError(f"no published data set {name!r}; {hint(name, get)}")
    return get[name](say_on_stderr)


def _show_words(words: Sequence[str]) -> tuple[str, Path | None, int]:
    """The name, the file to write and how many rows."""
    names, out, rows, rest = [], None, 32, list(words)
    while rest:
        word = rest.pop(0)
        if word in ("--out", "--rows") and not rest:
            raise ValueError(f"{word} needs a value; {' '.join(USAGE.split())}")
        if word == "--out":
            out = Path(rest.pop(0))
        elif word == "--rows":
            value = rest.pop(0)
            if not value.isdigit() or int(value) < 1:
                raise ValueError(f"--rows is {value!r}; expected a whole number from 1")
            rows = int(value)
        else:
            names.append(word)
    if len(names) != 1 or names[0].startswith("-"):
        raise ValueError(f"fdl data show takes one name or path, got {names}; {' '.join(USAGE.split())}")
    return names[0], out, rows


def _show(name: str, out: Path | None, rows: int) -> int:
    loaded = _loaded(name)
    if isinstance(loaded, dict):
        loaded = _alone(loaded)
    for title, part in parts(loaded).items():
        forms: Any = jax.tree_util.tree_leaves_with_path(row_of(part))
        named = {"/".join(str(key.key) for key in path): one for path, one in forms}
        columns = ", ".join(f"{key} {one.dtype}{list(one.shape)}" for key, one in named.items())
        print(f"{title}: {size_of(part):,} rows of {columns}")
    if loaded.classes:
        print(f"classes: {', '.join(map(repr, loaded.classes[:12]))}{' ...' if loaded.classes[12:] else ''}")
    taken = _some(loaded.train, rows)
    picture = _picture(loaded, taken)
    if picture is None:
        _print_rows(loaded, taken)
        return 0
    path = out or Path(f"{Path(name).name}.png")
    picture.save(path)
    print(f"{path}: {len(next(iter(taken.values())))} rows of train")
    return 0


def _loaded(name: str) -> Any:
    """A data set by name, or what a path holds."""
    known = {one.name: one for one in DATA_SETS}
    path = path_of(name)
    if name in known:
        found = load_data_set(known[name])
        if not isinstance(found, Path):
            return found
        path = found
    if not (kind := kind_of(path)):
        raise ValueError(
            f"no data set and no file {name!r}; {hint(name, known, else_say='fdl data list names all')}"
        )
    if kind == "directory":
        return data.image_folder(path, size=64)
    if path.suffix == ".npz" and path.stem == "fsdd":
        return data.spoken_digits(path)
    if path.suffix == ".txt":
        return data.text(path, length=256)
    raise ValueError(f"{path} ends in {path.suffix!r}; expected a folder of images or a .txt file")


def _alone(arrays: dict[str, np.ndarray]) -> data.Splits:
    """Arrays that are no splits, such as photographs of different sizes, as one part."""
    if len({len(array) for array in arrays.values()}) > 1 or "x" not in arrays:
        from PIL import Image

        small = [np.asarray(Image.fromarray(one).resize((256, 256))) for one in arrays.values()]
        arrays = {"x": np.stack(small), "y": np.arange(len(small))}
    return data.Splits(arrays, arrays, arrays)


def _some(part: Part, rows: int) -> dict[str, np.ndarray]:
    """Rows at even distances, so that all classes are seen where the order is by class."""
    count = min(rows, size_of(part))
    index = np.arange(count) * size_of(part) // count
    return (
        part.take(index) if isinstance(part, Rows) else {name: array[index] for name, array in part.items()}
    )


def _picture(splits: data.Splits, rows: dict[str, np.ndarray]) -> Any:
    """Images, or the log-mel features of sound, as one picture; None for anything else."""
    x, labels = rows.get("x"), None
    if x is None or (x.ndim < 3 and x.dtype != np.int16) or (x.ndim == 3 and x.shape[-1] <= 4):
        return None
    if "y" in rows and rows["y"].ndim == 1:
        names = splits.classes
        labels = [_called(y, names) for y in rows["y"].tolist()]
    if x.dtype == np.int16:
        wave = jax.numpy.asarray(x, np.float32) / 2**15
        features = data.log_mel(wave, rate=8000, window=256, hop=128, mels=40)
        x = np.asarray(jax.device_get(features)).transpose(0, 2, 1)[:, ::-1]
    return data.contact_sheet(x, labels=labels)


def _print_rows(splits: data.Splits, rows: dict[str, np.ndarray]) -> None:
    """Numbers of x, and y: the names of its tokens or of its class, else numbers."""
    x, names = rows["x"], splits.classes
    for row in range(len(x)):
        y: np.ndarray = rows["y"][row, ...] if "y" in rows else np.zeros(0)
        if names and y.dtype.kind in "iu":
            joint = "" if all(len(name) == 1 for name in names) else " "
            text = joint.join(_called(token, names) for token in y.ravel().tolist()).split(" <pad>")[0]
            print(text if y.ndim and joint == "" else f"{_numbers(x[row])}  {text}")
        else:
            print(f"{_numbers(x[row])}  {_numbers(y)}")


def _called(label: int, names: Sequence[str]) -> str:
    """The name of a label or token, or its number where it has no name."""
    return names[label] if 0 <= label < len(names) else str(label)


def _numbers(values: np.ndarray) -> str:
    shown = np.array2string(values.ravel()[:12], precision=3, max_line_width=200, suppress_small=True)
    return f"{shown[:-1]} ...]" if values.size > 12 else shown
