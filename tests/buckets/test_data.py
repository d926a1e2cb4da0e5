"""Data files in buckets: every reader reads them as it reads local ones."""

import gzip
import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest

from fdl import copies, data, storage
from fdl.cli import main
from fdl.data.datasets import cifar, mnist, shakespeare
from fdl.data.splits import Rows
from fdl.identity import meaning
from fdl.pretrained.checkpoint import read_checkpoint
from tests.data import every, test_fuzz
from tests.data.writers import cifar as cifar_file
from tests.data.writers import idx

pytestmark = pytest.mark.medium

READERS = {
    **{name: every.FILES[name] for name in ("array_record", "image_folder", "table", "text", "wav_folder")},
    "tokens_file": every.FILES["windows"],
    "read_bpe": lambda at: {"definition": list(data.read_bpe(at / "bpe.json").definition)},
    "read_cifar10": lambda at: data.read_cifar10([at / "cifar.bin"]),
    "read_cifar100": lambda at: data.read_cifar100([at / "cifar100.bin"]),
    "read_idx": lambda at: {"x": data.read_idx(at / "a.idx.gz")},
    "read_npz": lambda at: data.read_npz(at / "a.npz"),
    "read_text": lambda at: {"text": list(data.read_text(at / "a.txt"))},
    "read_wav": lambda at: {"wave": data.read_wav(at / "a.wav")[1]},
    "spoken_digits": lambda at: data.spoken_digits(at / "fsdd.npz", length=3).train,
}
"""Every function of `fdl.data` that reads files, by its name."""
CIFAR100 = cifar_file(np.ones((2, 32, 32, 3), np.uint8), [1, 2], [3, 4])


def test_no_reader_is_forgotten():
    found = set()
    for name, function in vars(data).items():
        if inspect.isfunction(function) and not name.startswith(("write_", "_")):
            kinds = [str(one.annotation) for one in inspect.signature(function).parameters.values()][:1]
            found |= {name} if "Path" in "".join(kinds) else set()
    assert found == set(READERS)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local folder with the files of all readers."""
    folder = tmp_path_factory.mktemp("here") / "all"
    folder.mkdir()
    every.write_files(folder)
    for name in ("bpe.json", "cifar.bin", "a.idx.gz", "a.npz", "a.txt", "a.wav", "fsdd.npz"):
        (folder / name).write_bytes(test_fuzz.READERS[name][0]())
    (folder / "cifar100.bin").write_bytes(CIFAR100)
    return folder


@pytest.fixture(scope="module")
def there(root: str, here: Path) -> storage.Folder:
    """The same folder in a bucket."""
    folder = storage.path_of(f"{root}/all")
    storage.upload(here, folder)
    return folder


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is copied from buckets, to an empty cache."""
    monkeypatch.setenv("FDL_CACHE", str(tmp_path / "cache"))
    names, copy = [], storage.copy_object

    def counting(path: storage.Folder, to: Path) -> None:
        names.append(str(path))
        copy(path, to)

    monkeypatch.setattr(storage, "copy_object", counting)
    return names


def rows(part: data.Part) -> dict:
    return part.take(np.arange(part.size)) if isinstance(part, Rows) else dict(part)


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_from_a_bucket_once(name, here, there, copied):
    wanted = rows(READERS[name](here))
    for _ in range(2):
        jax.tree.map(np.testing.assert_array_equal, rows(READERS[name](there)), wanted)
    assert copied and len(set(copied)) == len(copied), "each object is copied, and once"


def test_published_weights_are_read_from_a_bucket(root, copied, tmp_path):
    folder = storage.path_of(f"{root}/weights")
    shard, index = "a.safetensors", "model.safetensors.index.json"
    contents = {
        shard: test_fuzz.READERS[shard][0](),
        index: test_fuzz.READERS["a.safetensors.index.json"][0](),
        "config.json": b'{"model_type": "bert"}',
    }
    for name, content in contents.items():
        storage.put(folder / name, content)
        (tmp_path / name).write_bytes(content)
    wanted = read_checkpoint(tmp_path, "bert")
    found = read_checkpoint(Path(str(folder)), "bert")
    assert found.config == wanted.config and str(found.path) == f"{folder}/{index}"
    jax.tree.map(np.testing.assert_array_equal, found.tensors, wanted.tensors)
    assert sorted(copied) == sorted(f"{folder}/{name}" for name in contents)
    with pytest.raises(FileNotFoundError, match="weights/none does not exist"):
        read_checkpoint(folder / "none", "bert")


def test_a_path_that_python_has_shortened_is_understood(there, copied):
    del copied
    assert data.read_text(Path(str(there)) / "a.txt") == data.read_text(there / "a.txt")
    with pytest.raises(ValueError, match=r"a file is given as a path: pathlib.Path\('[gs]"):
        data.text(f"{there}/a.txt", length=3)


