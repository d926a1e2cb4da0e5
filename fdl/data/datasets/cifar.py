"""CIFAR-10 and CIFAR-100: photographs of 32 × 32 colour pixels."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fdl.arguments import Count, NotEmpty, checked
from fdl.copies import local
from fdl.data.datasets.data_set import DataSet, Origin, Remote
from fdl.data.datasets.published import Loaded, as_splits, held_out, obtain, say_on_stderr
from fdl.data.paths import locate
from fdl.data.readers.cifar import read_cifar10, read_cifar100
from fdl.data.readers.download import Say
from fdl.data.splits import Splits
from fdl.storage import Folder, kind_of

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

_CLASSES_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_NAMES_100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
worm
"""
_CLASSES_100 = tuple(_NAMES_100.split())


@checked
def cifar10(*, train_files: NotEmpty[tuple[Count, ...]] = (1, 2, 3, 4, 5)) -> Splits:
    """CIFAR-10: photographs of ten kinds of things (Krizhevsky 2009), 32 × 32 colour pixels.

    The training images are split by their order: the last tenth, 5,000 of 50,000, is validation; the
    test images are the test part. The files of the binary version are looked for in `cifar10/` (see
    `fdl.data.paths.locate`), and all downloaded where `test_batch.bin` is not there.

    Args:
      train_files: the numbers of the `data_batch_*.bin` to read, for a folder that has not all five.

    Returns:
      Parts with `x`, uint8 `[N, 32, 32, 3]`, which `prepare` makes float32 with each channel of mean 0
      and standard deviation 1 over train, and `y`, int32 `[N]`; the arrays are read-only.

    Raises:
      ValueError: a faulty file, or none of a number.
      OSError: a file cannot be read or downloaded.

    Example:
      >>> splits = fdl.data.cifar10()  # doctest: +SKIP
      >>> splits.train["x"].shape  # doctest: +SKIP
      (45000, 32, 32, 3)
    """
    folder = _folder(CIFAR10, "cifar-10-batches-bin", "test_batch.bin", say_on_stderr)
    train = tuple(folder / f"data_batch_{number}.bin" for number in train_files)
    for path in train:
        if not kind_of(path):
            raise ValueError(
                f"{path}: is not there; expected all the files in one folder: copy it there, or name those "
                "that are, such as cifar10(train_files=(1,))"
            )
    return as_splits(
        _read(read_cifar10, tuple(map(local, train)), local(folder / "test_batch.bin")), _CLASSES_10
    )


def cifar100() -> Splits:
    """CIFAR-100: photographs of a hundred kinds of things (Krizhevsky 2009), 32 × 32 colour pixels.

    Files (in `cifar100/`: `train.bin`, `test.bin`), split and errors are as those of `cifar10`.

    Returns:
      Parts as those of `cifar10`, `y` being the fine labels, and `coarse`, int32 `[N]`, 0 to 19.

    Example:
      >>> fdl.data.cifar100().classes[:3]  # doctest: +SKIP
      ('apple', 'aquarium_fish', 'baby')
    """
    folder = _folder(CIFAR100, "cifar-100-binary", "test.bin", say_on_stderr)
    loaded = _read(read_cifar100, (local(folder / "train.bin"),), local(folder / "test.bin"))
    return as_splits(loaded, _CLASSES_100)


def _folder(remote: Remote, inside: str, test: str, say: Say | None) -> Folder:
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
    found = locate(*_names(remote, inside, test))
    return found.parent if found else obtain(remote, say) / inside


def _names(remote: Remote, inside: str, test: str) -> tuple[str, ...]:
    """Where the test file may lie: a user's own folder, or what was downloaded."""
    name, unpacked = remote.name.split("/")[0], remote.name.removesuffix(".tar.gz")
    return f"{name}/{test}", f"{name}/{inside}/{test}", f"{unpacked}/{inside}/{test}"


@functools.cache
def _read(
    read: Callable[[tuple[Path, ...]], dict[str, np.ndarray]], train_files: tuple[Path, ...], test_file: Path
) -> Loaded:
    train = read(train_files)
    return held_out(train, read((test_file,)), rows=len(train["y"]) // 10)


DATA_SETS = (
    DataSet(
        "cifar10",
        "60,000 photographs of 10 kinds, 32 x 32 x 3",
        Origin.PUBLISHED,
        cifar10,
        licence="none stated",
        files=(CIFAR10,),
        places=(_names(CIFAR10, "cifar-10-batches-bin", "test_batch.bin"),),
        get=lambda say: _folder(CIFAR10, "cifar-10-batches-bin", "test_batch.bin", say),
    ),
    DataSet(
        "cifar100",
        "60,000 photographs of 100 kinds, 32 x 32 x 3",
        Origin.PUBLISHED,
        cifar100,
        licence="none stated",
        files=(CIFAR100,),
        places=(_names(CIFAR100, "cifar-100-binary", "test.bin"),),
        get=lambda say: _folder(CIFAR100, "cifar-100-binary", "test.bin", say),
    ),
)
