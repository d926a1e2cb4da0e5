"""New rows are read as the training's were: scaled and coded by what train holds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdl import data
from fdl.data.splits import inputs_of

TABLE = "grams,colour,day,kind\n" + "".join(
    f"{100 + 7 * i},{('red', 'green', 'blue')[i % 3]},2024-0{1 + i % 9}-01,{('apple', 'pear')[i % 2]}\n"
    for i in range(20)
)


def fruit(folder: Path, **options) -> data.Splits:
    (folder / "fruit.csv").write_text(TABLE)
    return data.table(folder / "fruit.csv", target="kind", dates={"day": "ISO8601"}, **options)


def test_a_table_read_again_has_the_features_that_it_had(tmp_path):
    splits = fruit(tmp_path)
    read = inputs_of(splits).read
    assert read is not None
    again = read(tmp_path / "fruit.csv")["x"]
    there = {row.tobytes() for part in (splits.train, splits.validation, splits.test) for row in part["x"]}
    assert {row.tobytes() for row in again} == there and again.dtype == np.float32
    (tmp_path / "new.csv").write_text("day,colour,grams\n2030-01-01,violet,1e6\n")
    (alone,) = read(tmp_path / "new.csv")["x"]
    values = np.array([float(line.split(",")[0]) for line in TABLE.splitlines()[1:]])
    assert alone[1:4].tolist() == [0, 0, 0]  # a colour that train lacks
    assert alone[0] > (1e6 - values.max()) / (values.max() - values.min())


REFUSED = {
    "grams,colour\n1,red\n": "has no column 'day' to choose",
    "grams,colour,day\n": "has no rows",
    "grams,colour,day\n,red,2024-01-01\n": "line 2, column 'grams': the value is missing",
    "grams,colour,day\n1,red,soon\n": "line 2, column 'day': 'soon' is no date",
    "grams,colour,day\nmany,red,2024-01-01\n": "line 2, column 'grams': 'many' is not a number",
}


@pytest.mark.parametrize("text", REFUSED)
def test_new_rows_unlike_the_tables_are_refused(tmp_path, text):
    read = inputs_of(fruit(tmp_path)).read
    assert read is not None
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(ValueError, match=REFUSED[text]):
        read(tmp_path / "new.csv")


def test_new_rows_are_read_as_the_trainings_were_whatever_became_of_its_file(tmp_path):
    read = inputs_of(fruit(tmp_path)).read
    assert read is not None
    (tmp_path / "new.csv").write_text("grams,colour,day\n1,red,2024-01-01\n")
    before = read(tmp_path / "new.csv")["x"]
    (tmp_path / "fruit.csv").write_text(TABLE.replace("red", "blue"))
    np.testing.assert_array_equal(read(tmp_path / "new.csv")["x"], before)
    (tmp_path / "fruit.csv").unlink()
    np.testing.assert_array_equal(read(tmp_path / "new.csv")["x"], before)


def test_what_was_changed_after_reading_cannot_be_read_again(tmp_path):
    splits = fruit(tmp_path)
    assert inputs_of(data.select_columns(splits, "x", "y")).read is not None
    halved = {**splits.train, "x": splits.train["x"] / 2}
    assert inputs_of(splits._replace(train=halved)).read is None


def test_images_are_decoded_as_the_trainings_and_keep_their_names(tmp_path):
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for n in range(5):
            Image.new("RGB", (20, 30), (40 * n, 0, 99)).save(tmp_path / kind / f"{n}.png")
    splits = data.image_folder(tmp_path, size=8, workers=1)
    for taken in (splits, data.select_columns(splits, "x", "y")):
        read = inputs_of(taken).read
        assert read is not None
        new = read(tmp_path / "dog")
        assert [Path(new.where(n)).name for n in range(new.size)] == [f"{n}.png" for n in range(5)]
    assert new.take(np.array([3]))["x"][0, 0, 0].tolist() == [120, 0, 99]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images"):
        read(tmp_path / "empty")


def test_a_text_is_cut_in_windows_up_to_its_end(tmp_path):
    splits = data.text("to be or not to be " * 9, length=4)
    read = inputs_of(splits).read
    assert read is not None
    (tmp_path / "new.txt").write_text("or not to")
    tokens = read(tmp_path / "new.txt")["x"]
    assert ["".join(splits.classes[i] for i in row) for row in tokens] == ["r no", "t to"]
    for text, why in (("or", "has 2 tokens; expected at least 4"), ("xylophone", "'x'")):
        (tmp_path / "new.txt").write_text(text)
        with pytest.raises(ValueError, match=why):
            read(tmp_path / "new.txt")
