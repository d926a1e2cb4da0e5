"""WAV files: uncompressed sound in a RIFF container, read with every size checked."""

import os
import struct
from typing import NamedTuple

import numpy as np

from fdl.arguments import checked
from fdl.data.readers.opened_files import content_of

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # the format tags of RIFF
_DTYPES = {(_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4", (_FLOAT, 64): "<f8"}


_CONTAINERS = (b"RIFF", b"RF64", b"BW64")
_UNKNOWN = 0xFFFFFFFF  # what recorders write that do not know the length yet


class _Format(NamedTuple):
    tag: int
    channels: int
    rate: int
    bits: int


@checked
def read_wav(path: str | os.PathLike[str]) -> tuple[int, np.ndarray]:
    """Reads a WAV file: PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64, `WAVE_FORMAT_EXTENSIBLE` too.

    The container is that of "Multimedia Programming Interface and Data Specifications 1.0" (IBM and
    Microsoft 1991), or RF64 (EBU Tech 3306), for more than 4 GB. Unknown chunks are skipped. A size of
    0xFFFFFFFF is that of a program that could not know it, such as one that writes to a pipe: the sound then
    goes to the end of the file. Bytes after the last whole frame are left out.

    Args:
      path: the file.

    Returns:
      Samples a second, and float32 `[L]`, or `[L, C]` where there are several channels. Integers are
      divided by the magnitude of the smallest one, so they lie in [-1, 1); floats are as they are.

    Raises:
      ValueError: not such a file, cut short, without samples, or with samples that are not finite.
      OSError: the file cannot be read.

    Example:
      >>> from scipy.io import wavfile
      >>> wavfile.write("tone.wav", 8000, np.array([0, 16384, -32768], np.int16))
      >>> rate, samples = fdl.data.read_wav("tone.wav")
      >>> rate, samples.tolist()
      (8000, [0.0, 0.5, -1.0])
    """
    content = content_of(path)
    if len(content) < 12 or content[:4] not in _CONTAINERS or content[8:12] != b"WAVE":
        raise ValueError(
            f"{path}: byte 0: {len(content)} bytes that begin with {content[:12]!r}; expected a WAV file, "
            "which begins with b'RIFF' (or b'RF64'), its size and b'WAVE'"
        )
    form, sound, position = None, _UNKNOWN, 12
    while position + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, position)
        body = position + 8
        if name == b"data" and size == _UNKNOWN:
            size = len(content) - body if sound == _UNKNOWN else sound
        if body + size > len(content):
            raise ValueError(
                f"{path}: byte {position}: the chunk {name!r} says it has {size} bytes, but "
                f"{len(content) - body} are left; the file was cut short or never finished: copy it again"
            )
        if name == b"ds64" and content[:4] != b"RIFF" and size >= 24:
            sound = struct.unpack_from("<Q", content, body + 8)[0]
        if name == b"fmt ":
            form = _format(path, content[body : body + size], position)
        if name == b"data":
            if form is None:
                raise ValueError(
                    f"{path}: byte {position}: a data chunk before the fmt chunk; expected fmt first"
                )
            return form.rate, _samples(path, content[body : body + size], form, position)
        position = body + size + size % 2  # chunks begin at even places
    raise ValueError(f"{path}: byte {position}: the file ends without a data chunk; copy it again")


def _format(path: str | os.PathLike[str], chunk: bytes, position: int) -> _Format:
    """What the fmt chunk says, checked against itself."""
    if len(chunk) < 16:
        raise ValueError(f"{path}: byte {position}: a fmt chunk of {len(chunk)} bytes; expected at least 16")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 40:
        tag = struct.unpack_from("<H", chunk, 24)[0]
    if (tag, bits) not in {*_DTYPES, (_PCM, 24)}:
        raise ValueError(
            f"{path}: byte {position}: samples of {bits} bits in format {tag}; expected PCM (1) of 8, 16, 24 "
            "or 32 bits or floats (3) of 32 or 64; convert the file to PCM of 16 bits"
        )
    if channels < 1 or rate < 1 or block != channels * bits // 8:
        raise ValueError(
            f"{path}: byte {position}: {channels} channels of {bits} bits, {block} bytes a frame and {rate} "
            "frames a second; expected at least 1 of each, and bytes a frame = channels * bits / 8"
        )
    return _Format(tag, channels, rate, bits)


def _samples(path: str | os.PathLike[str], chunk: bytes, form: _Format, position: int) -> np.ndarray:
    """The data chunk as float32 `[L]` or `[L, C]`."""
    frame = form.channels * form.bits // 8
    if len(chunk) < frame:
        raise ValueError(
            f"{path}: byte {position}: a data chunk of {len(chunk)} bytes; expected at least {frame}, the "
            "bytes of a frame"
        )
    chunk = chunk[: len(chunk) // frame * frame]
    if form.bits == 24:
        wide = np.zeros((len(chunk) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(chunk, np.uint8).reshape(-1, 3)
        values = wide.view("<i4")[:, 0]
    else:
        values = np.frombuffer(chunk, _DTYPES[form.tag, form.bits])
    if form.tag == _FLOAT:
        samples = _finite(path, values, position)
    elif form.bits == 8:
        samples = (values.astype(np.float32) - 128) / 128
    else:
        samples = values.astype(np.float32) / np.float32(2 ** (8 * values.itemsize - 1))
    return samples if form.channels == 1 else samples.reshape(-1, form.channels)


def _finite(path: str | os.PathLike[str], values: np.ndarray, position: int) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows is reported below
        samples = values.astype(np.float32)
    if not np.isfinite(samples).all():
        first = int(np.argmin(np.isfinite(samples)))
        raise ValueError(
            f"{path}: byte {position}: sample {first} of the data chunk is {values[first]}; "
            "expected finite numbers in the range of float32"
        )
    return samples
