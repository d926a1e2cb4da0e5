"""Decodes images in a process of its own: `python -I decoder.py [folder of Pillow]`.

A request on standard input is its length (8 bytes, big-endian) and JSON, `{"paths": [...], "size": S}`.
The answers on standard output are one frame a path, in order, each as soon as it is there: a kind
(1 byte), the length of what follows (8 bytes, big-endian), and the S * S * 3 bytes of the pixels
(kind `P`), or JSON, `{"error": "what is wrong", "disk": whether the file could not be read}` (kind `E`).
The process ends at the end of its input.

This file is a script, and imports nothing but the standard library and Pillow: it starts in a tenth
of a second and holds no memory of the program that started it.
"""

import io
import json
import os
import signal
import stat
import struct
import sys
import warnings

LENGTH = struct.Struct(">Q")
FRAME = struct.Struct(">cQ")


def decode(path: str, size: int) -> bytes:
    """The image at `path` as `size * size * 3` bytes: rows of RGB pixels.

    It is turned as its EXIF orientation says; converted to RGB as Pillow does it (an alpha channel is
    dropped; of 16 bits the upper 8 are kept); and its centred square is resized by Pillow's bilinear
    filter, which averages over the area of a pixel where it makes smaller (`ImageOps.fit`). This is
    "shorter side to `size`, then crop the centre" in one step.
    """
    from PIL import Image, ImageOps

    with _opened(path) as file, Image.open(file, formats=("JPEG", "PNG")) as image:
        ImageOps.exif_transpose(image, in_place=True)
        eight = image.point(lambda value: value * (1 / 256)).convert("L") if image.mode[0] == "I" else image
        fitted = ImageOps.fit(eight.convert("RGB"), (size, size), method=Image.Resampling.BILINEAR)
    return fitted.tobytes()


def _opened(path: str) -> io.BufferedReader:
    """A regular file; at a FIFO, which waits for a writer, reading might never end."""
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("it is a FIFO, socket or device, not a regular file")
    return file


def answer(path: str, size: int) -> tuple[bytes, bytes]:
    """The kind and the content of the frame for one path."""
    try:
        return b"P", decode(path, size)
    except Exception as error:  # whatever Pillow says of a file, the program is told, and goes on
        reason = " ".join(str(error).split()) or type(error).__name__
        disk = isinstance(error, OSError) and error.errno is not None
        return b"E", json.dumps({"error": reason, "disk": disk}).encode()


def serve() -> None:
    """Answers requests until the input ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(header := requests.read(LENGTH.size)) == LENGTH.size:
        request = json.loads(requests.read(*LENGTH.unpack(header)))
        for path in request["paths"]:
            kind, content = answer(path, request["size"])
            answers.write(FRAME.pack(kind, len(content)) + content)
            answers.flush()


if __name__ == "__main__":
    # An interrupt goes to every process of a terminal; when to end is for the program to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    sys.path += sys.argv[1:]
    serve()