@pytest.mark.parametrize("name", ["image_folder", "tokens_file", "array_record"])
def test_on_every_machine_the_same_data_have_the_same_identity(name, there, copied, tmp_path, monkeypatch):
    first = described(READERS[name](there))
    monkeypatch.setenv("FDL_CACHE", str(tmp_path / "another"))
    assert described(READERS[name](there)) == first
    assert copied and sorted(copied) == sorted(2 * copied[: len(copied) // 2]), "each machine copied all"


def described(part: data.Part) -> tuple:
    assert isinstance(part, Rows)
    found = meaning({"rows": part.identity})
    return found.values, sorted(found.arrays), found.unseen


def test_what_was_changed_is_read_anew_and_the_rest_is_not(root, there, copied):
    folder = storage.path_of(f"{root}/changing/images")
    for name in ("a/0.jpg", "a/1.jpg", "a/2.jpg", "b/0.jpg", "b/1.jpg", "b/2.jpg", "notes"):
        storage.put(folder / name, storage.get(there / "images" / "a" / "0.jpg") or b"")
    read = lambda: data.image_folder(folder, size=4, validation=0.2, test=0.2)  # noqa: E731
    before, count = read().train, len(copied)
    again = storage.get(there / "images" / "b" / "1.jpg")
    assert again is not None and count == 7
    for name in ("a/0.jpg", "a/1.jpg", "b/1.jpg", "b/2.jpg"):
        storage.put(folder / name, again)
    after = read().train
    assert len(copied) == count + 4
    assert (rows(before)["x"] != rows(after)["x"]).any() and described(before) != described(after)


def test_processes_at_once_copy_a_file_once(there, copied):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(copies.local, [there / "a.txt"] * 8))
    assert len(found) == len(copied) == 1


def test_a_copy_that_is_damaged_is_told_and_not_kept(there, copied, tmp_path, monkeypatch):
    copy = storage.copy_object

    def damaging(path: storage.Folder, to: Path) -> None:
        copy(path, to)
        content = to.read_bytes()
        to.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with monkeypatch.context() as patch:
        patch.setattr(storage, "copy_object", damaging)
        with pytest.raises(OSError, match=r"a\.txt: the copy has .*; expected .*again$") as error:
            data.read_text(there / "a.txt")
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert data.read_text(there / "a.txt") and len(copied) == 2


def test_what_is_not_there_or_does_not_answer_is_one_line(there, copied, monkeypatch):
    with pytest.raises(FileNotFoundError, match="the bucket has no such file or folder"):
        data.image_folder(there / "none", size=4)

    def gone(path: storage.Folder) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(storage, "store", gone)
    with pytest.raises(OSError, match=r"a\.txt cannot be reached \(ConnectionError: no route to host\)"):
        data.read_text(there / "a.txt")
    assert not copied


def test_names_that_no_folder_can_have_are_refused(there, copied, monkeypatch):
    told = {"size": 1, "type": "file"}
    for names, word in ((("../a",), "'../a' cannot be"), (("a", "a/b"), "'a' is an object, and the folder")):
        monkeypatch.setattr(storage, "objects", lambda _, names=names: dict.fromkeys(names, told))
        with pytest.raises(ValueError, match=word):
            copies.local(there / "images")
    assert not copied


@pytest.mark.parametrize("kind", ["gs", "s3"])
def test_the_extra_that_is_missing_is_named(kind, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"pip install fdl\[{kind}\]"):
        data.read_idx(f"{kind}://bucket/a.idx")


def test_published_sets_are_found_in_a_bucket(root, copied, monkeypatch, capsys):
    own = f"{root}/own"
    monkeypatch.setenv("FDL_DATA", f"{own}/none")
    with pytest.raises(ValueError, match=r"FDL_DATA is .* not a folder"):
        mnist.mnist()
    images, labels = np.arange(12 * 9).reshape(12, 3, 3), np.arange(12) % 10
    for remote, array in zip(mnist.MNIST, (images, labels, images, labels), strict=True):
        storage.put(storage.path_of(f"{own}/{remote.name}"), gzip.compress(idx(array)))
    pictures = cifar_file(np.zeros((10, 32, 32, 3), np.uint8), np.arange(10))
    for name in ("data_batch_1.bin", "test_batch.bin"):
        storage.put(storage.path_of(f"{own}/cifar10/{name}"), pictures)
    storage.put(storage.path_of(f"{own}/{shakespeare.TINY_SHAKESPEARE.name}"), b"To be")
    monkeypatch.setenv("FDL_DATA", own)
    assert mnist.mnist().train["x"].shape == (10, 3, 3, 1)
    assert cifar.cifar10(train_files=(1,)).train["x"].shape == (9, 32, 32, 3)
    assert shakespeare.tiny_shakespeare_file().read_text() == "To be" and len(copied) == 7
    assert main(["data", "get", "mnist"]) == 0
    assert capsys.readouterr().out == f"{own}/mnist\n" and len(copied) == 7
