"""Tables against pandas: the split, the scaling, the categories, and every way a file can be wrong."""

import hashlib
import io
import os

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from fdl.data.partition import split_rows
from fdl.data.readers.table import table
from fdl.data.splits import Rows, parts

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, 97),
        "city": RNG.choice(["Oslo", "Rome, Italy", 'the "Hague"', "東京", ""], 97),
        "pressure": RNG.normal(1e6, 3.0, 97),
        "constant": np.full(97, 0.1),
        "smoker": RNG.random(97) < 0.5,
        "code": RNG.integers(1, 5, 97),
        "row": np.arange(97),
        "kind": RNG.choice(["cat", "ant", "bee"], 97),
        "grade": RNG.choice([10, 9, -2], 97),
        "cost": RNG.normal(size=97).astype(np.float32),
    }
)
OTHERS = {"kind", "grade", "cost"}


def rows_of(part):
    assert not isinstance(part, Rows)
    return part


def write(frame, path):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


def expected_features(frame, train):
    """The same by pandas: features [N, F] in the order of the columns."""
    columns = []
    for name in ("age", "pressure", "constant"):
        scale = frame[name][train].std(ddof=0) if frame[name][train].nunique() > 1 else 1.0
        columns.append(pd.DataFrame({name: (frame[name] - frame[name][train].mean()) / scale}))
        if name == "age":
            columns.append(pd.get_dummies(frame["city"]))
    columns += [pd.get_dummies(frame["smoker"]), pd.get_dummies(frame["code"])]
    return pd.concat(columns, axis=1).to_numpy(np.float32)


@pytest.mark.parametrize("suffix", (".csv", ".parquet"))
@pytest.mark.parametrize("target", sorted(OTHERS))
def test_features_and_targets_are_those_of_pandas(tmp_path, suffix, target):
    path = write(FRAME, tmp_path / f"t{suffix}")
    drop = ("row", *(OTHERS - {target}))
    splits = table(
        path, target=target, categorical=["code"], drop=drop, regression=target == "cost", missing="impute"
    )
    values = FRAME[target].to_numpy()
    classes, labels = np.unique(values, return_inverse=True)
    rows = split_rows(None if target == "cost" else labels, 97)
    features = expected_features(FRAME, rows[0])
    assert splits.classes == (() if target == "cost" else tuple(map(str, classes)))
    for part, index in zip(parts(splits).values(), rows, strict=True):
        assert rows_of(part)["x"].dtype == np.float32
        np.testing.assert_allclose(rows_of(part)["x"], features[index], atol=1e-5)
        if target == "cost":
            assert rows_of(part)["y"].dtype == np.float32
            np.testing.assert_array_equal(rows_of(part)["y"], values[index, None])
        else:
            assert rows_of(part)["y"].dtype == np.int32
            np.testing.assert_array_equal(rows_of(part)["y"], labels[index])


def test_constant_columns_are_exactly_zero(tmp_path):
    x = rows_of(table(write(FRAME[["constant", "kind"]], tmp_path / "t.csv"), target="kind").train)["x"]
    assert not x.any()


def test_categories_are_those_of_train(tmp_path):
    train, validation, test = split_rows(None, 40)
    colours = np.full(40, "red", object)
    colours[train[::2]], colours[validation[0]], colours[test[0]] = "blue", "green", "violet"
    frame = pd.DataFrame({"colour": colours, "y": np.arange(40.0)})
    splits = table(write(frame, tmp_path / "t.csv"), target="y", regression=True)
    assert rows_of(splits.train)["x"].tolist() == [
        [float(c == "blue"), float(c == "red")] for c in colours[train]
    ]
    for part in (splits.validation, splits.test):
        assert rows_of(part)["x"].tolist() == [[0.0, 0.0]] + [[0.0, 1.0]] * 7


