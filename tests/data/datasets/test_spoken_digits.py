"""Spoken digits: the documented parts, and files that are not as described."""

import os
from pathlib import Path

import numpy as np
import pytest

from fdl.data.datasets.spoken_digits import spoken_digits


def parts(splits):
    arrays = splits._asdict()
    return {name: arrays[name] for name in ("train", "validation", "test")}


def recordings(**changes):
    """A small file of spoken digits: 2 speakers, 3 digits, 12 recordings of each."""
    y, speaker, index = (
        a.reshape(-1) for a in np.meshgrid([4, 0, 9], ["zoe", "al"], np.arange(12), indexing="ij")
    )
    lengths = 1 + np.arange(72) % 7
    wav = np.concatenate([np.full(size, number, np.int16) for number, size in enumerate(lengths)])
    offset = np.concatenate([[0], np.cumsum(lengths)])
    return {"wav": wav, "offset": offset, "y": y, "speaker": speaker, "index": index, **changes}


def test_spoken_digits_follow_the_file(tmp_path):
    data = recordings()
    np.savez_compressed(tmp_path / "digits.npz", **data)
    found = spoken_digits(tmp_path / "digits.npz", length=4)
    rules = {"train": range(10, 12), "validation": range(5, 10), "test": range(5)}
    for name, part in parts(found).items():
        rows = np.flatnonzero(np.isin(data["index"], rules[name]))
        np.testing.assert_array_equal(part["x"][:, 0], rows)
        np.testing.assert_array_equal(part["length"], np.minimum(1 + rows % 7, 4))
        np.testing.assert_array_equal((part["x"] != 0).sum(axis=1)[rows > 0], part["length"][rows > 0])
        np.testing.assert_array_equal(part["y"], data["y"][rows])
        np.testing.assert_array_equal(np.array(["al", "zoe"])[part["speaker"]], data["speaker"][rows])
        assert [part[n].dtype for n in ("x", "length", "y", "speaker")] == [np.int16] + [np.int32] * 3


MALFORMED_RECORDINGS = {
    "offsets of another wave": ({"offset": np.array([0, 3, 9])}, "'offset' does not go from 0 to"),
    "an empty recording": (
        {"offset": np.array([0, 4, 4, 10]), "wav": np.zeros(10, np.int16)},
        "after place 1",
    ),
    "labels that disagree": ({"y": np.zeros(71, int)}, r"'y' has shape \(71,\); expected \(72,\)"),
    "a label that is no digit": ({"y": np.arange(72) % 11}, "'y' at 10 is 10; expected a digit"),
    "floats": ({"wav": np.zeros(10)}, "'wav' is float64"),
    "objects": ({"speaker": np.array([None] * 72)}, "none of objects"),
}


@pytest.mark.parametrize("name", MALFORMED_RECORDINGS)
def test_malformed_recordings_are_named(tmp_path, name):
    changes, message = MALFORMED_RECORDINGS[name]
    path = tmp_path / "digits.npz"
    np.savez(path, **recordings(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        spoken_digits(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_spoken_digits_are_looked_for_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FDL_DATA", str(tmp_path))
    (tmp_path / "fsdd").mkdir()
    (tmp_path / "fsdd" / "fsdd.npz").write_bytes(b"not an archive")
    with pytest.raises(ValueError, match=r"fsdd/fsdd\.npz: byte 0"):
        spoken_digits()


def test_the_free_spoken_digit_dataset():
    if not os.environ.get("FDL_DATA"):
        pytest.skip("needs the real files: set FDL_DATA to their folder")
    found = spoken_digits()
    for name, size in {"train": 2400, "validation": 300, "test": 300}.items():
        part = parts(found)[name]
        assert part["x"].shape == (size, 8000)
        np.testing.assert_array_equal(np.bincount(part["y"]), [size // 10] * 10)
        np.testing.assert_array_equal(np.bincount(part["speaker"]), [size // 6] * 6)
    data = np.load(Path(os.environ["FDL_DATA"], "fsdd", "fsdd.npz"))
    row = int(np.flatnonzero((data["index"] == 3) & (data["y"] == 7))[0])
    wave = data["wav"][data["offset"][row] : data["offset"][row + 1]]
    place = int((data["index"][:row] < 5).sum())
    np.testing.assert_array_equal(parts(found)["test"]["x"][place][: len(wave)], wave[:8000])
