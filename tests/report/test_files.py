"""The report in files."""

import dataclasses
import os
import warnings
from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest

from fdl.cells import column, identities
from fdl.report import write
from tests.report.examples import crossed, example, lost, single, verdict


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@pytest.mark.medium
def test_what_is_written(tmp_path: Path):
    write(crossed(), verdict(), tmp_path / "new" / "run")
    drawn = [f"test-{name}-{kind}" for name in ("accuracy", "loss") for kind in ("curves", "distribution")]
    pictures = [f"figures/{name}.{suffix}" for name in drawn for suffix in ("png", "svg")]
    tables = ["failures.parquet", "results.parquet"]
    assert files(tmp_path / "new" / "run") == sorted([*pictures, *tables, "report.html"])
    assert (tmp_path / "new/run/figures/test-loss-curves.png").read_bytes().startswith(b"\x89PNG")
    assert "Do skip connections" in (tmp_path / "new/run/report.html").read_text(encoding="utf-8")


def test_what_is_logged_between_evaluations_has_a_table_and_curves(tmp_path: Path):
    result = example({"x=1": {"x": 1}, "x=2": {"x": 2}}, seeds=2)
    log = result.frame.drop(columns=[name for name in result.metrics if not name.startswith("train/")])
    steps = log["step"].to_numpy()
    log = pd.concat([log.assign(step=steps - share) for share in (2, 1, 0)], ignore_index=True)
    write(dataclasses.replace(result, log=log), None, tmp_path)
    logged = [name for name in log if "/" in name]
    drawn = {name for name in files(tmp_path) if name.startswith("figures/train-") and name.endswith(".svg")}
    assert logged and drawn == {f"figures/{name.replace('/', '-')}-curves.svg" for name in logged}
    count = log["step"].nunique()
    assert f"{count} logged means" in (tmp_path / "report.html").read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "log.parquet"), log)


@pytest.mark.medium
@pytest.mark.parametrize("result", [crossed(), single(), lost()], ids=["crossed", "single", "lost"])
def test_tables_come_back_as_they_were(result, tmp_path: Path):
    write(result, None, tmp_path)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "results.parquet"), result.frame.reset_index(drop=True)
    )
    failures = pd.read_parquet(tmp_path / "failures.parquet")
    pd.testing.assert_frame_equal(failures, result.failures.reset_index(drop=True), check_dtype=False)


def test_any_name_of_a_metric_can_be_reported(tmp_path: Path):
    names = ("test/a/b", "test/a-b", f"test/{'long' * 75}\0\\:*$x^")
    result = example({"x=1": {"x": 1}, "x=2": {"x": 2}}, seeds=1)
    frame = result.frame.drop(columns=list(result.metrics))
    frame = frame.assign(**dict.fromkeys(names, 0.5))
    result = dataclasses.replace(result, frame=frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(result, None, tmp_path)
    pictures = [name for name in files(tmp_path) if name.endswith(".svg")]
    assert len(pictures) == len(names)
    assert all(len(name) < 120 for name in pictures)
    assert "figures/test-a-b-curves.svg" in pictures


def test_a_field_of_mixed_types_comes_back_as_text(tmp_path: Path):
    values = {"a": False, "b": "batch", "c": None, "d": 3}
    result = example({name: {"norm": value} for name, value in values.items()}, seeds=1)
    write(result, None, tmp_path)
    stored = pd.read_parquet(tmp_path / "results.parquet").groupby("arm")["norm"].first()
    assert stored.astype(object).where(stored.notna(), None).to_dict() == {
        "a": "False",
        "b": "batch",
        "c": None,
        "d": "3",
    }


@pytest.mark.medium
@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ((None, 1, 3), (None, 1, 3)),
        ((None, True, False), (None, True, False)),
        ((None, 0.5, 2.0), (None, 0.5, 2.0)),
        ((None, "a", "b"), (None, "a", "b")),
        ((1, 2, 3), (1, 2, 3)),
        ((1, 1.0, True, None), ("1", "1.0", "True", None)),
        ((None,), (None,)),
    ],
    ids=str,
)
def test_values_come_back_by_pandas_and_by_pyarrow(values, stored, tmp_path: Path):
    arms = {f"arm {i}": {"x": value} for i, value in enumerate(values)}
    result = example(arms, seeds=1, evaluations=1)
    lost = pd.DataFrame({"arm": list(arms), "seed": 1, "step": 5, "metric": "train/loss"})
    frame, lost = (table.assign(x=column(values)) for table in (result.frame, lost))
    write(dataclasses.replace(result, frame=frame, failures=lost), None, tmp_path)
    for name in ("results.parquet", "failures.parquet"):
        assert identities(pd.read_parquet(tmp_path / name)["x"]) == identities(stored)
        assert identities(pyarrow.parquet.read_table(tmp_path / name)["x"].to_pylist()) == identities(stored)


@pytest.mark.medium
def test_an_older_report_is_replaced(tmp_path: Path):
    write(single(), verdict(), tmp_path)
    before = files(tmp_path)
    again = dataclasses.replace(single(), meta={"question": "Another question?"})
    write(again, None, tmp_path)
    assert files(tmp_path) == before
    assert "Another question?" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(single(), None, tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write(crossed(), verdict(), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