def test_whole_floats_and_named_numbers_are_classes(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "1,2.0\n2,10.0\n3,2\n" * 3)
    assert table(tmp_path / "t.csv", target="y").classes == ("2", "10")
    (tmp_path / "t.csv").write_text("x,y\n" + "1,2\n2,10\n3,unknown\n" * 3)
    assert table(tmp_path / "t.csv", target="y", categorical=["y"]).classes == ("10", "2", "unknown")


def test_dialects_that_spreadsheets_write(tmp_path):
    plain = "a,y\n" + '1,"x\ny"\n 2 ,z\n' * 3
    (tmp_path / "a.csv").write_bytes(plain.encode())
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + plain.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    first, second = (table(tmp_path / name, target="y") for name in ("a.csv", "b.csv"))
    assert first.classes == ("x\ny", "z") and second.classes == ("x\r\ny", "z")
    np.testing.assert_array_equal(rows_of(first.train)["x"], rows_of(second.train)["x"])


def test_parquet_types(tmp_path):
    frame = pd.DataFrame(
        {
            "category": pd.Categorical(["b", "a", None] * 4, categories=["b", "a", "never"]),
            "nothing": ["p", None, "q"] * 4,
            "small": np.array([1, 2, 4] * 4, np.uint8),
            "half": np.array([1, 2, 4] * 4, np.float16),
            "y": [True, False, False] * 4,
        }
    )
    splits = table(write(frame, tmp_path / "t.parquet"), target="y", missing="impute")
    assert splits.classes == ("False", "True")
    rows = split_rows(frame["y"].to_numpy(), 12)
    for part, index in zip(parts(splits).values(), rows, strict=True):
        taken = frame.iloc[index]
        for place, (column, value) in enumerate(
            [("category", None), ("category", "a"), ("category", "b"), ("nothing", None)]
        ):
            expected = taken[column].isna() if value is None else taken[column] == value
            np.testing.assert_array_equal(rows_of(part)["x"][:, place], expected.astype(np.float32))
        np.testing.assert_array_equal(rows_of(part)["x"][:, -1], rows_of(part)["x"][:, -2])


CSV = "a,b,y\n1,u,0\n2,v,1\n3,u,0\n4,v,1\n5,u,0\n6,v,1\n"


@pytest.mark.parametrize(
    ("content", "words"),
    (
        pytest.param("", ("is empty",), id="empty"),
        pytest.param("\n\n", ("is empty",), id="blank"),
        pytest.param("a,b,y\n", ("0 rows", "at least 3"), id="header only"),
        pytest.param("a,b,y\n1,u,0\n2,v,1\n", ("2 rows", "at least 3"), id="two rows"),
        pytest.param(CSV.replace("3,", ","), ("line 4", "'a'", "missing"), id="empty cell"),
        pytest.param(CSV.replace("3,", "NaN,"), ("line 4", "'a'", "missing"), id="NaN"),
        pytest.param(CSV.replace("3,", "three,"), ("line 4", "'a'", "'three'", "categorical"), id="text"),
        pytest.param(CSV.replace("3,", "1_0,"), ("line 4", "'a'", "'1_0'"), id="underscore"),
        pytest.param(CSV.replace("3,", "-inf,"), ("line 4", "'a'", "-inf", "finite"), id="infinite"),
        pytest.param(CSV.replace("3,", "1e39,"), ("line 4", "'a'", "1e39", "float32"), id="too large"),
        pytest.param(CSV.replace("3,", f"{10**18 + 1},"), ("line 4", "'a'", "more digits"), id="too long"),
        pytest.param(CSV.replace("3,u", '"3\n",u').replace("5,", "?,"), ("line 7", "'?'"), id="long cell"),
        pytest.param(CSV.replace("3,u,0", "\n\n?,u,0"), ("line 6", "'?'"), id="after blank lines"),
        pytest.param(CSV.replace("3,u,0", "3,u"), ("line 4", "2 cells", "expected 3"), id="too few cells"),
        pytest.param(CSV.replace("1,u,0", "1,u,0,9"), ("line 2", "4 cells"), id="too many cells"),
        pytest.param(CSV.replace("3,u", '3,"u'), ("line 4", "end of data"), id="open quote"),
        pytest.param(CSV.replace("3,u", '3,"u"u'), ("line 4", "expected"), id="text after quote"),
        pytest.param(CSV.replace("a,b", "a,a"), ("columns 1 and 2", "'a'"), id="repeated name"),
        pytest.param(CSV.replace("a,b", ",b"), ("column 1 has no name", "index"), id="no name"),
        pytest.param(CSV.replace("b,y", "b,Y"), ("no column 'y'", "did you mean 'Y'"), id="no target"),
        pytest.param(CSV.replace("u,0", "u,1"), ("'y'", "'1'", "2 classes"), id="one class"),
        pytest.param(CSV.replace("3,u,0", "3,u,"), ("line 4", "'y'", "missing"), id="missing label"),
        pytest.param(CSV.replace("3,u,0", "3,u,.5"), ("line 4", "'y'", "regression=True"), id="quantity"),
        pytest.param("y\n" + "0\n1\n" * 4, ("no column but y",), id="no features"),
        pytest.param(CSV.replace("u", "").replace("v", ""), ("'b'", "no value"), id="empty column"),
    ),
)
def test_malformed_csv(tmp_path, content, words):
    (tmp_path / "t.csv").write_text(content)
    complaint(tmp_path / "t.csv", words)


