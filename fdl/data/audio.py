"""Recorded sound as arrays: clips of one length, spoken digits, folders of WAV files."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np

from fdl.data.catalog import spoken_digits_file
from fdl.data.npz import read_npz
from fdl.data.partition import split_rows
from fdl.data.splits import Splits
from fdl.data.wav import read_wav

_STEPS = 50_000  # of a rate in units of the common divisor: the filter has 20 places for each
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_OTHER_SOUNDS = frozenset(
    """
    .aac .aif .aifc .aiff .alac .amr .ape .au .caf .flac .m4a .mka .mp2 .mp3 .oga .ogg .opus .ra .snd .sph
    .w64 .wave .weba .wma .wv
    """.split()  # noqa: SIM905
)
"""Of files that would be missed, and so are errors."""


def clips(waves: Sequence[np.ndarray], *, length: int) -> dict[str, np.ndarray]:
    """Waves of different lengths as one array: the first `length` samples of each, then zeros.

    Args:
      waves: N arrays `[l]`, all int16 or all float32.
      length: L, samples of a clip.

    Returns:
      `x`, `[N, L]` of the waves' dtype, and `length`, int32 `[N]`: how many samples of a row are the
      wave's own, at most L.

    Raises:
      ValueError: no waves, one that is empty or of another form, or a length below 1.
    """
    if length < 1 or not len(waves):
        raise ValueError(f"length is {length} and there are {len(waves)} waves; expected at least 1 of each")
    dtype = waves[0].dtype
    x = np.zeros((len(waves), length), dtype)
    for number, wave in enumerate(waves):
        if wave.ndim != 1 or not wave.size or wave.dtype != dtype or dtype not in (np.int16, np.float32):
            raise ValueError(
                f"wave {number} is {wave.dtype} {list(wave.shape)}; expected [l], not empty, all waves int16 "
                "or all float32; take one channel of several"
            )
        x[number, : len(wave)] = wave[:length]
    return {"x": x, "length": np.array([min(len(wave), length) for wave in waves], np.int32)}


def scale_clips(batch: dict) -> dict:
    """The batch with its int16 `x` as float32 in [-1, 1): the `prepare` of the data sets of this file."""
    return {**batch, "x": batch["x"].astype(jnp.float32) / 32768}


def spoken_digits(path: str | Path | None = None, *, length: int = 8000) -> Splits:
    """Spoken digits: the Free Spoken Digit Dataset (Jackson et al.), 3,000 recordings at 8,000 Hz of
    English "zero" to "nine" by six speakers, 50 of each digit by each.

    Recordings 0 to 4 of each digit and speaker are for test, as its authors split it; 5 to 9 are for
    validation, the others for train: 2,400 / 300 / 300.

    Args:
      path: an NPZ file with `wav`, int16, the recordings end to end; `offset` `[N + 1]`, where each
        begins; and of each recording `y`, the digit, `speaker`, a name, and `index`, the number of
        the recording. Where None, `catalog.spoken_digits_file()`.
      length: L, samples of a clip; 8,000 is one second, which 2,980 recordings fit in.

    Returns:
      Parts with `x`, int16 `[N, L]`, which `prepare` makes float32 in [-1, 1); `length`, int32 `[N]`;
      `y`, int32 `[N]`; and `speaker`, int32 `[N]`, the place in the sorted names.

    Raises:
      ValueError: a file that is not as described.
      OSError: no such file, or it cannot be read or downloaded.
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
    return Splits(*parts, prepare=scale_clips, classes=_WORDS)


def wav_folder(
    folder: str | Path, *, length: int, channel: int | Literal["mean"] | None = None, rate: int | None = None
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
    """
    folder = Path(folder)
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


def resample(wave: np.ndarray, *, rate: int, to: int) -> np.ndarray:
    """A wave at another rate, by SciPy's polyphase filter (`scipy.signal.resample_poly`, Kaiser window).

    Args:
      wave: float `[L]`.
      rate: its samples a second.
      to: those of the result.

    Returns:
      float32 `[ceil(L * to / rate)]`; frequencies above half the lower rate are filtered out.

    Raises:
      ValueError: a rate below 1, or rates whose ratio needs a filter of more than a million places.
    """
    from scipy.signal import resample_poly

    if min(rate, to) < 1:
        raise ValueError(f"the rates are {rate} and {to}; expected at least 1 sample a second")
    common = math.gcd(rate, to)
    if max(rate, to) // common > _STEPS:
        raise ValueError(f"{rate} and {to} samples a second have no common divisor that is large enough")
    return resample_poly(wave.astype(np.float64), to // common, rate // common).astype(np.float32)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples in [-1, 1] as int16, rounded; exact for what was int16, louder ones are clipped."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


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


def _check_recordings(path: str | Path, data: dict[str, np.ndarray]) -> None:
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
