"""WAV files against SciPy, clips and data sets against their documented rules, and what is malformed."""

import os
import struct
import warnings
import wave as stdlib_wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from fdl.data.audio import clips, resample, spoken_digits, to_int16, wav_folder
from fdl.data.npz import read_npz
from fdl.data.wav import _UNKNOWN, read_wav

RANDOM = np.random.default_rng(0)


def parts(splits):
    arrays = splits._asdict()
    return {name: arrays[name] for name in ("train", "validation", "test")}


def samples_of(dtype, shape):
    if np.dtype(dtype).kind == "f":
        return RANDOM.uniform(-1.5, 1.5, shape).astype(dtype)
    limits = np.iinfo(dtype)
    samples = RANDOM.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    samples.flat[:2] = limits.min, limits.max
    return samples


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def fmt(tag=1, channels=1, rate=8000, bits=16, block=None, extra=b""):
    block = channels * bits // 8 if block is None else block
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extra)


def riff(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("shape", [(101,), (50, 2), (7, 5)], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_reads_what_scipy_writes(tmp_path, dtype, shape):
    samples = samples_of(dtype, shape)
    wavfile.write(tmp_path / "a.wav", 11025, samples)
    rate, ours = read_wav(tmp_path / "a.wav")
    scale = {"uint8": (128, 128), "int16": (0, 2**15), "int32": (0, 2**31)}.get(dtype, (0, 1))
    expected = ((samples.astype(np.float64) - scale[0]) / scale[1]).astype(np.float32)
    assert rate == 11025 and ours.dtype == np.float32
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_reads_what_the_standard_library_writes_as_scipy_does(tmp_path, width):
    path = tmp_path / "a.wav"
    with stdlib_wave.open(str(path), "wb") as file:
        file.setparams((2, width, 16000, 0, "NONE", "NONE"))
        file.writeframes(RANDOM.bytes(2 * width * 33))
    rate, theirs = wavfile.read(path)
    scale = (theirs - 128.0) / 128 if width == 1 else theirs / 2.0 ** (8 * theirs.itemsize - 1)
    ours = read_wav(path)
    assert ours[0] == rate == 16000
    np.testing.assert_array_equal(ours[1], scale.astype(np.float32))


@pytest.mark.parametrize("size", [4, 5])
def test_other_chunks_are_skipped(tmp_path, size):
    path = tmp_path / "a.wav"
    data = chunk(b"data", struct.pack("<3h", 1, -2, 3))
    path.write_bytes(
        riff(chunk(b"LIST", bytes(size)), fmt(), chunk(b"odd ", bytes(size)), data, chunk(b"end ", b"x"))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)
        np.testing.assert_array_equal(wavfile.read(path)[1], [1, -2, 3])
    np.testing.assert_array_equal(read_wav(path)[1] * 32768, [1, -2, 3])


def test_extensible_format(tmp_path):
    path = tmp_path / "a.wav"
    subformat = struct.pack("<HHIH", 22, 24, 0, 1) + bytes.fromhex("000000001000800000aa00389b71")
    body = bytes.fromhex("ffff7f 000080 010000")
    path.write_bytes(riff(fmt(0xFFFE, bits=24, extra=subformat), chunk(b"data", body)))
    np.testing.assert_array_equal(wavfile.read(path)[1] >> 8, [2**23 - 1, -(2**23), 1])
    np.testing.assert_array_equal(read_wav(path)[1] * 2**23, [2**23 - 1, -(2**23), 1])


def rf64(size, chunk):
    lengths = struct.pack("<4sIQQQI", b"ds64", 28, 2**33, size, 10, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + lengths + fmt(bits=8) + chunk


UNUSUAL = {
    "of unknown length": (riff(fmt(bits=8), b"data\xff\xff\xff\xff\x80\x00\xff"), [0, -128, 127]),
    "of unknown length, cut within a frame": (
        riff(fmt(bits=16), b"data\xff\xff\xff\xff" + struct.pack("<2h", 256, -512) + b"x"),
        [1, -2],
    ),
    "with a partial last frame": (
        riff(fmt(bits=16), chunk(b"data", struct.pack("<2h", 256, -512) + b"x")),
        [1, -2],
    ),
    "RF64": (rf64(3, chunk=b"data\xff\xff\xff\xff\x80\x00\xffLIST"), [0, -128, 127]),
    "RF64 whose data has its size": (rf64(9, chunk=chunk(b"data", b"\x80\x00\xff")), [0, -128, 127]),
    "RF64 of unknown length": (rf64(_UNKNOWN, chunk=b"data\xff\xff\xff\xff\x80\x00"), [0, -128]),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_files_have_the_samples_that_are_there(tmp_path, name):
    content, samples = UNUSUAL[name]
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav")[1] * 128, samples)


SOUND = chunk(b"data", bytes(20))
MALFORMED = {
    "zero bytes": (b"", r"byte 0: 0 bytes that begin with b''; expected a WAV file"),
    "cut in the header": (riff(fmt(), SOUND)[:10], r"byte 0: 10 bytes"),
    "foreign file": (b"\x89PNG\r\n\x1a\n" + bytes(40), r"byte 0: .*PNG.*expected a WAV file"),
    "big-endian": (b"RIFX" + riff(fmt(), SOUND)[4:], r"byte 0: .*b'RIFX"),
    "not sound": (riff(fmt(), SOUND).replace(b"WAVE", b"AVI "), r"byte 0: .*AVI"),
    "cut data": (
        riff(fmt(), SOUND)[:-6],
        r"byte 36: the chunk b'data' says it has 20 bytes, but 14 are left",
    ),
    "cut RF64": (rf64(20, chunk=b"data\xff\xff\xff\xff" + bytes(14)), r"byte 72: .*has 20 bytes, but 14"),
    "cut fmt": (riff(fmt())[:30], r"byte 12: the chunk b'fmt ' says it has 16 bytes, but 10 are left"),
    "small fmt": (riff(chunk(b"fmt ", bytes(14)), SOUND), r"byte 12: a fmt chunk of 14 bytes"),
    "no fmt": (riff(SOUND), r"byte 12: a data chunk before the fmt chunk"),
    "no data": (riff(fmt()), r"byte 36: the file ends without a data chunk"),
    "zero channels": (riff(fmt(channels=0), SOUND), r"byte 12: 0 channels"),
    "zero rate": (riff(fmt(rate=0), SOUND), r"byte 12: .* 0 frames a second"),
    "wrong frame size": (riff(fmt(block=3), SOUND), r"byte 12: .* 3 bytes a frame"),
    "12 bits": (riff(fmt(bits=12), SOUND), r"byte 12: samples of 12 bits in format 1"),
    "compressed": (riff(fmt(tag=7, bits=8), SOUND), r"byte 12: samples of 8 bits in format 7"),
    "half floats": (riff(fmt(tag=3, bits=16), SOUND), r"byte 12: samples of 16 bits in format 3"),
    "no samples": (riff(fmt(), chunk(b"data", b"")), r"byte 36: a data chunk of 0 bytes"),
    "half a frame": (riff(fmt(channels=30), SOUND), r"byte 36: a data chunk of 20 bytes; .*at least 60"),
    "not a number": (
        riff(fmt(tag=3, bits=32), chunk(b"data", struct.pack("<3f", 0, 1, np.nan))),
        r"byte 36: sample 2 of the data chunk is nan",
    ),
    "too large": (
        riff(fmt(tag=3, bits=64), chunk(b"data", struct.pack("<2d", 0, 1e300))),
        r"byte 36: sample 1 of the data chunk is 1e\+300",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_wav_is_named(tmp_path, name):
    content, message = MALFORMED[name]
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_wav(path)
    assert str(caught.value).startswith(f"{path}: byte ") and "\n" not in str(caught.value)


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.wav"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(IsADirectoryError):
        read_wav(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        read_npz(tmp_path / "none.npz", "x")


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


def damaged(content):
    """The archive with bytes changed inside an array."""
    place = content.index(b"NUMPY") + 200
    return content[:place] + bytes(byte ^ 255 for byte in content[place : place + 8]) + content[place + 8 :]


MALFORMED_ARCHIVES = {
    "zero bytes": (lambda content: b"", "byte 0: it begins with b''"),
    "foreign file": (lambda content: b"RIFF" + content, "byte 0: it begins with b'RIFF'"),
    "pickle": (lambda content: b"\x80\x04N.", r"byte 0: it begins with b'\\x80"),
    "cut": (lambda content: content[:-100], "not a zip file"),
    "damaged": (damaged, "Bad CRC-32"),
    "without the array": (lambda content: content, r"no array 'z' among \['x'\]"),
}


@pytest.mark.parametrize("name", MALFORMED_ARCHIVES)
def test_malformed_archive_is_named(tmp_path, name):
    change, message = MALFORMED_ARCHIVES[name]
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(100))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        read_npz(path, "x", *(["z"] if name == "without the array" else []))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


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
    with pytest.raises(ValueError, match="rates are 8000 and 0"):
        wav_folder(folder, length=5, channel=0, rate=0)
    np.testing.assert_allclose(resample(np.ones(300), rate=3, to=2)[50:150], 1, atol=1e-3)
