"""Files of published data sets: where they lie, and where they are downloaded from."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fdl.data.paths import data_folder, locate
from fdl.data.readers.archives import extract
from fdl.data.readers.download import Say, download
from fdl.data.readers.wav import read_wav
from fdl.storage import write_atomically


class Remote(NamedTuple):
    """A published file.

    Attributes:
      name: where it lies in a data folder; a `.tar.gz` is unpacked to a folder of its name without that.
      url: where it is published.
      sha256: of the published file, hexadecimal.
      bytes: its size.
    """

    name: str
    url: str
    sha256: str
    bytes: int


def _idx(folder: str, url: str, *files: tuple[str, int, str]) -> tuple[Remote, ...]:
    return tuple(Remote(f"{folder}/{name}", f"{url}/{name}", sha256, size) for name, size, sha256 in files)


MNIST = _idx(
    "mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    (
        "train-images-idx3-ubyte.gz",
        9912422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    ("train-labels-idx1-ubyte.gz", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    (
        "t10k-images-idx3-ubyte.gz",
        1648877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    ("t10k-labels-idx1-ubyte.gz", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
"""Train images and labels, test images and labels."""

FASHION_MNIST = _idx(
    "fashion-mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    (
        "train-images-idx3-ubyte.gz",
        26421880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    ("train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    (
        "t10k-images-idx3-ubyte.gz",
        4422102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    ("t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
"""Train images and labels, test images and labels."""

CIFAR10 = Remote(
    "cifar10/cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    170052171,
)

CIFAR100 = Remote(
    "cifar100/cifar-100-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    168513733,
)

TINY_SHAKESPEARE = Remote(
    "text/shakespeare.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    1115394,
)

_REVISION = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"  # the recordings are those of release 1.0.10
SPOKEN_DIGITS = Remote(
    "fsdd/recordings.tar.gz",
    f"https://codeload.github.com/Jakobovski/free-spoken-digit-dataset/tar.gz/{_REVISION}",
    "9a68686ad29274bd0affde81b244953e677c9d7048dfb8acaf1168d7758bafab",
    15603781,
)


def idx_files(remotes: tuple[Remote, ...], say: Say | None) -> tuple[Path, ...]:
    """The files of an MNIST-like set, compressed or not, found or downloaded; errors as `download`'s."""
    return tuple(_obtain(remote, say, remote.name.removesuffix(".gz")) for remote in remotes)


def cifar_folder(remote: Remote, inside: str, test: str, say: Say | None) -> Path:
    """The folder of CIFAR's binary files, found by its test file or downloaded.

    All the files are to come from that one folder: nothing is mixed of two sources.

    Args:
      remote: the archive.
      inside: the archive's own folder.
      test: the name of the test file.
      say: see `download`.

    Raises:
      OSError, ValueError: see `download`.
    """
    name = remote.name.split("/")[0]
    found = locate(f"{name}/{test}", f"{name}/{inside}/{test}")
    return found.parent if found else _obtain(remote, say) / inside


def shakespeare_file(say: Say | None) -> Path:
    """`text/shakespeare.txt`, found or downloaded; errors as `download`'s."""
    return _obtain(TINY_SHAKESPEARE, say)


def spoken_digits_file(say: Say | None) -> Path:
    """`fsdd/fsdd.npz`, found, or made of the downloaded recordings; errors as `download`'s."""
    found = locate("fsdd/fsdd.npz")
    if found is not None:
        return found
    unpacked = _obtain(SPOKEN_DIGITS, say)
    path = data_folder() / "fsdd" / "fsdd.npz"
    write_atomically(path, _packed(unpacked / f"free-spoken-digit-dataset-{_REVISION}" / "recordings"))
    return path


def _obtain(remote: Remote, say: Say | None, *others: str) -> Path:
    """The file, or the archive's folder; `others` are names under which it may lie as well."""
    name = remote.name.removesuffix(".tar.gz")
    found = locate(name, *others)
    if found is not None:
        return found
    path = data_folder() / remote.name
    download(remote.url, path, sha256=remote.sha256, say=say)
    if name != remote.name:
        extract(path, data_folder() / name)
        path.unlink(missing_ok=True)  # another process may have been first
    return data_folder() / name


def _packed(folder: Path) -> memoryview:
    """WAV files `<digit>_<speaker>_<index>.wav` as the bytes of an NPZ file, in the order of their names."""
    files = sorted(folder.glob("*.wav"), key=lambda file: file.name)
    waves = [(read_wav(file)[1] * 32768).astype(np.int16) for file in files]  # exact: they have 16 bits
    digits, speakers, numbers = zip(*(file.stem.split("_") for file in files), strict=True)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        wav=np.concatenate(waves),
        offset=np.cumsum([0, *map(len, waves)]),
        y=np.array([int(digit) for digit in digits], np.uint8),
        speaker=np.array(speakers),
        index=np.array([int(number) for number in numbers]),
        rate=np.int64(8000),
    )
    return buffer.getbuffer()
