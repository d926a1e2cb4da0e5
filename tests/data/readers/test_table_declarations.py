"""What a table's columns mean is declared, or refused: numbers, dates, gaps, groups, weights, files."""

import gzip

import numpy as np
import pandas as pd
import pytest

from fdl.data.partition import split_groups, split_rows
from fdl.data.readers.table import table
from fdl.data.splits import Splits

N = 40
Y = [number % 2 for number in range(N)]


def write(path, **columns):
    frame = pd.DataFrame(columns)
    return frame.to_csv(path, index=False) or path


def refused(path, *words, **arguments):
    with pytest.raises(ValueError) as error:
        table(path, **{"target": "y", **arguments})
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


def arrays_of(splits: Splits):
    return splits.train, splits.validation, splits.test


ALIKE = {
    "thousands": ([f"{1 + row},{100 + 7 * row}" for row in range(N)], ("looks like numbers", "thousands")),
    "decimal comma": ([f"{row},{10 + row % 9}" for row in range(N)], ("looks like numbers", "`decimal`")),
    "some with thousands": (["950"] * 25 + ["1,037"] * 15, ("'1,037' is not a number", "thousands")),
    "per cent": ([f"{row % 4}%" for row in range(N)], ("looks like numbers", "'0%'", "converters")),
    "dollars": ([f"${row}.00" for row in range(N)], ("looks like numbers", "'$0.00'", "converters")),
    "euros": ([f"{row % 5} €" for row in range(N)], ("looks like numbers", "converters")),
    "units": ([f"{row % 5}kg" for row in range(N)], ("looks like numbers", "converters")),
    "dates": ([f"2024-01-{1 + row % 28:02d}" for row in range(N)], ("looks like dates", "`dates`")),
    "German dates": ([f"{1 + row % 5}.2.2024" for row in range(N)], ("looks like dates", "`dates`")),
    "months by name": ([f"Jan {1 + row % 5}, 2024" for row in range(N)], ("looks like dates",)),
    "clocks": ([f"{row % 5}:30" for row in range(N)], ("looks like dates",)),
    "eight digits": ([20240101 + row % 28 for row in range(N)], ("looks like dates", "%Y%m%d")),
    "names": ([f"Ann {chr(65 + row % 26)}{row}" for row in range(N)], ("40 different texts in 40", "drop")),
    "unknown sign": (["?", *range(39)], ("'?' is not a number", "na_values")),
    "no gap": ([None, *range(39)], ("line 2", "the value is missing", "`missing`")),
    "no category": ([None, *["u", "v", "w"] * 13], ("line 2", "the value is missing", "`missing`")),
}


@pytest.mark.parametrize("name", ALIKE)
def test_columns_that_may_be_no_categories_are_refused(tmp_path, name):
    cells, words = ALIKE[name]
    refused(write(tmp_path / "t.csv", a=cells, b=range(N), y=Y), "'a'", *words)
    if words[0].startswith("looks") and name != "eight digits":
        refused(write(tmp_path / "t.csv", a=range(N), y=cells), "'y'", *words)  # nor classes


@pytest.mark.parametrize(
    "cells",
    (["20-29", "30-39"] * 20, ["1st", "2nd"] * 20, ["may", "june"] * 20, ["A1", "B2", "C3", "D4"] * 10),
)
def test_categories_are_not_refused(tmp_path, cells):
    splits = table(write(tmp_path / "t.csv", a=cells, y=Y), target="y")
    assert splits.train["x"].shape == (24, len(set(cells)))


def test_a_target_of_nearly_all_distinct_numbers_is_a_quantity(tmp_path):
    refused(write(tmp_path / "t.csv", a=range(N), y=range(100, 100 + N)), "regression=True")


def values_of(splits):
    """One feature of all rows, in the order of the file."""
    column = np.empty(N)
    for part, rows in zip(arrays_of(splits), split_rows(np.array(Y), N), strict=True):
        column[rows] = part["x"][:, 0]
    return column


NUMBERS = np.arange(N) * 1037.5 + 0.25


