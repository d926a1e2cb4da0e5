"""Image files, folders of them and the processes that decode them, for tests."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdl.data.readers.image_folder import image_folder
from fdl.data.readers.workers import decoding
from fdl.data.splits import Rows, parts

SIZE = 16


def picture(height, width, mode="RGB", seed=0):
    """A picture that is smooth, so that every filter gives other pixels, but differs with the seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def put(path: Path, content: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def folder_of(root: Path, each=10):
    """Two classes of JPEG files."""
    for label, name in enumerate(("cat", "dog")):
        for number in range(each):
            put(root / name / f"{number}.jpg", encoded(picture(20, 30, seed=100 * label + number)))
    return root


def expected(image, size=SIZE):
    """Shorter side to `size` by Pillow's bilinear filter, centre cropped, by way of its resize."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=box))


def loaded(root, **options):
    """The parts of an image folder by name."""
    return {name: rows(part) for name, part in parts(image_folder(root, size=SIZE, **options)).items()}


def rows(part) -> Rows:
    assert isinstance(part, Rows)
    return part


def everything(part: Rows):
    return part.take(np.arange(part.size))


def one_row(path):
    return decoding(SIZE, workers=1)([str(path)])[0]


def train_part(root, workers=2):
    part = loaded(root, workers=workers)["train"]
    return part, everything(part)["x"]


WHOLE = encoded(picture(64, 64))


def workers_of(parent):
    """The decoding processes of a process, by number, running or not yet waited for."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, ppid = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(ppid) == parent and (b"decoder.py" in command or state == "Z"):
                found.append(int(entry.name))
    return found


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
