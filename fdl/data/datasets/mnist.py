"""MNIST and Fashion-MNIST: 28 × 28 grey pixels of ten classes."""

import functools
from pathlib import Path

from fdl.copies import local
from fdl.data.datasets.data_set import DataSet, Origin, Remote
from fdl.data.datasets.published import Loaded, as_splits, held_out, obtain, say_on_stderr
from fdl.data.readers.download import Say
from fdl.data.readers.idx import read_labelled
from fdl.data.splits import Splits
from fdl.storage import Folder

_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


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


def mnist() -> Splits:
    """MNIST: handwritten digits (LeCun, Bottou, Bengio and Haffner 1998), 28 × 28 grey pixels.

    The training images are split by their order: the first 50,000 of the 60,000 are train, the last
    sixth, 10,000, is validation; the 10,000 test images are the test part. The files are looked for in
    `mnist/` (see `fdl.data.paths.locate`), compressed or not, and downloaded where missing.

    Returns:
      Parts with `x`, uint8 `[N, 28, 28, 1]`, which `prepare` makes float32 of mean 0 and standard
      deviation 1 over train, and `y`, int32 `[N]`; the arrays are read-only.

    Raises:
      ValueError: a faulty file.
      OSError: a file cannot be read or downloaded.

    Example:
      >>> splits = fdl.data.mnist()  # doctest: +SKIP
      >>> splits.train["x"].shape, splits.classes[7]  # doctest: +SKIP
      ((50000, 28, 28, 1), '7')
    """
    return as_splits(_read(tuple(map(local, _files(MNIST, say_on_stderr)))), _DIGITS)


def fashion_mnist() -> Splits:
    """Fashion-MNIST: Zalando's articles (Xiao, Rasul and Vollgraf 2017), 28 × 28 grey pixels.

    Files (in `fashion-mnist/`), split, parts and errors are as those of `mnist`.

    Example:
      >>> fdl.data.fashion_mnist().classes[:3]  # doctest: +SKIP
      ('T-shirt/top', 'trouser', 'pullover')
    """
    return as_splits(_read(tuple(map(local, _files(FASHION_MNIST, say_on_stderr)))), _CLOTHES)


def _files(remotes: tuple[Remote, ...], say: Say | None) -> tuple[Folder, ...]:
    """The four files, compressed or not, found or downloaded."""
    return tuple(obtain(remote, say, *_names(remote)) for remote in remotes)


def _names(remote: Remote) -> tuple[str, ...]:
    return remote.name, remote.name.removesuffix(".gz")


@functools.cache
def _read(paths: tuple[Path, ...]) -> Loaded:
    train = read_labelled(paths[0], paths[1], classes=10)
    return held_out(train, read_labelled(paths[2], paths[3], classes=10), rows=len(train["y"]) // 6)


DATA_SETS = (
    DataSet(
        "mnist",
        "70,000 handwritten digits, 28 x 28",
        Origin.PUBLISHED,
        mnist,
        licence="none stated",
        files=MNIST,
        places=tuple(map(_names, MNIST)),
        get=lambda say: _files(MNIST, say)[0].parent,
    ),
    DataSet(
        "fashion-mnist",
        "70,000 pieces of clothing, 28 x 28",
        Origin.PUBLISHED,
        fashion_mnist,
        licence="MIT",
        files=FASHION_MNIST,
        places=tuple(map(_names, FASHION_MNIST)),
        get=lambda say: _files(FASHION_MNIST, say)[0].parent,
    ),
)
