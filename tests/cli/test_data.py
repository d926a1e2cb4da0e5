"""`fdl data`: what there is, getting it, and a look at it."""

import json
import os

import numpy as np
import pytest

from fdl import data
from fdl.cli import main
from fdl.data.datasets.catalog import DATA_SETS


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FDL_DATA", raising=False)
    monkeypatch.setenv("FDL_CACHE", str(tmp_path / "cache"))


def test_list_names_every_data_set_and_says_which_are_here(tmp_path, monkeypatch, capsys):
    (tmp_path / "own" / "text").mkdir(parents=True)
    (tmp_path / "own" / "text" / "shakespeare.txt").write_text("To be")
    (tmp_path / "own" / "cifar10").mkdir()  # a folder without what is looked for in it
    (tmp_path / "own" / "cifar100" / "cifar-100-binary").mkdir(parents=True)
    (tmp_path / "own" / "cifar100" / "cifar-100-binary" / "test.bin").touch()
    monkeypatch.setenv("FDL_DATA", str(tmp_path / "own"))
    assert main(["data", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {one.name for one in DATA_SETS} >= {"mnist", "digits", "scan_jump", "captioned_shape"}
    assert str(tmp_path / "own") in rows["tiny-shakespeare"]["where"]
    assert "not here" in rows["cifar10"]["where"]
    assert rows["cifar100"]["where"] == f"in {tmp_path / 'own' / 'cifar100' / 'cifar-100-binary'}"
    assert "fdl data get mnist downloads 12 MB" in rows["mnist"]["where"]
    assert all(row["what"] and "\n" not in row["what"] for row in rows.values())
    assert main(["data", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(rows)


def test_show_writes_a_contact_sheet_of_images(tmp_path, capsys):
    from PIL import Image

    assert main(["data", "show", "digit_images", "--rows", "6", "--out", "six.png"]) == 0
    shown = np.asarray(Image.open(tmp_path / "six.png"))
    splits = data.digit_images()
    first = np.asarray(splits.train["x"])[0, :, :, 0]  # pyright: ignore
    np.testing.assert_array_equal(shown[4:68, 4:68, 0], np.repeat(np.repeat(first, 8, 0), 8, 1))
    assert "train: 1,077 rows of x uint8[8, 8, 1], y int32[]" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["captioned_shape", "photo_patches", "faces"])
def test_show_draws_what_can_be_seen(name, tmp_path):
    assert main(["data", "show", name, "--rows", "3"]) == 0
    assert (tmp_path / f"{name}.png").stat().st_size > 100


@pytest.mark.parametrize(("name", "expected"), [
    ("wine", "class_1"), ("two_spirals", "["), ("sunspots", "["), ("numbers", "seven"),
])  # fmt: skip
def test_show_prints_what_can_be_read(name, expected, tmp_path, capsys):
    assert main(["data", "show", name]) == 0
    assert expected in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == []


def test_show_reads_files(tmp_path, capsys):
    from PIL import Image

    line = "Shall I compare thee to a summer's day? "
    (tmp_path / "poem.txt").write_text(line * 200)
    assert main(["data", "show", "poem.txt", "--rows", "2"]) == 0
    assert line * 3 in capsys.readouterr().out
    for number in range(12):
        folder = tmp_path / "pets" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (70, 80), (number, 0, 0)).save(folder / f"{number}.png")
    assert main(["data", "show", "pets"]) == 0
    assert (tmp_path / "pets.png").exists() and "classes: 'cat', 'dog'" in capsys.readouterr().out


def test_get_downloads_once(tmp_path, monkeypatch, capsys):
    """From a server of the test's own, through the same path as the published address."""
    import hashlib

    from fdl.data.datasets import shakespeare
    from tests.data.server import Answer, serving

    content = b"First Citizen:\nBefore we proceed any further, hear me speak.\n" * 50
    with serving(Answer(content)) as server:
        remote = shakespeare.TINY_SHAKESPEARE._replace(
            url=server.url, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)
        )
        monkeypatch.setattr(shakespeare, "TINY_SHAKESPEARE", remote)
        assert main(["data", "get", "tiny-shakespeare"]) == 0
        assert (tmp_path / "cache" / "data" / "text" / "shakespeare.txt").read_bytes() == content
        asked = len(server.requests)
        assert main(["data", "get", "tiny-shakespeare"]) == 0
        assert len(server.requests) == asked == 1


@pytest.mark.parametrize(("words", "code", "message"), [
    ([], 2, ""),
    (["lsit"], 2, "does not take 'lsit'"),
    (["get"], 2, "does not take 'get'"),
    (["get", "mnits"], 2, "did you mean 'mnist'"),
    (["show"], 2, "takes one name or path"),
    (["show", "digitz"], 2, "did you mean 'digits'"),
    (["show", "digits", "--rows", "0"], 2, "--rows is '0'"),
    (["show", "digits", "--out"], 2, "--out needs a value"),
    (["show", "file.bin"], 2, "ends in '.bin'"),
    (["show", "digit_images", "--out", "no/folder.png"], 1, "no/folder.png"),
])  # fmt: skip
def test_bad_input_is_one_line(words, code, message, tmp_path, capsys):
    (tmp_path / "file.bin").write_bytes(b"x")
    assert main(["data", *words]) == code
    complaint = capsys.readouterr().err
    assert message in complaint and len(complaint.strip().splitlines()) <= 1
    assert os.listdir(tmp_path) == ["file.bin"]
