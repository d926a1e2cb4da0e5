"""Clips and folders of WAV files against their documented rules."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from fdl.data.readers.clips import clips, resample, to_int16
from fdl.data.readers.wav_folder import wav_folder


def parts(splits):
    arrays = splits._asdict()
    return {name: arrays[name] for name in ("train", "validation", "test")}


def test_clips_are_padded_and_cropped():
    waves = [np.array([1, -2, 3], np.int16), np.arange(1, 8, dtype=np.int16), np.full(5, 9, np.int16)]
    part = clips(waves, length=5)
    np.testing.assert_array_equal(part["x"], [[1, -2, 3, 0, 0], [1, 2, 3, 4, 5], [9] * 5])
    np.testing.assert_array_equal(part["length"], [3, 5, 5])
    assert part["x"].dtype == np.int16 and part["length"].dtype == np.int32
    assert clips([np.ones(2, np.float32)], length=3)["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("waves", "length", "message"),
    [
        ([], 5, "0 waves"),
        ([np.ones(3, np.int16)], 0, "length is 0"),
        ([np.ones(3, np.int16), np.ones(3, np.float32)], 5, "wave 1 is float32"),
        ([np.ones(3, np.int16), np.ones(0, np.int16)], 5, r"wave 1 is int16 \[0\]"),
        ([np.ones((3, 2), np.int16)], 5, r"wave 0 is int16 \[3, 2\]"),
        ([np.ones(3, np.int64)], 5, "wave 0 is int64"),
    ],
)
def test_malformed_waves_are_named(waves, length, message):
    with pytest.raises(ValueError, match=message):
        clips(waves, length=length)


def test_int16_comes_back():
    samples = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(to_int16(samples.astype(np.float32) / 32768), samples)
    np.testing.assert_array_equal(to_int16(np.array([-2.0, 1.0, 2.0], np.float32)), [-32768, 32767, 32767])


def folder_of(path: Path, classes, count=5):
    for number, name in enumerate(classes):
        (path / name).mkdir()
        for place in range(count):
            wavfile.write(
                path / name / f"{place}.wav", 8000, np.full(3 + place, 10 * number + place, np.int16)
            )
    return path


def test_folder_of_wav_files(tmp_path):
    folder = folder_of(tmp_path, ("yes", "no", "up"))
    (folder / ".hidden").mkdir()
    (folder / "no" / "notes.txt").write_text("not sound")
    found = wav_folder(folder, length=5)
    assert found.classes == ("no", "up", "yes")
    sizes = {name: len(part["y"]) for name, part in parts(found).items()}
    assert sizes == {"train": 9, "validation": 3, "test": 3}
    assert all(sorted(parts(found)[name]["y"]) == [0, 1, 2] for name in ("validation", "test"))
    rows = np.concatenate([part["x"][:, 0] for part in parts(found).values()])
    assert sorted(rows) == [10 * number + place for number in range(3) for place in range(5)]
    for part in parts(found).values():
        np.testing.assert_array_equal(np.array([1, 2, 0])[part["y"]], part["x"][:, 0] // 10)
        np.testing.assert_array_equal(part["length"], np.minimum(3 + part["x"][:, 0] % 10, 5))


def test_prepare_scales_to_one(tmp_path):
    found = wav_folder(folder_of(tmp_path, ("a", "b")), length=4)
    batch = parts(found)["train"]
    assert found.prepare is not None
    ready = found.prepare(batch)
    np.testing.assert_array_equal(np.asarray(ready["x"]), batch["x"].astype(np.float32) / 32768)
    assert ready["y"] is batch["y"] and ready["x"].dtype == np.float32


def spoil_rate(folder):
    wavfile.write(folder / "b" / "9.wav", 16000, np.ones(3, np.int16))


def spoil_channels(folder):
    wavfile.write(folder / "b" / "9.wav", 8000, np.ones((3, 2), np.int16))


MALFORMED_FOLDERS = {
    "another kind of sound": (
        lambda folder: (folder / "a" / "5.FLAC").write_bytes(b"fLaC"),
        r"5\.FLAC: expected WAV; convert or remove it",
    ),
    "an empty class": (lambda folder: (folder / "c").mkdir(), "c: a class without .wav files"),
    "a file of another rate": (spoil_rate, r"9\.wav: 16000 Hz; expected 8000 Hz.*rate=8000"),
    "a file of two channels": (spoil_channels, r"9\.wav: 2 channels, .*channel='mean'"),
    "an empty file": (lambda folder: (folder / "a" / "0.wav").write_bytes(b""), r"0\.wav: byte 0"),
}


@pytest.mark.parametrize("name", MALFORMED_FOLDERS)
def test_malformed_folder_is_named(tmp_path, name):
    spoil, message = MALFORMED_FOLDERS[name]
    spoil(folder_of(tmp_path, ("a", "b")))
    with pytest.raises(ValueError, match=message) as caught:
        wav_folder(tmp_path, length=5)
    assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


def test_folders_with_too_little(tmp_path):
    with pytest.raises(ValueError, match="no sub-folders"):
        wav_folder(tmp_path, length=5)
    folder_of(tmp_path, ("a", "b"), count=1)
    with pytest.raises(ValueError, match="2 WAV files; expected at least 3"):
        wav_folder(tmp_path, length=5)
    with pytest.raises(FileNotFoundError, match="none"):
        wav_folder(tmp_path / "none", length=5)


def test_channels_and_rates_by_declaration(tmp_path):
    folder = folder_of(tmp_path, ("a", "b"))
    seconds = np.arange(1600) / 16000
    left, right = (np.sin(2 * np.pi * pitch * seconds) for pitch in (440, 1000))
    samples = np.rint(np.stack([left, right], axis=1) * 2**14).astype(np.int16)
    wavfile.write(folder / "b" / "9.wav", 16000, samples)
    choices: list = [(0, left), (1, right), ("mean", (left + right) / 2)]
    for channel, expected in choices:
        found = wav_folder(folder, length=800, channel=channel, rate=8000)
        every = np.concatenate([part["x"] for part in parts(found).values()])
        lengths = np.concatenate([part["length"] for part in parts(found).values()])
        assert sorted(lengths) == [3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 800]
        wave = every[np.argmax(lengths)].astype(float)
        # The pitches lie far below half of either rate, so the wave is that of every other sample; but at the
        # ends, where the filter sees the silence around the sound.
        np.testing.assert_allclose(wave[50:-50], expected[::2][50:-50] * 2**14, atol=60)
    with pytest.raises(ValueError, match=r"9\.wav: 2 channels, and channel is 2"):
        wav_folder(folder, length=5, channel=2, rate=8000)
    with pytest.raises(ValueError, match="rate is 0; expected at least 1"):
        wav_folder(folder, length=5, channel=0, rate=0)
    np.testing.assert_allclose(resample(np.ones(300), rate=3, to=2)[50:150], 1, atol=1e-3)