def complaint(path, words, **arguments):
    with pytest.raises(ValueError) as error:
        table(path, **{"target": "y", **arguments})
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in (path.name, *words)), message


def test_missing_class_names(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,u\n2,v\n3,\n4,u\n")
    complaint(tmp_path / "t.csv", ("line 4", "'y'", "the target is missing"))


def test_csv_that_is_not_utf8(tmp_path):
    (tmp_path / "t.csv").write_bytes(CSV.replace("v", "é").encode("latin-1"))
    complaint(tmp_path / "t.csv", ("byte 14", "0xe9", "UTF-8"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    (
        ({"target": "yy"}, ("'yy'", "'y'")),
        ({"categorical": ["aa"]}, ("'aa'", "'a'")),
        ({"drop": ["bb"]}, ("'bb'", "'b'")),
        ({"drop": ["a", "b", "y"]}, ("'y'",)),
        ({"drop": ["y"]}, ("'y'",)),
        ({"categorical": ["y"], "regression": True}, ("'y'",)),
        ({"target": "b", "regression": True}, ("line 2", "'b'", "'u' is not a number")),
    ),
)
def test_arguments_that_do_not_fit_the_file(tmp_path, arguments, words):
    (tmp_path / "t.csv").write_text(CSV)
    complaint(tmp_path / "t.csv", words, **arguments)


def test_too_many_categories(tmp_path):
    frame = pd.DataFrame({"name": [f"n{number}" for number in range(2000)], "y": np.arange(2000) % 2})
    complaint(write(frame, tmp_path / "t.csv"), ("'name'", "1200", "drop"), categorical=["name"])


@pytest.mark.parametrize("name", ("missing.csv", "missing.parquet", "folder.csv", "folder.parquet"))
def test_files_that_cannot_be_read(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(OSError, match=name):
        table(tmp_path / name, target="y")


def test_other_kinds_of_file(tmp_path):
    complaint(tmp_path / "t.xlsx", ("'.xlsx'", ".csv or .parquet"))


def parquet(**columns):
    file = io.BytesIO()
    pd.DataFrame(columns).to_parquet(file, index=False)
    return file.getvalue()


GOOD = parquet(a=np.arange(50.0), y=np.arange(50) % 2)


@pytest.mark.parametrize(
    ("content", "words"),
    (
        pytest.param(b"", ("not a whole Parquet file",), id="empty"),
        pytest.param(CSV.encode(), ("not a whole Parquet file",), id="CSV"),
        pytest.param(GOOD[: len(GOOD) // 2], ("not a whole Parquet file",), id="first half"),
        pytest.param(GOOD[:-1], ("not a whole Parquet file",), id="last byte lost"),
        pytest.param(GOOD[:4] + bytes(60) + GOOD[64:], ("not a whole Parquet file",), id="damaged page"),
        pytest.param(parquet(a=np.zeros(0), y=np.zeros(0, int)), ("0 rows",), id="no rows"),
        pytest.param(parquet(a=[1, None, 3], y=[0, 1, 0]), ("row 1", "'a'", "missing"), id="null number"),
        pytest.param(parquet(a=[1.0, np.nan, 3], y=[0, 1, 0]), ("row 1", "'a'", "missing"), id="NaN"),
        pytest.param(parquet(a=[1.0, 2, np.inf], y=[0, 1, 0]), ("row 2", "'a'", "inf"), id="infinite"),
        pytest.param(parquet(a=[1, 2, 3], y=[0, None, 1]), ("row 1", "'y'", "missing"), id="null label"),
        pytest.param(parquet(a=[1, 2, 3], y=["u", "v", None]), ("row 2", "'y'", "missing"), id="null name"),
        pytest.param(parquet(a=[[1], [2], [3]], y=[0, 1, 0]), ("'a'", "list", "drop"), id="lists"),
        pytest.param(parquet(a=[None] * 3, y=[0, 1, 0]), ("'a'", "null"), id="only nulls"),
    ),
)
def test_malformed_parquet(tmp_path, content, words):
    (tmp_path / "t.parquet").write_bytes(content)
    complaint(tmp_path / "t.parquet", words)


def test_columns_that_are_dropped_may_be_of_any_type(tmp_path):
    (tmp_path / "t.parquet").write_bytes(parquet(a=[1, 2, 3], when=[pd.Timestamp(0)] * 3, y=[0, 1, 0]))
    assert rows_of(table(tmp_path / "t.parquet", target="y", drop=["when"]).train)["x"].shape == (1, 1)


def test_the_rule_is_the_documented_one_and_never_changes():
    labels = load_digits(return_X_y=True)[1]
    order = sorted((label, hashlib.sha256(b"%d" % row).hexdigest(), row) for row, label in enumerate(labels))
    slot = {row: 360 * place % 1797 for place, (_, _, row) in enumerate(order)}
    rows = split_rows(labels, 1797)
    assert rows[2].tolist() == [row for row in range(1797) if slot[row] < 360]
    assert rows[1].tolist() == [row for row in range(1797) if 360 <= slot[row] < 720]
    names = ("train", "validation", "test")
    text = "\n".join(f"{name}: {' '.join(map(str, part))}" for name, part in zip(names, rows, strict=True))
    stored = "19431528c7763c6bf9ee1f9f0d258eab03b42106922d3116e98445b2d78470a5"
    assert hashlib.sha256(text.encode()).hexdigest() == stored


@pytest.mark.parametrize("size", (3, 4, 5, 7, 10, 64, 99, 100, 1001))
@pytest.mark.parametrize("classes", (0, 1, 2, 7))
def test_every_row_is_in_one_part(size, classes):
    labels = np.random.default_rng(size).integers(0, classes, size) if classes else None
    rows = split_rows(labels, size)
    held_out = -(-size // 5)
    assert [len(part) for part in rows] == [size - 2 * held_out, held_out, held_out]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(size))
    assert all((np.diff(part) > 0).all() for part in rows)
    if labels is not None:
        for part in rows:
            share = np.bincount(labels, minlength=classes) * len(part) / size
            assert np.abs(np.bincount(labels[part], minlength=classes) - share).max() <= 2


@pytest.mark.parametrize(("labels", "size"), ((None, 2), (None, 0), (np.zeros(4, int), 5)))
def test_rows_that_cannot_be_split(labels, size):
    with pytest.raises(ValueError, match=r"rows|size is 0; expected at least 1"):
        split_rows(labels, size)


def test_data_sets_leave_nothing_behind(tmp_path):
    write(FRAME, tmp_path / "t.csv")
    table(tmp_path / "t.csv", target="kind", missing="impute")
    assert os.listdir(tmp_path) == ["t.csv"]
