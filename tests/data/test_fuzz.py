"""Damaged files: every reader gives a ValueError in one line that names the file, or data of the right form,
within a bounded time and memory. Of each file a fixed number of damaged ones is read, by a fixed seed."""

import gzip
import io
import json
import os
import resource
import signal
import wave

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fdl import data
from fdl.data.readers.workers import decoding
from fdl.pretrained.weights import read_weights
from tests.data.writers import cifar, idx

RNG = np.random.default_rng(0)
MEMORY = 2**30  # bytes that a reader of these small files may take
SECONDS = 20
CASES, MANY = 25, 400
SLOW = {"a.png": 8, "a.jpg": 4}  # each file that is refused costs a process; so many times fewer are read


def made(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def sound(file):
    with wave.open(file, "wb") as out:
        out.setparams((2, 2, 8000, 0, "NONE", "NONE"))
        out.writeframes(RNG.bytes(400))


def recordings(file):
    spoken = {"wav": np.arange(40, dtype=np.int16), "offset": np.arange(0, 41, 2), "index": np.arange(20)}
    np.savez_compressed(file, **spoken, y=np.arange(20) % 10, speaker=np.array(["a", "b"] * 10))


def tensors():
    header = {
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BOOL", "shape": [4], "data_offsets": [24, 28]},
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + np.arange(6, dtype=np.float32).tobytes() + b"\1\0\1\0"


def read_shards(path):
    (path.parent / "a.safetensors").write_bytes(tensors())
    return read_weights(path)


PICTURE = Image.fromarray(RNG.integers(0, 256, (12, 10, 3), np.uint8))
FRAME = pd.DataFrame(
    {"a": RNG.normal(size=40), "b": ["u", "v"] * 20, "c": np.arange(40), "y": np.arange(40) % 2}
)
CSV = FRAME.to_csv(index=False).encode()


def decoded(path):
    DECODE.append(decoding(8, workers=1)) if not DECODE else None
    pixels = DECODE[0]([str(path)])
    assert pixels.shape == (1, 8, 8, 3)


DECODE: list = []


def arrays(read):
    """A reader of arrays by name, which must be whole numbers or floats."""

    def check(path):
        assert all(isinstance(array, np.ndarray) for array in read(path).values())

    return check


def splits(read):
    def check(path):
        made = read(path)
        for part in (made.train, made.validation, made.test):
            assert len(part["x"]) == len(part["y"]) > 0
            assert part["x"].dtype.kind != "f" or np.isfinite(part["x"]).all()
            assert part["y"].dtype == np.int32

    return check


def read_sound(path):
    rate, samples = data.read_wav(path)
    assert rate > 0 and samples.dtype == np.float32 and np.isfinite(samples).all() and samples.size


def read_idx(path):
    assert data.read_idx(path).ndim >= 1


def read_tokens(path):
    assert data.tokens_file(path, dtype=np.uint16).size


def read_bpe(path):
    made = data.read_bpe(path)
    assert len(made.symbols) == made.size
    assert made.encode("abc abd").max(initial=-1) < made.size


def table(path):
    return data.table(path, target="y", missing="impute")


IDX = idx(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
READERS = {
    "a.idx": (lambda: IDX, read_idx),
    "a.idx.gz": (lambda: gzip.compress(IDX), read_idx),
    "cifar.bin": (
        lambda: cifar(np.zeros((2, 32, 32, 3), np.uint8), [3, 4]),
        arrays(lambda path: data.read_cifar10([path])),
    ),
    "a.npz": (
        lambda: made(lambda file: np.savez(file, x=np.arange(12.0).reshape(3, 4), y=np.arange(3) > 1)),
        arrays(lambda path: data.read_npz(path, "x", "y")),
    ),
    "z.npz": (
        lambda: made(lambda file: np.savez_compressed(file, x=np.asfortranarray(np.ones((3, 4), np.int16)))),
        arrays(read_weights),
    ),
    "fsdd.npz": (lambda: made(recordings), splits(lambda path: data.spoken_digits(path, length=3))),
    "a.wav": (lambda: made(sound), read_sound),
    "a.png": (lambda: made(lambda file: PICTURE.save(file, "PNG")), decoded),
    "a.jpg": (lambda: made(lambda file: PICTURE.save(file, "JPEG")), decoded),
    "a.txt": (
        lambda: ("Ünder " * 60).encode(),
        splits(lambda path: data.text(path, length=3, vocabulary=data.utf8)),
    ),
    "a.csv": (lambda: CSV, splits(table)),
    "a.csv.gz": (lambda: gzip.compress(CSV), splits(table)),
    "a.parquet": (lambda: made(lambda file: FRAME.to_parquet(file, index=False)), splits(table)),
    "tokens.bin": (lambda: np.arange(40, dtype="<u2").tobytes(), read_tokens),
    "bpe.json": (lambda: data.train_bpe("abc abd abe " * 9, size=264).definition.encode(), read_bpe),
    "a.safetensors": (tensors, arrays(read_weights)),
    "a.safetensors.index.json": (
        lambda: json.dumps({"weight_map": {"a": "a.safetensors", "b": "a.safetensors"}}).encode(),
        arrays(read_shards),
    ),
}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with one to three faults, of those that disks, networks and programs make."""
    made = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(made) + 1))
        size = int(rng.integers(1, 9))
        extremes = (b"\0", b"\xff", b"\x7f\xff", b"\xff\x7f", b"\x80", b"9", b"-", b'"', b"[", b"\n")
        match rng.integers(8):
            case 0 | 1 if place < len(made):
                made[place] ^= 1 << int(rng.integers(8))
            case 2:
                del made[place:]
            case 3:
                del made[place : place + size]
            case 4:
                made[place:place] = rng.bytes(size)
            case 5:
                made[place : place + size] = (extremes[rng.integers(len(extremes))] * size)[:size]
            case 6:
                made[place:place] = made[max(0, place - 16 * size) : place]
            case _:
                made[place : place + 64 * size] = bytes(len(made[place : place + 64 * size]))
    return bytes(made)


def _late(*_):
    raise TimeoutError(f"a reader took more than {SECONDS} s")


@pytest.fixture
def bounded():
    """A limit of memory, and a clock that the test starts for every file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGALRM, _late)
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def broken(path, read):
    """What is wrong with how a damaged file is read, or None."""
    signal.alarm(SECONDS)
    try:
        read(path)
    except ValueError as error:
        if str(path) not in str(error) or "\n" in str(error):
            return f"{str(error)!r} does not name the file in one line"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return None


@pytest.mark.parametrize("cases", (CASES, pytest.param(MANY, marks=pytest.mark.slow)))
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_told_or_read(tmp_path, name, cases, bounded):
    write, read = READERS[name]
    content, path, rng = write(), tmp_path / name, np.random.default_rng(cases)
    path.write_bytes(content)
    read(path)  # undamaged, it is read
    for number in range(cases // SLOW.get(name, 1)):
        path.write_bytes(damaged(content, rng))
        found = broken(path, read)
        assert found is None, f"case {number}: {found}"


@pytest.mark.parametrize("name", READERS)
def test_an_empty_file_and_a_fifo_are_told(tmp_path, name, bounded):
    _, read = READERS[name]
    for path, put in (
        (tmp_path / name, lambda p: p.write_bytes(b"")),
        (tmp_path / f"fifo.{name}", os.mkfifo),
    ):
        put(path)
        with pytest.raises(ValueError, match=path.name):
            read(path)


@pytest.mark.parametrize("claimed", (2**40, 2**62))
def test_a_header_that_claims_terabytes_is_told(tmp_path, claimed, bounded):
    content = made(lambda file: np.savez(file, x=np.zeros(3)))
    number = str(claimed).encode()
    old = b"'shape': (3,), }" + b" " * len(number)
    assert old in content
    content = content.replace(old, b"'shape': (" + number + b",), }" + b" ")
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz"):
        data.read_npz(tmp_path / "a.npz", "x")
