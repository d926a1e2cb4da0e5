"""Folders of WAV files: a sub-folder for each class."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from fdl import copies
from fdl.arguments import Count, NotNegative, checked
from fdl.data.partition import split_rows
from fdl.data.readers.clips import clips, resample, scale_clips, to_int16
from fdl.data.readers.wav import read_wav
from fdl.data.splits import Splits

_OTHER_SOUNDS = frozenset(
    """
    .aac .aif .aifc .aiff .alac .amr .ape .au .caf .flac .m4a .mka .mp2 .mp3 .oga .ogg .opus .ra .snd .sph
    .w64 .wave .weba .wma .wv
    """.split()  # noqa: SIM905
)
"""Of files that would be missed, and so are errors."""


@checked
def wav_folder(
    folder: str | os.PathLike[str],
    *,
    length: Count,
    channel: NotNegative[int] | Literal["mean"] | None = None,
    rate: Count | None = None,
) -> Splits:
    """A folder with one sub-folder of WAV files for each class: `folder/class/file.wav`.

    Classes are the sub-folders' names in sorted order. All files must have one channel and the same
    rate, unless `channel` and `rate` say what becomes of others. The files, numbered in sorted order, class
    by class, are split by the rule of `partition.split_rows`: three, one and one fifths. Names that begin
    with a dot are left out.

    Args:
      folder: where the classes are.
      length: L, samples of a clip.
      channel: of files with several, which is taken, from 0, or "mean" for the mean of all; a file with
        several is an error if None.
      rate: samples a second, to which the files of other rates are resampled (see `resample`); files of
        different rates are an error if None.

    Returns:
      Parts with `x`, int16 `[N, L]` (samples of other widths are rounded to 16 bits), which `prepare`
      makes float32 in [-1, 1); `length`, int32 `[N]`; and `y`, int32 `[N]`.

    Raises:
      ValueError: no classes, a class without files, a faulty file, or fewer than 3 files.
      OSError: a folder or file cannot be read.

    Example:
      >>> from scipy.io import wavfile
      >>> for name in ("no", "yes"):
      ...     pathlib.Path("words", name).mkdir(parents=True)
      ...     for n in range(5): wavfile.write(f"words/{name}/{n}.wav", 8000, np.ones(9, np.int16))
      >>> splits = fdl.data.wav_folder("words", length=8)
      >>> splits.classes, splits.train["x"].shape
      (('no', 'yes'), (6, 8))
    """
    folder = copies.local(folder)
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if not classes:
        raise ValueError(f"{folder}: no sub-folders; expected one for each class, with WAV files in it")
    files = [file for name in classes for file in _wav_files(folder / name)]
    arrays = clips(_waves(files, channel, rate), length=length)
    arrays["y"] = np.array([classes.index(file.parent.name) for file in files], np.int32)
    if len(files) < 3:
        raise ValueError(f"{folder}: {len(files)} WAV files; expected at least 3, one for each part")
    rows = split_rows(arrays["y"], len(files))
    parts = ({name: array[part] for name, array in arrays.items()} for part in rows)
    return Splits(*parts, prepare=scale_clips, classes=tuple(classes))


def _wav_files(folder: Path) -> list[Path]:
    there = sorted((file for file in folder.iterdir() if file.name[0] != "."), key=lambda file: file.name)
    if others := [file for file in there if file.suffix.lower() in _OTHER_SOUNDS]:
        raise ValueError(f"{others[0]}: expected WAV; convert or remove it")
    files = [file for file in there if file.suffix.lower() == ".wav"]
    if not files:
        raise ValueError(f"{folder}: a class without .wav files; add some or remove the folder")
    return files


def _waves(
    files: Sequence[Path], channel: int | Literal["mean"] | None, rate: int | None
) -> list[np.ndarray]:
    """The files' waves as int16, all of one channel and one rate."""
    first, waves = rate, []
    for file in files:
        own, samples = read_wav(file)
        samples = _one_channel(file, samples, channel)
        first = own if first is None else first
        if own != first and rate is None:
            raise ValueError(
                f"{file}: {own} Hz; expected {first} Hz, the rate of {files[0].name}; convert it, or pass "
                f"rate={first} to have it resampled"
            )
        if own != first:
            try:
                samples = resample(samples, rate=own, to=first)
            except ValueError as error:
                raise ValueError(f"{file}: {error}; convert it first") from None
        waves.append(to_int16(samples))
    return waves


def _one_channel(file: Path, samples: np.ndarray, channel: int | Literal["mean"] | None) -> np.ndarray:
    if samples.ndim == 1:
        return samples
    count = samples.shape[1]
    if channel == "mean":
        return samples.mean(axis=1)
    if channel is None or not 0 <= channel < count:
        raise ValueError(
            f"{file}: {count} channels, and channel is {channel}; expected 1 channel: convert it, or pass "
            f"channel=0 to {count - 1} for one of them or channel='mean'"
        )
    return samples[:, channel]
