"""The report in files: each is there whole or not at all."""

import io
import os
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from fdl.bucket import Folder, in_bucket, put
from fdl.report import figures, html
from fdl.result import Result
from fdl.stats import Verdict


def write(result: Result, verdict: Verdict | None, directory: Folder) -> None:
    """Writes `report.html`, `results.parquet`, `failures.parquet` and `figures/` into a directory.

    An older report there is replaced, file by file; a reader never sees half a file.

    Raises:
      OSError: the directory cannot be written.
    """
    folder = directory / "figures"
    if not in_bucket(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _replace(directory / "results.parquet", _parquet(result.frame))
    _replace(directory / "failures.parquet", _parquet(result.failures))
    drawings = figures.draw(result)
    for drawing in drawings:
        for suffix in ("png", "svg"):
            name = f"{drawing.metric.replace('/', '-')}-{drawing.kind}.{suffix}"
            _replace(folder / name, _image(drawing.figure, suffix))
    _replace(directory / "report.html", html.render(result, verdict, drawings).encode())


def _replace(path: Folder, content: bytes) -> None:
    if in_bucket(path):
        put(path, content)
        return
    assert isinstance(path, Path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _parquet(frame: pd.DataFrame) -> bytes:
    """A table as Parquet; a column that mixes types becomes text, for Parquet has one type a column."""
    mixed = [name for name in frame if pd.api.types.infer_dtype(frame[name]).startswith("mixed")]
    frame = frame.assign(**{name: frame[name].map(str, na_action="ignore") for name in mixed})
    return frame.to_parquet(None, index=False)


def _image(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, dpi=160)
    return buffer.getvalue()
