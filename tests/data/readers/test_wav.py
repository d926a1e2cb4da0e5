"""WAV files against SciPy, and what is malformed."""

import struct
import warnings
import wave as stdlib_wave

import numpy as np
import pytest
from scipy.io import wavfile

from fdl.data.readers.npz import read_npz
from fdl.data.readers.wav import _UNKNOWN, read_wav

RANDOM = np.random.default_rng(0)


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
