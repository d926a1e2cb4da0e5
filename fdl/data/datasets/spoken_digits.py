"""Free Spoken Digit Dataset: six speakers say "zero" to "nine"."""

import io
import itertools
import os
from pathlib import Path

import numpy as np

from fdl.arguments import Count, checked
from fdl.copies import local
from fdl.data.datasets.data_set import DataSet, Origin, Remote
from fdl.data.datasets.published import obtain, say_on_stderr
from fdl.data.paths import data_folder, locate
from fdl.data.readers.clips import clips, scale_clips
from fdl.data.readers.download import Say
from fdl.data.readers.npz import read_npz
from fdl.data.readers.wav import read_wav
from fdl.data.splits import Splits
from fdl.storage import Folder, write_atomically

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The name of each class."""
_PACKED = "fsdd/fsdd.npz"
_REVISION = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"  # the recordings are those of release 1.0.10
SPOKEN_DIGITS = Remote(
    "fsdd/recordings.tar.gz",
    f"https://codeload.github.com/Jakobovski/free-spoken-digit-dataset/tar.gz/{_REVISION}",
    "9a68686ad29274bd0affde81b244953e677c9d7048dfb8acaf1168d7758bafab",
    15603781,
)


@checked
def spoken_digits(path: str | os.PathLike[str] | None = None, *, length: Count = 8000) -> Splits:
    """Spoken digits: the Free Spoken Digit Dataset (Jackson et al.), 3,000 recordings at 8,000 Hz of
    English "zero" to "nine" by six speakers, 50 of each digit by each.

    Recordings 0 to 4 of each digit and speaker are for test, as its authors split it; 5 to 9 are for
    validation, the others for train: 2,400 / 300 / 300.

    Args:
      path: an NPZ file with `wav`, int16, the recordings end to end; `offset` `[N + 1]`, where each
        begins; and of each recording `y`, the digit, `speaker`, a name, and `index`, the number of
        the recording. Where None, `spoken_digits_file()`.
      length: L, samples of a clip; 8,000 is one second, which 2,980 recordings fit in.

    Returns:
      Parts with `x`, int16 `[N, L]`, which `prepare` makes float32 in [-1, 1); `length`, int32 `[N]`;
      `y`, int32 `[N]`; and `speaker`, int32 `[N]`, the place in the sorted names.

    Raises:
      ValueError: a file that is not as described.
      OSError: no such file, or it cannot be read or downloaded.

    Example:
      >>> splits = fdl.data.spoken_digits(length=8000)  # doctest: +SKIP
      >>> splits.train["x"].shape, splits.classes[3]  # doctest: +SKIP
      ((2400, 8000), 'three')
    """
    path = spoken_digits_file() if path is None else path
    data = read_npz(path, "wav", "offset", "y", "speaker", "index")
    wav, offset = data["wav"], data["offset"]
    _check_recordings(path, data)
    arrays = clips([wav[a:b] for a, b in itertools.pairwise(offset)], length=length)
    arrays["y"] = data["y"].astype(np.int32)
    arrays["speaker"] = np.unique(data["speaker"], return_inverse=True)[1].astype(np.int32)
    index = data["index"]
    rules = (index >= 10, (index >= 5) & (index < 10), index < 5)
    parts = ({name: array[rows] for name, array in arrays.items()} for rows in rules)
    return Splits(*parts, prepare=scale_clips, classes=DIGIT_WORDS)


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
    return local(_file(say_on_stderr))


def _file(say: Say | None) -> Folder:
    """`fsdd/fsdd.npz`, found, or made of the downloaded recordings."""
    found = locate(_PACKED)
    if found is not None:
        return found
    unpacked = obtain(SPOKEN_DIGITS, say)
    path = data_folder() / _PACKED
    write_atomically(path, _packed(local(unpacked) / f"free-spoken-digit-dataset-{_REVISION}" / "recordings"))
    return path


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


def _check_recordings(path: str | os.PathLike[str], data: dict[str, np.ndarray]) -> None:
    """`ValueError` where the arrays of spoken digits disagree."""
    wav, offset = data["wav"], data["offset"]
    if wav.dtype != np.int16 or wav.ndim != 1:
        raise ValueError(f"{path}: 'wav' is {wav.dtype} {list(wav.shape)}; expected int16 [samples]")
    if offset.ndim != 1 or not offset.size or offset[0] != 0 or offset[-1] != len(wav):
        raise ValueError(f"{path}: 'offset' does not go from 0 to {len(wav)}, the samples of 'wav'")
    empty = np.flatnonzero(np.diff(offset) < 1)
    if empty.size:
        raise ValueError(
            f"{path}: 'offset' does not rise after place {empty[0]}; expected no empty recording"
        )
    for name in ("y", "speaker", "index"):
        if data[name].shape != (len(offset) - 1,):
            raise ValueError(
                f"{path}: {name!r} has shape {data[name].shape}; expected ({len(offset) - 1},), one for each "
                "recording of 'offset'"
            )
    wrong = np.flatnonzero(~np.isin(data["y"], np.arange(10)))
    if wrong.size:
        raise ValueError(f"{path}: 'y' at {wrong[0]} is {data['y'][wrong[0]]}; expected a digit, 0 to 9")


DATA_SETS = (
    DataSet(
        "spoken-digits",
        "3,000 recordings of digits by 6 speakers, 8 kHz",
        Origin.PUBLISHED,
        spoken_digits,
        licence="CC BY-SA 4.0",
        files=(SPOKEN_DIGITS,),
        places=((_PACKED,),),
        get=_file,
    ),
)
