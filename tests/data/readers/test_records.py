"""Records read at random against what was written, from many threads, and files that are damaged."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fdl.data.readers.records import array_record, hugging_face
from fdl.data.splits import row_of

pytest.importorskip("grain", reason="needs the extra 'stream'")
datasets = pytest.importorskip("datasets", reason="needs the extra 'stream'")

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 4, 3), np.uint8)
LABELS = np.arange(50, dtype=np.int32) % 7


def write(path, records):
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    return path


def record(row):
    return LABELS[row].tobytes() + IMAGES[row].tobytes()


def parse(record):
    x = np.frombuffer(record, np.uint8, offset=4).reshape(4, 3)
    return {"x": x, "y": np.frombuffer(record, np.int32, 1)[0]}


@pytest.fixture
def shards(tmp_path):
    bounds = ((0, 20), (20, 20), (20, 21), (21, 50))  # one is empty, one has a single record
    return [
        write(tmp_path / f"{number}.array_record", map(record, range(*bound)))
        for number, bound in enumerate(bounds)
    ]


def dataset():
    features = datasets.Features(
        {
            "image": datasets.Array2D((4, 3), "uint8"),
            "label": datasets.ClassLabel(names=list("abcdefg")),
            "weight": datasets.Value("float64"),
            "flag": datasets.Value("bool"),
            "pair": datasets.List(datasets.Value("int64")),
        }
    )
    columns = {
        "image": IMAGES,
        "label": LABELS,
        "weight": LABELS / 3,
        "flag": LABELS > 3,
        "pair": np.stack([LABELS, -LABELS], axis=1),
    }
    return datasets.Dataset.from_dict(columns, features=features)


def threads_agree(rows, x, y):
    """Many threads that take at once get what is there, whatever the order."""
    indices = [np.random.default_rng(seed).integers(0, 50, 16) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for index, taken in zip(indices, pool.map(rows.take, indices), strict=True):
            np.testing.assert_array_equal(taken["x"], x[index])
            np.testing.assert_array_equal(taken["y"], y[index])


def forms(rows):
    return {name: (form.shape, form.dtype) for name, form in row_of(rows).items()}


def one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_array_records_are_read_at_random(shards):
    rows = array_record(shards, parse)
    assert rows.size == 50
    assert forms(rows) == {"x": ((4, 3), np.uint8), "y": ((), np.int32)}
    taken = rows.take(np.arange(50))
    assert taken["x"].dtype == np.uint8 and taken["y"].dtype == np.int32
    np.testing.assert_array_equal(taken["x"], IMAGES)
    np.testing.assert_array_equal(taken["y"], LABELS)
    assert rows.take(np.array([], int))["x"].shape == (0, 4, 3)
    threads_agree(rows, IMAGES, LABELS)


@pytest.mark.parametrize("convert", (str, lambda path: path))
def test_one_array_record_file(shards, convert):
    rows = array_record(convert(shards[0]), parse)
    assert rows.size == 20
    np.testing.assert_array_equal(rows.take(np.array([19, 0, 19]))["x"], IMAGES[[19, 0, 19]])


@pytest.mark.parametrize(
    "damage",
    (
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"x" * 100_000, id="foreign"),
        pytest.param(lambda content: content[: len(content) // 2], id="first half"),
        pytest.param(lambda content: content[:-10], id="end lost"),
    ),
)
def test_files_that_are_no_array_record(shards, damage):
    shards[2].write_bytes(damage(shards[2].read_bytes()))
    with pytest.raises(ValueError, match="not a whole ArrayRecord file") as error:
        array_record(shards, parse)
    one_line(error, str(shards[2]))


@pytest.mark.parametrize("name", ("missing", "."))
def test_array_records_that_cannot_be_read(tmp_path, name):
    with pytest.raises(OSError) as error:
        array_record(tmp_path / name, parse)
    one_line(error, str(tmp_path / name))


def test_a_damaged_record_is_named(tmp_path):
    blocks = np.random.default_rng(0).integers(0, 256, (4, 100_000), np.uint8)
    path = write(tmp_path / "a.array_record", (block.tobytes() for block in blocks))
    content = bytearray(path.read_bytes())
    content[content.find(blocks[2].tobytes()[-32:])] ^= 1
    path.write_bytes(content)
    rows = array_record(path, lambda record: {"x": np.frombuffer(record, np.uint8)})
    np.testing.assert_array_equal(rows.take(np.array([3, 1]))["x"], blocks[[3, 1]])
    with pytest.raises(ValueError, match="record 2 cannot be read") as error:
        rows.take(np.array([3, 2]))
    one_line(error, str(path))


@pytest.mark.parametrize(
    ("odd", "words"),
    (
        (lambda record: 1 / 0, ("record 3", "ZeroDivisionError")),
        (lambda record: {"x": np.zeros(3, np.int32)}, ("record 3", "[3]", "[2]")),
        (lambda record: {"x": np.zeros(2, np.float32)}, ("record 3", "float32", "int32")),
        (lambda record: {"y": np.zeros(2, np.int32)}, ("record 3", "'y'", "'x'")),
    ),
)
def test_records_of_another_form(shards, odd, words):
    def parse(content):
        return odd(content) if content == record(24) else {"x": np.zeros(2, np.int32)}

    rows = array_record(shards, parse)
    rows.take(np.arange(24))
    with pytest.raises(ValueError) as error:
        rows.take(np.array([0, 24]))
    one_line(error, str(shards[3]), *words)


def test_no_records(shards):
    for paths in ([], [shards[1]]):
        with pytest.raises(ValueError, match="no records"):
            array_record(paths, parse)


def test_hugging_face_rows_are_those_of_the_data_set():
    rows = hugging_face(
        dataset(), columns={"x": "image", "y": "label", "w": "weight", "f": "flag", "p": "pair"}
    )
    assert rows.size == 50
    expected = {
        "x": IMAGES,
        "y": LABELS,
        "w": (LABELS / 3).astype(np.float32),
        "f": LABELS > 3,
        "p": np.stack([LABELS, -LABELS], axis=1),
    }
    assert forms(rows) == {name: (array.shape[1:], array.dtype) for name, array in expected.items()}
    index = np.array([49, 0, 0, 17])
    taken = rows.take(index)
    for name, array in expected.items():
        assert taken[name].dtype == array.dtype
        np.testing.assert_array_equal(taken[name], array[index])
        assert rows.take(index[:0])[name].shape == (0, *array.shape[1:])
    threads_agree(rows, IMAGES, LABELS)


def test_hugging_face_from_disk_shuffled_and_chosen(tmp_path):
    dataset().save_to_disk(str(tmp_path / "d"))
    chosen = datasets.load_from_disk(str(tmp_path / "d")).select([5, 3, 8])
    rows = hugging_face(chosen)
    assert list(row_of(rows)) == chosen.column_names
    np.testing.assert_array_equal(rows.take(np.array([2, 0]))["image"], IMAGES[[8, 5]])


def test_hugging_face_images_stay_bytes():
    features = datasets.Features({"image": datasets.Image()})
    rows = hugging_face(datasets.Dataset.from_dict({"image": list(IMAGES)}, features=features))
    assert forms(rows) == {"image": ((4, 3), np.uint8)}
    np.testing.assert_array_equal(rows.take(np.array([7]))["image"], IMAGES[[7]])


@pytest.mark.parametrize(
    ("column", "words"),
    (
        ([[1, 2], [3, 4], [5]], ("row 2", "[1]", "int32 [2]")),
        ([[1, 2], [3, 4], None], ("row 2", "[2]")),
        ([[[1], [2]], [[3], [4]], [[5]]], ("row 2", "[1, 1]", "[2, 1]")),
        ([[], [], [1]], ("row 2", "[1]", "[0]")),
        ([1, 2, None], ("row 2", "missing")),
        ([True, False, None], ("row 2", "missing")),
        ([1, 2, 2**31], ("row 2", "beyond int32")),
    ),
)
def test_hugging_face_rows_of_another_form(column, words):
    rows = hugging_face(datasets.Dataset.from_dict({"ok": [1, 2, 3], "c": column}))
    assert rows.take(np.array([1, 0]))["ok"].tolist() == [2, 1]
    with pytest.raises(ValueError) as error:
        rows.take(np.array([0, 1, 2]))
    one_line(error, "'c'", *words)


@pytest.mark.parametrize("column", (["a", "b"], [None, 1], [[1, None], [1, 2]], [{"a": 1}, {"a": 2}]))
def test_hugging_face_columns_that_are_not_numbers(column):
    with pytest.raises(ValueError, match="row 0 of column 'c'") as error:
        hugging_face(datasets.Dataset.from_dict({"c": column}))
    one_line(error, "`columns`")


@pytest.mark.parametrize(
    ("given", "words"),
    (
        ({"train": [1]}, ("is a dict", "split='train'")),
        (datasets.DatasetDict(), ("DatasetDict",)),
        (datasets.Dataset.from_dict({"a": []}), ("no rows",)),
    ),
)
def test_what_is_no_data_set(given, words):
    with pytest.raises(ValueError) as error:
        hugging_face(given)
    one_line(error, *words)


def test_a_column_that_is_not_there():
    with pytest.raises(ValueError, match="no column 'images'; it has"):
        hugging_face(dataset(), columns={"x": "images"})


@pytest.mark.parametrize(("module", "call"), (("grain.sources", array_record), ("datasets", None)))
def test_the_missing_extra_is_named(monkeypatch, tmp_path, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"fdl\[stream\]"):
        array_record(tmp_path / "a", parse) if call else hugging_face(None)
