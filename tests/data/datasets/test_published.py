"""Published data sets: downloaded once, checked, found in a folder of the user's, split by order."""

import gzip
import hashlib
import io
import os
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest

from fdl.data.datasets import cifar, mnist, shakespeare, spoken_digits
from fdl.data.datasets.catalog import DATA_SETS
from fdl.data.datasets.data_set import Origin, Remote
from fdl.data.readers.idx import read_idx
from fdl.data.splits import Part, Rows
from tests.data.server import Answer, serving
from tests.data.writers import cifar as cifar_file
from tests.data.writers import idx

PUBLISHED = [one for one in DATA_SETS if one.origin is Origin.PUBLISHED]
DATA = Path(os.environ.get("FDL_DATA", "/none"))
RANDOM = np.random.default_rng(0)


def needs(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / folder).is_dir(), reason=f"FDL_DATA has no {folder}/")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty cache, and no folder of the user's own."""
    monkeypatch.setenv("FDL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FDL_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "data"


def at(remote: Remote, url: str, content: bytes) -> Remote:
    return remote._replace(url=url, sha256=hashlib.sha256(content).hexdigest())


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def equal(part, x, y):
    np.testing.assert_array_equal(part["x"], x)
    np.testing.assert_array_equal(part["y"], y)
    assert not part["x"].flags.writeable and not part["y"].flags.writeable


@pytest.mark.parametrize(
    "name, load",
    [("MNIST", mnist.mnist), ("FASHION_MNIST", mnist.fashion_mnist)],
    ids=["mnist", "fashion"],
)
def test_idx_sets_are_downloaded_once_and_split_by_order(places, monkeypatch, capsys, name, load):
    images, labels = RANDOM.integers(0, 256, (12, 3, 3)), np.arange(12) % 10
    arrays = (images, labels, images[:4], labels[:4])
    files = [gzip.compress(idx(array)) for array in arrays]
    with serving(*map(Answer, files)) as server:
        remotes = getattr(mnist, name)
        local = tuple(at(remote, server.url, file) for remote, file in zip(remotes, files, strict=True))
        monkeypatch.setattr(mnist, name, local)
        first, second = load(), load()
        assert len(server.requests) == 4
    assert capsys.readouterr().err.count("downloading") == 4
    equal(first.train, images[:10, ..., None], labels[:10])
    equal(first.validation, images[10:, ..., None], labels[10:])
    equal(first.test, images[:4, ..., None], labels[:4])
    assert second.train["x"] is first.train["x"] and second.train is not first.train
    assert len(first.classes) == 10
    kept = sorted(str(path.relative_to(places)) for path in places.rglob("*") if path.is_file())
    assert kept == sorted(remote.name for remote in local)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_downloaded_once_and_split_by_order(places, monkeypatch, name):
    images, labels = RANDOM.integers(0, 256, (20, 32, 32, 3)), np.arange(20) % 10
    columns = (labels,) if name == "cifar10" else (labels + 1, labels)
    train, test = cifar_file(images, *columns), cifar_file(images[:3], *(column[:3] for column in columns))
    inside = {
        "cifar10": {
            f"cifar-10-batches-bin/data_batch_{n + 1}.bin": train[n * 4 * 3073 :][: 4 * 3073]
            for n in range(5)
        }
        | {"cifar-10-batches-bin/test_batch.bin": test},
        "cifar100": {"cifar-100-binary/train.bin": train, "cifar-100-binary/test.bin": test},
    }
    content = tar(inside[name])
    with serving(Answer(content)) as server:
        monkeypatch.setattr(cifar, name.upper(), at(getattr(cifar, name.upper()), server.url, content))
        first, second = (getattr(cifar, name)() for _ in range(2))
        assert len(server.requests) == 1
    equal(first.train, images[:18], labels[:18])
    equal(first.validation, images[18:], labels[18:])
    equal(first.test, images[:3], labels[:3])
    if name == "cifar100":
        np.testing.assert_array_equal(first.validation["coarse"], labels[18:] + 1)
    assert second.train["x"] is first.train["x"]
    assert len(first.classes) == (10 if name == "cifar10" else 100)
    assert [path.name for path in (places / name).iterdir()] == [f"cifar-{name[5:]}-binary"]


@pytest.mark.parametrize("inside", ["cifar10", "cifar10/cifar-10-batches-bin"])
def test_a_folder_with_fewer_batches_is_used_knowingly(places, tmp_path, monkeypatch, inside):
    folder = tmp_path / "own" / inside
    folder.mkdir(parents=True)
    monkeypatch.setenv("FDL_DATA", str(tmp_path / "own"))
    images, labels = RANDOM.integers(0, 256, (10, 32, 32, 3)), np.arange(10)
    (folder / "data_batch_2.bin").write_bytes(cifar_file(images, labels))
    (folder / "test_batch.bin").write_bytes(cifar_file(images[:1], labels[:1]))
    with pytest.raises(ValueError, match="train_files") as error:
        cifar.cifar10()
    text = str(error.value)
    assert str(folder / "data_batch_1.bin") in text and "\n" not in text and not places.exists()
    splits = cifar.cifar10(train_files=(2,))
    equal(splits.train, images[:9], labels[:9])
    equal(splits.validation, images[9:], labels[9:])


def test_spoken_digits_are_packed(places, monkeypatch):
    clips = {name: RANDOM.integers(-32768, 32768, 50 + 7 * n).astype("<i2") for n, name in enumerate(NAMES)}
    folder = f"free-spoken-digit-dataset-{spoken_digits._REVISION}"
    content = tar(
        {f"{folder}/README.md": b"text"} | {f"{folder}/recordings/{n}.wav": wav(clips[n]) for n in NAMES}
    )
    with serving(Answer(content, ranges=False, chunked=True)) as server:
        monkeypatch.setattr(
            spoken_digits, "SPOKEN_DIGITS", at(spoken_digits.SPOKEN_DIGITS, server.url, content)
        )
        path = spoken_digits.spoken_digits_file()
        assert spoken_digits.spoken_digits_file() == path and len(server.requests) == 1
    with np.load(path, allow_pickle=False) as file:
        data = dict(file)
    order = sorted(NAMES)
    np.testing.assert_array_equal(data["wav"], np.concatenate([clips[name] for name in order]))
    np.testing.assert_array_equal(np.diff(data["offset"]), [len(clips[name]) for name in order])
    rows = zip(data["y"], data["speaker"], data["index"], strict=True)
    assert [f"{y}_{speaker}_{index}" for y, speaker, index in rows] == order
    assert data["wav"].dtype == np.int16 and data["offset"][0] == 0 and data["rate"] == 8000


NAMES = ("7_theo_10", "7_theo_9", "0_george_0")


def wav(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def test_tiny_shakespeare_is_downloaded(places, monkeypatch):
    with serving(Answer(b"To be")) as server:
        monkeypatch.setattr(
            shakespeare, "TINY_SHAKESPEARE", at(shakespeare.TINY_SHAKESPEARE, server.url, b"To be")
        )
        assert shakespeare.tiny_shakespeare_file().read_bytes() == b"To be"
    assert shakespeare.tiny_shakespeare_file() == places / "text" / "shakespeare.txt"


def test_an_address_with_another_file_is_one_line(places, monkeypatch):
    remote = shakespeare.TINY_SHAKESPEARE
    with serving(Answer(b"To be")) as server:
        monkeypatch.setattr(shakespeare, "TINY_SHAKESPEARE", remote._replace(url=server.url))
        with pytest.raises(ValueError) as error:
            shakespeare.tiny_shakespeare_file()
    text = str(error.value)
    assert server.url in text and remote.sha256 in text and "\n" not in text
    assert not [path for path in places.rglob("*") if path.is_file()]


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_the_table_is_complete(entry, places):
    assert entry.what and entry.licence and entry.files
    for remote in entry.files:
        assert remote.url.startswith(("https://", "http://fashion-mnist."))
        assert len(bytes.fromhex(remote.sha256)) == 32 and remote.bytes > 0
    assert len({remote.sha256 for each in PUBLISHED for remote in each.files}) == 12


UNPACKED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@needs("mnist")
@pytest.mark.parametrize("name", UNPACKED)
def test_mnist_files_are_the_official_ones(name):
    with gzip.open(DATA / "mnist" / f"{name}.gz") as file:
        content = file.read()
    assert hashlib.md5(content).hexdigest() == UNPACKED[name]
    start = 16 if "images" in name else 8
    expected = np.frombuffer(content, np.uint8, offset=start)
    np.testing.assert_array_equal(read_idx(DATA / "mnist" / f"{name}.gz").ravel(), expected)


def arrays(part: Part) -> dict[str, np.ndarray]:
    assert not isinstance(part, Rows)
    return dict(part)


@needs("mnist")
def test_mnist():
    splits = mnist.mnist()
    train, validation, test = map(arrays, splits[:3])
    assert [len(part["x"]) for part in (train, validation, test)] == [50_000, 10_000, 10_000]
    assert np.bincount(np.concatenate([train["y"], validation["y"]])).tolist() == TRAIN_COUNTS
    assert np.bincount(test["y"]).tolist() == TEST_COUNTS
    images = train["x"] / np.float32(255)
    assert images.shape[1:] == (28, 28, 1) and splits.prepare is not None
    batch = splits.prepare({"x": test["x"][:9]})
    expected = (test["x"][:9] / 255 - images.mean(dtype=np.float64)) / images.std(dtype=np.float64)
    np.testing.assert_allclose(batch["x"], expected, rtol=1e-5, atol=1e-5)


@needs("cifar10")
def test_cifar10():
    splits = cifar.cifar10(train_files=(1,))
    train, validation, test = map(arrays, splits[:3])
    raw = (DATA / "cifar10" / "data_batch_1.bin").read_bytes()
    sizes = [9000, 1000, (DATA / "cifar10" / "test_batch.bin").stat().st_size // 3073]
    assert [len(part["x"]) for part in (train, validation, test)] == sizes
    assert [*train["y"], *validation["y"]] == list(raw[::3073])
    assert train["x"][3, 5, 7].tolist() == [raw[3 * 3073 + 1 + 1024 * c + 5 * 32 + 7] for c in range(3)]
    assert splits.classes == tuple((DATA / "cifar10" / "batches.meta.txt").read_text().split())


@needs("text")
def test_tiny_shakespeare_has_the_published_checksum():
    content = shakespeare.tiny_shakespeare_file().read_bytes()
    assert len(content) == shakespeare.TINY_SHAKESPEARE.bytes == 1_115_394 and len(set(content)) == 65
    assert hashlib.sha256(content).hexdigest() == shakespeare.TINY_SHAKESPEARE.sha256


@needs("fsdd")
def test_spoken_digits_are_found():
    with np.load(spoken_digits.spoken_digits_file(), allow_pickle=False) as file:
        assert len(file["y"]) == 3000 and file["rate"] == 8000
