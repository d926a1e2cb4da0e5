"""Published data sets by name: found on the machine, or downloaded from where they are published."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fdl.data.datasets import published
from fdl.data.datasets.published import Remote
from fdl.data.readers.cifar import read_cifar10, read_cifar100
from fdl.data.readers.download import Say
from fdl.data.readers.idx import read_labelled
from fdl.data.scaling import standardise
from fdl.data.splits import Splits

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
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
worm
"""
_CIFAR100 = tuple(_CIFAR100_NAMES.split())
_Loaded = tuple[
    dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray], Callable[[Any], dict[str, Any]]
]


class DataSet(NamedTuple):
    """What there is to know of a published data set.

    Attributes:
      name: for the user to type.
      what: one line.
      licence: in short.
      files: what is downloaded.
      get: `get(say) -> path`: finds the files, or downloads those that are missing; the file, or the
        folder that they are in. `say` is told, line by line, what is downloaded.
      load: reads them: `Splits`, or the path, where reading needs a choice such as a tokenizer.
    """

    name: str
    what: str
    licence: str
    files: tuple[Remote, ...]
    get: Callable[[Say | None], Path]
    load: Callable[[], Splits | Path]


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
    """
    return _splits(_read_idx(published.idx_files(published.MNIST, _say)), _DIGITS)


def fashion_mnist() -> Splits:
    """Fashion-MNIST: Zalando's articles (Xiao, Rasul and Vollgraf 2017), 28 × 28 grey pixels.

    Files (in `fashion-mnist/`), split, parts and errors are as those of `mnist`.
    """
    return _splits(_read_idx(published.idx_files(published.FASHION_MNIST, _say)), _CLOTHES)


def cifar10(*, train_files: tuple[int, ...] = (1, 2, 3, 4, 5)) -> Splits:
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
    """
    folder = _cifar10_folder(_say)
    train = tuple(folder / f"data_batch_{number}.bin" for number in train_files)
    for path in train:
        if not path.exists():
            raise ValueError(
                f"{path}: is not there; expected all the files in one folder: copy it there, or name those "
                "that are, such as cifar10(train_files=(1,))"
            )
    return _splits(_read_cifar(read_cifar10, train, folder / "test_batch.bin"), _CIFAR10)


def cifar100() -> Splits:
    """CIFAR-100: photographs of a hundred kinds of things (Krizhevsky 2009), 32 × 32 colour pixels.

    Files (in `cifar100/`: `train.bin`, `test.bin`), split and errors are as those of `cifar10`.

    Returns:
      Parts as those of `cifar10`, `y` being the fine labels, and `coarse`, int32 `[N]`, 0 to 19.
    """
    folder = _cifar100_folder(_say)
    return _splits(_read_cifar(read_cifar100, (folder / "train.bin",), folder / "test.bin"), _CIFAR100)


def tiny_shakespeare_file() -> Path:
    """Tiny Shakespeare (Karpathy 2015): scenes of plays, 1,115,394 bytes of ASCII, 65 characters.

    Looked for as `text/shakespeare.txt` (see `fdl.data.paths.locate`), and downloaded where missing.

    Raises:
      OSError, ValueError: it cannot be downloaded.
    """
    return published.shakespeare_file(_say)


def spoken_digits_file() -> Path:
    """Free Spoken Digit Dataset (Jackson and others, release 1.0.10): 3,000 recordings of six speakers.

    Looked for as `fsdd/fsdd.npz` (see `fdl.data.paths.locate`). Where missing, the published files
    `<digit>_<speaker>_<index>.wav` are downloaded and packed into it, in the order of their names:
    `wav`, int16, the samples of all, one after another; `offset`, int64 `[N + 1]`, where each recording
    begins, and the end; `y`, uint8 `[N]`; `speaker`, str `[N]`; `index`, int64 `[N]`; `rate`, 8000 a
    second. The official test part is `index` below 5.

    Raises:
      OSError, ValueError: it cannot be downloaded or written.
    """
    return published.spoken_digits_file(_say)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _mnist_folder(say: Say | None) -> Path:
    return published.idx_files(published.MNIST, say)[0].parent


def _fashion_folder(say: Say | None) -> Path:
    return published.idx_files(published.FASHION_MNIST, say)[0].parent


def _cifar10_folder(say: Say | None) -> Path:
    return published.cifar_folder(published.CIFAR10, "cifar-10-batches-bin", "test_batch.bin", say)


def _cifar100_folder(say: Say | None) -> Path:
    return published.cifar_folder(published.CIFAR100, "cifar-100-binary", "test.bin", say)


@functools.cache
def _read_idx(paths: tuple[Path, ...]) -> _Loaded:
    train = read_labelled(paths[0], paths[1], classes=10)
    return _parts(train, read_labelled(paths[2], paths[3], classes=10), held_out=len(train["y"]) // 6)


@functools.cache
def _read_cifar(
    read: Callable[[tuple[Path, ...]], dict[str, np.ndarray]], train_files: tuple[Path, ...], test_file: Path
) -> _Loaded:
    train = read(train_files)
    return _parts(train, read((test_file,)), held_out=len(train["y"]) // 10)


def _parts(train: dict[str, np.ndarray], test: dict[str, np.ndarray], *, held_out: int) -> _Loaded:
    """Holds out the last rows of train for validation; the arrays become read-only."""
    for array in (*train.values(), *test.values()):
        array.flags.writeable = False
    first = len(train["y"]) - held_out
    kept = {name: array[:first] for name, array in train.items()}
    validation = {name: array[first:] for name, array in train.items()}
    return kept, validation, test, standardise(kept["x"])


def _splits(loaded: _Loaded, classes: tuple[str, ...]) -> Splits:
    """The arrays are shared with whoever loads the same files; the dictionaries are the caller's own."""
    train, validation, test, prepare = loaded
    return Splits(dict(train), dict(validation), dict(test), prepare, classes)


DATA_SETS = (
    DataSet(
        "mnist", "70,000 handwritten digits, 28 x 28", "none stated", published.MNIST, _mnist_folder, mnist
    ),
    DataSet(
        "fashion-mnist",
        "70,000 pieces of clothing, 28 x 28",
        "MIT",
        published.FASHION_MNIST,
        _fashion_folder,
        fashion_mnist,
    ),
    DataSet(
        "cifar10",
        "60,000 photographs of 10 kinds, 32 x 32 x 3",
        "none stated",
        (published.CIFAR10,),
        _cifar10_folder,
        cifar10,
    ),
    DataSet(
        "cifar100",
        "60,000 photographs of 100 kinds, 32 x 32 x 3",
        "none stated",
        (published.CIFAR100,),
        _cifar100_folder,
        cifar100,
    ),
    DataSet(
        "tiny-shakespeare",
        "1.1 million characters of plays",
        "public domain",
        (published.TINY_SHAKESPEARE,),
        published.shakespeare_file,
        tiny_shakespeare_file,
    ),
    DataSet(
        "spoken-digits",
        "3,000 recordings of digits by 6 speakers, 8 kHz",
        "CC BY-SA 4.0",
        (published.SPOKEN_DIGITS,),
        published.spoken_digits_file,
        spoken_digits_file,
    ),
)
"""All of them, for a command line to list."""
