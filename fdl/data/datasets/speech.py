"""Spoken digits made by the speech synthesiser espeak-ng, where it is installed."""

import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fdl.arguments import Count, NotEmpty, NotNegative, checked
from fdl.data.datasets.data_set import DataSet, Origin
from fdl.data.datasets.spoken_digits import DIGIT_WORDS
from fdl.data.partition import split_rows
from fdl.data.readers.clips import clips, scale_clips, to_int16
from fdl.data.readers.wav import read_wav
from fdl.data.splits import Splits

_PATIENCE = 30.0  # seconds for one word, which takes well below one


@checked
def synthesised_digits(
    *,
    voices: NotEmpty[Sequence[str]] = ("en-us", "en-gb", "en-gb-scotland", "en-us+f3"),
    speeds: NotEmpty[Sequence[Count]] = (130, 160, 190),
    pitches: NotEmpty[Sequence[NotNegative[int]]] = (30, 50, 70),
    length: Count = 22050,
) -> Splits:
    """English "zero" to "nine", spoken by espeak-ng in every voice, at every speed and pitch.

    The clips, numbered with the digit as the slowest index, then voice, speed and pitch, are split by
    the rule of `partition.split_rows`, the digit being the label. The sound depends on espeak-ng's
    version, so compare only within one.

    Args:
      voices: V of the names that `espeak-ng --voices` prints, with a variant such as "+f3" or without.
      speeds: S of words a minute, 80 to 450.
      pitches: P from 0 to 99.
      length: L, samples of a clip; espeak-ng speaks at 22,050 a second.

    Returns:
      Parts of the 10 V S P clips with `x`, int16 `[N, L]`, which `prepare` makes float32 in [-1, 1);
      `length`, int32 `[N]`; `y`, int32 `[N]`; and `voice`, int32 `[N]`, the place in `voices`.

    Raises:
      ValueError: espeak-ng is not installed, or does not know a voice; no voices, speeds or pitches.
      OSError: espeak-ng does not end.

    Example:
      >>> fdl.data.synthesised_digits(voices=("en-us",)).train["x"].dtype  # doctest: +SKIP
      dtype('int16')
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise ValueError("espeak-ng is not installed; install it, for Debian by: apt-get install espeak-ng")
    rows = list(itertools.product(range(10), range(len(voices)), speeds, pitches))
    if not rows:
        raise ValueError(
            f"voices, speeds and pitches are {list(voices)}, {list(speeds)}, {list(pitches)}; "
            "expected at least one of each"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "word.wav"
        waves = [
            _spoken(program, file, DIGIT_WORDS[y], voices[v], speed, pitch) for y, v, speed, pitch in rows
        ]
    arrays = clips(waves, length=length)
    arrays["y"] = np.array([row[0] for row in rows], np.int32)
    arrays["voice"] = np.array([row[1] for row in rows], np.int32)
    parts = (
        {name: array[part] for name, array in arrays.items()} for part in split_rows(arrays["y"], len(rows))
    )
    return Splits(*parts, prepare=scale_clips, classes=DIGIT_WORDS)


def _spoken(program: str, file: Path, word: str, voice: str, speed: int, pitch: int) -> np.ndarray:
    """One word as int16 `[l]`."""
    command = [program, "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(file), word]
    file.unlink(missing_ok=True)  # so that a failure does not leave the word before
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(
            f"{program} did not say {word!r} in {_PATIENCE:g} s; expected well below one"
        ) from error
    if done.returncode or not file.exists():
        reason = " ".join(done.stderr.split()) or "no message"
        raise ValueError(
            f"{program} did not say {word!r} in voice {voice!r} (status {done.returncode}: {reason}); "
            "expected a voice that `espeak-ng --voices` prints"
        )
    return to_int16(read_wav(file)[1])


DATA_SETS = (
    DataSet("synthesised_digits", "zero to nine, spoken by espeak-ng", Origin.MADE, synthesised_digits),
)
