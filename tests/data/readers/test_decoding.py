"""Decoding: Pillow's pixels, clear errors, and workers that may die."""

import gc
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fdl
from fdl.data.readers.workers import decoding
from tests.data.images import (
    SIZE,
    WHOLE,
    encoded,
    everything,
    expected,
    folder_of,
    linux,
    one_row,
    picture,
    put,
    train_part,
    workers_of,
)


@pytest.mark.parametrize(
    ("name", "image", "options"),
    [
        ("wide.jpg", picture(20, 31), {"quality": 95}),
        ("tall.JPEG", picture(41, 17), {}),
        ("small.png", picture(5, 9), {}),
        ("exact.png", picture(SIZE, SIZE), {}),
        ("thin.png", picture(1, 3000), {}),
        ("progressive.jpg", picture(30, 30), {"progressive": True}),
        ("grey.png", picture(20, 30, "L"), {}),
        ("grey.jpg", picture(20, 30, "L"), {}),
        ("bilevel.png", picture(20, 30, "1"), {}),
        ("palette.png", picture(20, 30, "P"), {}),
        ("palette.transparent.png", picture(20, 30, "P"), {"transparency": b"\x00\x80" * 8}),
        ("alpha.png", picture(20, 30, "RGBA"), {}),
        ("cmyk.jpg", picture(20, 30, "CMYK"), {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pixels_are_pillows(tmp_path, name, image, options):
    kind = "PNG" if name.endswith("png") else "JPEG"
    put(tmp_path / name, encoded(image, kind, **options))
    with Image.open(tmp_path / name) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow advises RGBA for transparent palettes
        np.testing.assert_array_equal(one_row(tmp_path / name), expected(opened))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = np.asarray(picture(SIZE, SIZE))
    turns = {  # how the stored pixels come from the upright ones, by EXIF 2.3, table 6
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation]))
    put(tmp_path / "a.png", encoded(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(one_row(tmp_path / "a.png"), upright)


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    deep = np.random.default_rng(0).integers(0, 2**16, (SIZE, SIZE), dtype=np.uint16)
    put(tmp_path / "a.png", encoded(Image.fromarray(deep), "PNG"))
    np.testing.assert_array_equal(one_row(tmp_path / "a.png"), np.stack([deep >> 8] * 3, axis=-1))


def test_a_png_called_jpg_is_read(tmp_path):
    put(tmp_path / "a.jpg", encoded(picture(SIZE, SIZE), "PNG"))
    np.testing.assert_array_equal(one_row(tmp_path / "a.jpg"), np.asarray(picture(SIZE, SIZE)))


def png_header(width, height):
    """A PNG whose header announces more pixels than a computer can hold, in 60 bytes."""
    chunk = lambda kind, data: (  # noqa: E731
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


DECODED = {
    "a truncated JPEG": (WHOLE[: len(WHOLE) // 2], "truncated"),
    "a JPEG of three bytes": (WHOLE[:3], "cannot identify"),
    "a truncated PNG": (encoded(picture(64, 64), "PNG")[:200], "truncated"),
    "a PNG of a header": (b"\x89PNG\r\n\x1a\n", "cannot identify"),
    "a PNG without pixels": (png_header(4, 4), "truncated|broken"),
    "a decompression bomb": (png_header(100_000, 100_000), "decompression bomb"),
}


@pytest.mark.parametrize("case", DECODED)
def test_errors_while_decoding(tmp_path, case):
    content, message = DECODED[case]
    folder_of(tmp_path, each=5)
    put(tmp_path / "cat" / "bad.jpg", content)
    decode = decoding(SIZE, workers=1)
    paths = [str(tmp_path / "cat" / name) for name in ("0.jpg", "bad.jpg", "1.jpg")]
    with pytest.raises(ValueError, match=message) as caught:
        decode(paths)
    assert str(caught.value).startswith(f"{paths[1]}: not a whole JPEG or PNG") and "\n" not in str(
        caught.value
    )
    np.testing.assert_array_equal(decode(paths[::2])[0], expected(Image.open(paths[0])))


@linux
def test_workers_that_are_killed_are_replaced(tmp_path):
    others = set(workers_of(os.getpid()))
    part, whole = train_part(folder_of(tmp_path))
    for _ in range(3):
        (first, *_) = set(workers_of(os.getpid())) - others
        os.kill(first, signal.SIGKILL)
        np.testing.assert_array_equal(everything(part)["x"], whole)


@linux
def test_a_worker_killed_in_the_middle_is_replaced(tmp_path):
    others = set(workers_of(os.getpid()))
    part, whole = train_part(folder_of(tmp_path), workers=1)
    (worker,) = set(workers_of(os.getpid())) - others
    os.kill(worker, signal.SIGSTOP)  # so that it holds a request, but has not answered it
    taken = []
    thread = threading.Thread(target=lambda: taken.append(everything(part)["x"]))
    thread.start()
    time.sleep(0.1)
    assert thread.is_alive()
    os.kill(worker, signal.SIGKILL)
    thread.join()
    np.testing.assert_array_equal(taken[0], whole)


@linux
def test_a_file_that_kills_workers_is_named(tmp_path, monkeypatch):
    deadly = tmp_path / "deadly.py"
    source = Path(sys.modules["fdl.data.readers.decoder"].__file__ or "").read_text()
    deadly.write_text(
        source.replace("    try:\n", "    if 'bad' in path:\n        sys.exit(3)\n    try:\n", 1)
    )
    monkeypatch.setattr("fdl.data.readers.workers._SCRIPT", deadly)
    put(tmp_path / "0.jpg", WHOLE)
    put(tmp_path / "bad.jpg", WHOLE)
    with pytest.raises(OSError, match=r"bad\.jpg: two worker processes ended .*status 3"):
        decoding(SIZE, workers=1)([str(tmp_path / "0.jpg"), str(tmp_path / "bad.jpg")])


@linux
def test_workers_end_when_the_function_is_dropped(tmp_path):
    gc.collect()
    others = set(workers_of(os.getpid()))
    put(tmp_path / "0.jpg", WHOLE)
    decode = decoding(SIZE, workers=2)
    assert set(workers_of(os.getpid())) == others, "workers start when they are needed"
    decode([str(tmp_path / "0.jpg")] * 20)
    assert len(set(workers_of(os.getpid())) - others) == 2
    del decode
    assert set(workers_of(os.getpid())) == others


SCRIPT = """
import os, signal, sys, threading, types
for name in ("fdl", "fdl.data"):  # as packages that import nothing, which saves seconds
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [os.path.join(sys.argv[1], *name.split("."))]
from fdl.data.readers.workers import decoding
decode, how = decoding(16, workers=2), sys.argv[3]
if how == "busy":
    def forever():
        while True:
            decode([sys.argv[2]] * 50)
    for _ in range(3):
        threading.Thread(target=forever, daemon=True).start()
decode([sys.argv[2]] * 20)
print("ready", flush=True)
sys.stdin.read(1)
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "interrupted":
    signal.signal(signal.SIGINT, lambda number, frame: sys.exit(7))
    os.killpg(0, signal.SIGINT)
"""


def running(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@linux
@pytest.mark.parametrize(("how", "status"), [("idle", 0), ("busy", 0), ("killed", -9), ("interrupted", 7)])
def test_nothing_is_left_when_the_program_ends(tmp_path, how, status):
    (tmp_path / "script.py").write_text(SCRIPT)
    put(tmp_path / "0.jpg", WHOLE)
    root = Path(fdl.__file__).parents[1]
    command = [sys.executable, "-X", "dev", tmp_path / "script.py", root, tmp_path / "0.jpg", how]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as program:
        assert program.stdout and program.stdout.readline() == b"ready\n"
        workers = workers_of(program.pid)
        assert len(workers) == 2
        told = program.communicate(b"\n")
    assert (program.returncode, *told) == (status, b"", b"")
    deadline = time.monotonic() + 10
    while any(running(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    if how != "killed":  # else it is for the system to forget them
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert not any(running(worker) for worker in workers)