@pytest.mark.parametrize(
    ("cells", "arguments"),
    (
        ([f"{value:,}" for value in NUMBERS], {"thousands": ","}),
        ([f"{value}".replace(".", ",") for value in NUMBERS], {"decimal": ","}),
        (
            [f"{value:,}".translate({44: 46, 46: 44}) for value in NUMBERS],
            {"decimal": ",", "thousands": "."},
        ),
        ([f"${value}" for value in NUMBERS], {"converters": {"a": lambda cell: float(cell.strip("$"))}}),
        (["$" + f"{v};" for v in NUMBERS], {"converters": {"a": lambda cell: float(cell.strip("$;"))}}),
    ),
)
def test_declared_numbers_have_their_values(tmp_path, cells, arguments):
    splits = table(write(tmp_path / "t.csv", a=cells, y=Y), target="y", **arguments)
    train = NUMBERS[split_rows(np.array(Y), N)[0]]
    np.testing.assert_allclose(
        values_of(splits), (NUMBERS - train.mean()) / train.std(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("cell", ("1,03", "1,0375", ",037", "1,,037", "1,037,", "10,37"))
def test_groups_of_other_than_three_digits_are_no_thousands(tmp_path, cell):
    cells = [cell, *["1,037"] * (N - 1)]
    refused(write(tmp_path / "t.csv", a=cells, y=Y), "line 2", repr(cell), thousands=",")


@pytest.mark.parametrize("form", ("%d.%m.%Y %H:%M", "ISO8601"))
def test_dates_become_features(tmp_path, form):
    moments = pd.date_range("2023-12-28 06:00", periods=N, freq="36h")
    cells = moments.strftime("%d.%m.%Y %H:%M") if form[0] == "%" else moments.strftime("%Y-%m-%dT%H:%M:%S")
    splits = table(write(tmp_path / "t.csv", a=cells, y=Y), target="y", dates={"a": form})
    rows = split_rows(np.array(Y), N)
    days = moments.to_julian_date().to_numpy()
    year = (moments.day_of_year - 1 + moments.hour / 24) / (365 + moments.is_leap_year)
    week, day = (moments.day_of_week + moments.hour / 24) / 7, moments.hour / 24
    waves = [wave(2 * np.pi * np.asarray(turn)) for turn in (year, week, day) for wave in (np.sin, np.cos)]
    expected = np.stack([(days - days[rows[0]].mean()) / days[rows[0]].std(), *waves], axis=1)
    for part, index in zip(arrays_of(splits), rows, strict=True):
        np.testing.assert_allclose(part["x"], expected[index], atol=2e-5)


def test_dates_of_parquet_need_their_declaration(tmp_path):
    moments = pd.date_range("2024-01-01", periods=N)
    pd.DataFrame({"a": moments, "y": Y}).to_parquet(tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", "'a'", "looks like dates")
    splits = table(tmp_path / "t.parquet", target="y", dates={"a": "ISO8601"})
    assert splits.train["x"].shape == (24, 5)  # no time of day


def test_a_date_of_another_form_is_named(tmp_path):
    path = write(tmp_path / "t.csv", a=["31.12.2023"] * 39 + ["2023-12-31"], y=Y)
    refused(path, "line 41", "'2023-12-31'", "%d.%m.%Y", dates={"a": "%d.%m.%Y"})
    refused(path, "no format", dates={"a": "%Q"})


def test_missing_values_as_declared(tmp_path):
    numbers = [float(row) for row in range(N)]
    gaps = [None if row % 5 == 0 else value for row, value in enumerate(numbers)]
    path = write(tmp_path / "t.csv", a=gaps, b=["u", "v", None, "w"] * 10, c=numbers, y=Y)
    splits = table(path, target="y", missing="impute")
    rows = split_rows(np.array(Y), N)
    known = np.array([row for row in rows[0] if row % 5])
    for part, index in zip(arrays_of(splits), rows, strict=True):
        gone = index % 5 == 0
        expected = np.where(gone, 0, (index - known.mean()) / known.std())
        np.testing.assert_allclose(part["x"][:, 0], expected, atol=1e-6)
        np.testing.assert_array_equal(part["x"][:, 1], gone)
        np.testing.assert_array_equal(part["x"][:, 2], index % 4 == 2)
        assert part["x"].shape[1] == 2 + 4 + 1  # c has no gap, and no flag
    kept = [row for row in range(N) if row % 5 and row % 4 != 2]
    dropped = table(path, target="y", missing="drop")
    assert sum(len(part["y"]) for part in arrays_of(dropped)) == len(kept)
    mixed = table(path, target="y", missing={"a": "drop", "b": "impute"})
    assert mixed.train["x"].shape[1] == 1 + 4 + 1
    refused(path, "line 4", "'b'", missing={"a": "drop"})
    refused(path, "'aa'", missing={"aa": "drop"})
    refused(path, "'fill'", missing="fill")


@pytest.mark.parametrize("cell", ("NA", "n/a", "", "NaN", "None"))
def test_a_missing_target_is_no_class(tmp_path, cell):
    path = write(tmp_path / "t.csv", a=range(N), y=[cell, *["u", "v", "w"] * 13])
    refused(path, "line 2", "'y'", "the target is missing", "'drop'")
    assert table(path, target="y", missing={"y": "drop"}).classes == ("u", "v", "w")


def test_other_texts_may_mean_a_gap(tmp_path):
    path = write(tmp_path / "t.csv", a=["?", *range(39)], y=[*["none"] * 10, *["some"] * 30])
    splits = table(path, target="y", na_values=["?"], missing="impute")
    assert splits.classes == ("none", "some") and splits.train["x"].shape[1] in (1, 2)


def table_text(mark):
    return "\n".join(f"{row}{mark}{row * row}{mark}{row % 2}" for row in range(N))


@pytest.mark.parametrize(
    ("name", "mark", "arguments"),
    (
        ("t.csv", ",", {}),
        ("t.CSV", ",", {}),
        ("t.tsv", "\t", {}),
        ("t.csv.gz", ",", {}),
        ("t.TSV.GZ", "\t", {}),
        ("t.csv", ";", {"separator": ";"}),
        ("t.csv", "|", {"separator": "|"}),
    ),
)
def test_files_by_their_endings(tmp_path, name, mark, arguments):
    text = f"a{mark}b{mark}y\n{table_text(mark)}\n"
    content = gzip.compress(text.encode()) if name.lower().endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(content)
    splits = table(tmp_path / name, target="y", **arguments)
    rows = split_rows(np.array(Y), N)[0]
    np.testing.assert_allclose(
        splits.train["x"][:, 0], (rows - rows.mean()) / rows.std(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("mark", (";", "\t", "|"))
def test_another_separator_is_told(tmp_path, mark):
    (tmp_path / "t.csv").write_text(f"a{mark}b{mark}y\n{table_text(mark)}\n")
    refused(tmp_path / "t.csv", "line 1", f"pass separator={mark!r}")
    (tmp_path / "t.csv").write_text(f"a, b{mark}c{mark}y\n{table_text(mark)}\n")
    refused(tmp_path / "t.csv", f"pass separator={mark!r}")


@pytest.mark.parametrize("content", (b"", b"a,y\n1,2", gzip.compress(b"a,y\n" * 99, mtime=0)[:-9]))
def test_damaged_gzip(tmp_path, content):
    (tmp_path / "t.csv.gz").write_bytes(content)
    refused(tmp_path / "t.csv.gz", "t.csv.gz")


def test_parts_from_files(tmp_path):
    sizes, paths = {"train": 20, "validation": 8, "test": 12}, {}
    for name, size in sizes.items():
        numbers = np.arange(size) + 100 * len(paths)
        paths[name] = write(tmp_path / f"{name}.csv", a=numbers, b=["u", name] * (size // 2), y=Y[:size])
    others = {"validation": paths["validation"], "test": paths["test"]}
    splits = table(paths["train"], target="y", **others)
    train = np.arange(20)
    for number, (name, part) in enumerate(zip(sizes, arrays_of(splits), strict=True)):
        expected = (np.arange(sizes[name]) + 100 * number - train.mean()) / train.std()
        np.testing.assert_allclose(part["x"][:, 0], expected, rtol=1e-5)
        assert part["x"].shape == (sizes[name], 3) and part["y"].tolist() == Y[: sizes[name]]
    two = table(paths["train"], target="y", test=paths["test"])
    assert [len(part["y"]) for part in arrays_of(two)] == [16, 4, 12]
    refused(paths["train"], "test", validation=paths["validation"])
    write(tmp_path / "short.csv", a=range(6), y=Y[:6])
    refused(paths["train"], "short.csv", "no column 'b'", test=tmp_path / "short.csv")
    write(tmp_path / "other.csv", a=range(6), b=["u"] * 6, y=[0, 1, 2] * 2)
    refused(paths["train"], "class '2'", "no row of train", test=tmp_path / "other.csv")
    write(tmp_path / "gap.csv", a=[1, None, 3], b=["u"] * 3, y=[0, 1, 0])
    refused(paths["train"], "gap.csv: line 3", "'a'", "missing", test=tmp_path / "gap.csv")


def test_groups_stay_together(tmp_path):
    people = [f"p{row % 10}" for row in range(N)]
    path = write(tmp_path / "t.csv", who=people, a=range(N), y=Y)
    splits = table(path, target="y", group="who")
    train = split_groups(np.array(people))[0]
    np.testing.assert_allclose(
        splits.train["x"][:, 0], (train - train.mean()) / train.std(), rtol=1e-5, atol=1e-6
    )
    found = [{people[row] for row in rows} for rows in split_groups(np.array(people))]
    assert (
        [len(names) for names in found] == [6, 2, 2] and not found[0] & found[1] and not found[1] & found[2]
    )
    assert sorted(np.concatenate(split_groups(np.array(people)))) == list(range(N))
    write(tmp_path / "test.csv", who=["p3", "q", "r"], a=range(3), y=[0, 1, 0])
    refused(path, "'p3'", "more than one of the files", group="who", test=tmp_path / "test.csv")
    with pytest.raises(ValueError, match="2 groups"):
        split_groups(np.array(["a", "b"] * 9))


def test_several_targets_and_weights(tmp_path):
    path = write(tmp_path / "t.csv", a=range(N), y=Y, z=[row / 4 for row in range(N)], w=[2, 0] * 20)
    splits = table(path, target=("y", "z"), weight="w", regression=True)
    rows = split_rows(None, N)[0]
    np.testing.assert_array_equal(splits.train["y"], np.stack([rows % 2, rows / 4], axis=1))
    np.testing.assert_array_equal(splits.train["sample_weight"], 2 - 2 * (rows % 2))
    assert splits.train["x"].shape == (24, 1)
    both = write(tmp_path / "two.csv", a=range(N), y=Y, z=[0, 1, 1, 0] * 10)
    labels = table(both, target=("y", "z")).train["y"]
    np.testing.assert_array_equal(labels, np.stack([rows % 2, np.isin(rows % 4, (1, 2))], axis=1))
    refused(path, "line 3", "'z'", "neither 0 nor 1", target=("y", "z"))
    refused(path, "different columns", target=("y", "y"))
    write(tmp_path / "t.csv", a=range(N), y=Y, w=[-1, 1] * 20)
    refused(path, "line 2", "'w'", "at least 0", weight="w")


def test_what_is_kept_is_no_feature(tmp_path):
    columns = {"a": range(N), "sex": ["m", "f"] * 20, "age": [30.5, 7] * 20, "code": [10, 9] * 20, "y": Y}
    path, keep = write(tmp_path / "t.csv", **columns), ("sex", "age", "code")
    splits, plain = (
        table(path, target="y", keep=keep, categorical=["code"]),
        table(path, target="y", drop=keep),
    )
    odd = split_rows(np.array(Y), N)[2] % 2
    assert splits.test["sex"].dtype == splits.test["code"].dtype == np.int32
    np.testing.assert_array_equal(splits.test["sex"], 1 - odd)  # "f" before "m"
    np.testing.assert_array_equal(splits.test["code"], odd)  # "10" before "9"
    np.testing.assert_array_equal(splits.test["age"], np.where(odd, 7, 30.5).astype(np.float32))
    np.testing.assert_array_equal(splits.train["x"], plain.train["x"])
    assert set(splits.validation) == {"x", "y", *keep} and splits.reader is not None
    assert set(splits.reader.read(path)) == {"x"}
    gone = write(tmp_path / "gone.csv", a=range(N), sex=["m", "", *["f"] * 38], y=Y)
    refused(gone, "line 3", "'sex'", "what is kept is missing", keep=["sex"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    (
        ({"dates": {"b": "%Y"}, "categorical": ["b"]}, ("'b'", "categorical and dates")),
        ({"converters": {"c": float}}, ("'c'",)),
        ({"group": "y"}, ("different columns",)),
        ({"weight": "v"}, ("'v'",)),
        ({"keep": "b"}, ("keep is the text 'b'",)),
        ({"keep": ["v"]}, ("'v'",)),
        ({"keep": ["y"]}, ("keep has 'y'",)),
        ({"keep": ["b", "b"]}, ("different columns",)),
        ({"decimal": "x"}, ("decimal",)),
        ({"thousands": "."}, ("thousands",)),
        ({"separator": ",,"}, ("separator",)),
        ({"drop": "b"}, ("drop",)),
        ({"categorical": "b"}, ("categorical",)),
        ({"na_values": "NA"}, ("na_values",)),
        ({"converters": {"b": lambda cell: 1 / 0}}, ("line 2", "'b'", "ZeroDivisionError")),
    ),
)
def test_declarations_that_do_not_fit(tmp_path, arguments, words):
    refused(write(tmp_path / "t.csv", a=range(N), b=["u", "v"] * 20, y=Y), *words, **arguments)
