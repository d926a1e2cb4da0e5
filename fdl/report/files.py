"""The report in files: each is there whole or not at all."""

import io
from typing import TYPE_CHECKING, Any

import pandas as pd

from fdl.cells import identities
from fdl.result import Result
from fdl.serialization import file_name, marked
from fdl.stats import Verdict
from fdl.storage import Folder, in_bucket, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILES = ("report.html", "results.parquet", "failures.parquet", "log.parquet", "figures", "model_card.json")
"""What a report may be made of."""
_NULLABLE = {"int": "Int64", "bool": "boolean", "float": "Float64"}
"""By the name of a Python type, the pandas one that has a place for None."""


def write(
    result: Result, verdict: Verdict | None, directory: Folder, table: pd.DataFrame | None = None
) -> None:
    """Writes `report.html`, `results.parquet`, `failures.parquet`, `figures/` and, where step metrics are
    logged, `log.parquet` into a directory.

    An older report there is replaced, file by file; a reader never sees half a file. A model card that is
    there (`fdl check`) is on the page. With a `table`, `results.parquet` has that: a search has more runs
    than its result.

    Raises:
      OSError: the directory cannot be written.
      ValueError: the model card there is damaged.
    """
    # Here, as they load Seaborn and Matplotlib: seconds that a command which is refused need not wait.
    from fdl.report import figures, html
    from fdl.report.model_card import read_card

    folder = directory / "figures"
    if not in_bucket(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_table(result.frame if table is None else table, directory)
    write_atomically(directory / "failures.parquet", _parquet(result.failures))
    if result.log is not None:
        write_atomically(directory / "log.parquet", _parquet(result.log))
    drawings = figures.draw(result)
    taken: dict[str, str] = {}
    for drawing in drawings:
        name = file_name(drawing.metric.replace("/", "-"), of=drawing.metric)
        if taken.setdefault(name, drawing.metric) != drawing.metric:  # as test/a-b and test/a/b
            name = marked(name, of=drawing.metric)
        for suffix in ("png", "svg"):
            write_atomically(folder / f"{name}-{drawing.kind}.{suffix}", _image(drawing.figure, suffix))
    write_atomically(
        directory / "report.html", html.render(result, verdict, drawings, read_card(directory)).encode()
    )


def write_results(result: Result, directory: Folder) -> None:
    """Writes `results.parquet` alone, the tidy table, also of runs that still run; the folder must exist.

    Raises:
      OSError: it cannot be written; what was there before is whole.
    """
    write_table(result.frame, directory)


def write_table(table: pd.DataFrame, directory: Folder) -> None:
    """Writes `results.parquet` of any tidy table; errors as of `write_results`."""
    write_atomically(directory / "results.parquet", _parquet(table))


def _parquet(frame: pd.DataFrame) -> bytes:
    """A table as Parquet, which has one type a column.

    Whole numbers beside None stay whole numbers, and truth values such; what mixes types becomes text.
    """
    stored: dict[str, Any] = {}
    for name in filter(lambda name: pd.api.types.is_object_dtype(frame[name]), frame.columns):
        there = identities(frame[name])
        kinds, plain = {kind for kind, value in there if value is not None}, [value for _, value in there]
        if len(kinds) > 1:
            stored[name] = [None if value is None else str(value) for value in plain]
        elif kinds and kinds <= _NULLABLE.keys():
            stored[name] = pd.array(plain, dtype=_NULLABLE[kinds.pop()])
    return frame.assign(**stored).to_parquet(None, index=False)


def _image(figure: "Figure", suffix: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, dpi=160)
    return buffer.getvalue()
