"""Image folders: Pillow's pixels, a fixed split, clear errors, and workers that may die."""

import gc
import hashlib
import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fdl
from fdl.data.readers.image_folder import DEVIATION, MEAN, image_folder, standardise_colours
from fdl.data.readers.workers import decoding
from fdl.data.splits import Rows, Splits, parts, row_of

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


def listing(root):
    """Every file of a folder of classes with its label, in the documented order."""
    return [
        (path.relative_to(root).as_posix(), label)
        for label, name in enumerate(sorted(folder.name for folder in root.iterdir()))
        for path in sorted((root / name).iterdir(), key=str)
    ]


def documented_split(root, validation, test):
    rows = sorted(listing(root), key=lambda row: (row[1], hashlib.sha256(row[0].encode()).hexdigest()))
    tested = round(len(rows) * test)
    held_out = tested + round(len(rows) * validation)
    split: dict[str, list] = {"train": [], "validation": [], "test": []}
    held = 0
    for place, row in enumerate(rows):
        if held_out * place % len(rows) >= held_out:
            split["train"].append(row)
        else:
            split["test" if tested * held % held_out < tested else "validation"].append(row)
            held += 1
    return {name: sorted(part, key=lambda row: (row[1], row[0])) for name, part in split.items()}


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.25, 0.15)])
def test_a_folder_is_split_as_documented(tmp_path, validation, test):
    splits = image_folder(folder_of(tmp_path, each=20), size=SIZE, validation=validation, test=test)
    assert splits.classes == ("cat", "dog")
    for name, files in documented_split(tmp_path, validation, test).items():
        part = rows(parts(splits)[name])
        taken = everything(part)
        np.testing.assert_array_equal(taken["y"], [label for _, label in files])
        np.testing.assert_array_equal(part.memory["y"], taken["y"])
        wanted = [expected(Image.open(tmp_path / path)) for path, _ in files]
        np.testing.assert_array_equal(taken["x"], wanted)
        assert {k: (v.shape[1:], v.dtype) for k, v in taken.items()} == {
            k: (v.shape, v.dtype) for k, v in row_of(part).items()
        }
        share = {"validation": validation, "test": test}.get(name, 1 - validation - test) * 20
        assert all(abs(count - share) <= 2 for count in Counter(taken["y"].tolist()).values())


def test_parts_that_are_there_are_kept(tmp_path):
    for name, each in (("train", 3), ("validation", 2), ("test", 1)):
        folder_of(tmp_path / name, each=each)
    (tmp_path / "test" / "cat" / "0.jpg").unlink()
    (tmp_path / "test" / "cat").rmdir()
    assert [everything(part)["y"].tolist() for part in loaded(tmp_path).values()] == [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 1, 1],
        [1],  # a part need not have every class, and the label is that of train
    ]


def test_what_is_no_image_is_ignored_and_depth_is_not(tmp_path):
    folder_of(tmp_path, each=5)
    alone = [part.size for part in loaded(tmp_path).values()]
    for name in ("cat/Thumbs.db", "cat/.DS_Store", "dog/._0.jpg", "dog/notes.txt", ".git/a.jpg", "a.jpg"):
        put(tmp_path / name, b"something else")
    assert [part.size for part in loaded(tmp_path).values()] == alone
    put(tmp_path / "cat" / "deep" / "er" / "0.jpg", encoded(picture(9, 9)))
    assert sum(part.size for part in loaded(tmp_path).values()) == sum(alone) + 1


def test_standardise_colours_takes_off_the_documented_constants():
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3), dtype=np.uint8)
    batch = standardise_colours({"x": x, "y": np.arange(4)})
    wanted = (x / 255.0 - np.array(MEAN)) / np.array(DEVIATION)
    assert batch["x"].dtype == np.float32 and list(batch["y"]) == [0, 1, 2, 3]
    np.testing.assert_allclose(batch["x"], wanted, rtol=1e-5, atol=1e-6)


def train_part(root, workers=2):
    part = loaded(root, workers=workers)["train"]
    return part, everything(part)["x"]


@pytest.mark.parametrize("index", [[3], [], [5, 5, 0, 15, 5], list(range(15, -1, -1))], ids=str)
def test_rows_do_not_depend_on_the_order(tmp_path, index):
    part, whole = train_part(folder_of(tmp_path))
    taken = part.take(np.array(index, int))
    np.testing.assert_array_equal(taken["x"], whole[index])
    assert taken["x"].dtype == np.uint8 and taken["y"].dtype == np.int32


def test_threads_get_their_own_rows(tmp_path):
    part, whole = train_part(folder_of(tmp_path))
    orders = [np.random.default_rng(seed).integers(0, part.size, 25) for seed in range(8)]
    taken: dict[int, np.ndarray] = {}

    def take(number):
        taken[number] = part.take(orders[number])["x"]

    threads = [threading.Thread(target=take, args=(number,)) for number in range(len(orders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, order in enumerate(orders):
        np.testing.assert_array_equal(taken[number], whole[order])


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


LISTED = {
    "zero bytes": ("cat/x.jpg", b"", ValueError, "the file is empty"),
    "text called jpg": ("cat/x.jpg", b"hello, world", ValueError, "no JPEG or PNG"),
    "a GIF called png": ("cat/x.png", b"GIF89a....", ValueError, "no JPEG or PNG"),
    "shorter than a magic number": ("cat/x.png", b"\x89PNG", ValueError, "no JPEG or PNG"),
    "another format": ("cat/x.webp", b"RIFF", ValueError, "expected JPEG or PNG"),
    "a bitmap": ("cat/x.PPM", b"P6 1 1 255 abc", ValueError, "expected JPEG or PNG"),
    "a picture of another name": ("cat/x.dat", encoded(picture(9, 9)), ValueError, "does not end in"),
    "a picture without a suffix": ("cat/x", encoded(picture(9, 9), "PNG"), ValueError, "does not end in"),
    "an unknown picture": ("cat/deep/x", encoded(picture(9, 9), "GIF"), ValueError, "as an image does"),
    "a TIFF": ("cat/x.dat", encoded(picture(9, 9), "TIFF"), ValueError, "as an image does"),
    "a BMP": ("cat/x.dat", encoded(picture(9, 9), "BMP"), ValueError, "as an image does"),
    "a WebP": ("cat/x.dat", encoded(picture(9, 9), "WEBP"), ValueError, "as an image does"),
    "a PPM": ("cat/x.dat", encoded(picture(9, 9), "PPM"), ValueError, "as an image does"),
    "a folder called jpg": ("cat/x.jpg/", None, OSError, "is a folder"),
    "a broken link": ("cat/x.jpg", "nowhere", OSError, "cannot be read"),
    "an empty class": ("cow/", None, ValueError, "no images"),
    "a class with other files": ("cow/readme.txt", b"moo", ValueError, "no images"),
    "one part of three": ("train/cat/x.jpg", encoded(picture(9, 9)), ValueError, "not all of"),
}


@pytest.mark.parametrize("case", LISTED)
def test_errors_before_training(tmp_path, case):
    name, content, kind, message = LISTED[case]
    path = folder_of(tmp_path, each=2) / name
    if isinstance(content, bytes):
        put(path, content)
    elif content is None:
        path.mkdir()
    else:
        path.symlink_to(tmp_path / content)
    with pytest.raises(kind, match=message) as caught:
        image_folder(tmp_path, size=SIZE)
    told = str(caught.value)
    assert "\n" not in told and str(tmp_path / name.split("/")[0]) in told.replace(
        f"{tmp_path} has", str(path)
    )


@pytest.mark.parametrize("name", ("a.JFIF", "b.jpe", "c.jif"))
def test_other_names_of_jpeg(tmp_path, name):
    folder_of(tmp_path, each=5)
    put(tmp_path / "cat" / name, encoded(picture(9, 9)))
    assert sum(part.size for part in loaded(tmp_path).values()) == 11


def test_a_fifo_never_hangs(tmp_path):
    folder_of(tmp_path, each=5)
    os.mkfifo(tmp_path / "cat" / "pipe")  # not called an image, so it is ignored
    assert sum(part.size for part in loaded(tmp_path).values()) == 10
    os.mkfifo(tmp_path / "cat" / "x.png")
    for read in (lambda: loaded(tmp_path), lambda: one_row(tmp_path / "cat" / "x.png")):
        with pytest.raises(ValueError, match=r"x\.png.* FIFO"):
            read()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": SIZE, "workers": 0}, "workers is 0"),
        ({"size": SIZE, "test": 0.0}, "leave a part empty"),
        ({"size": SIZE, "validation": 0.5, "test": 0.5}, "leave a part empty"),
    ],
)
def test_numbers_out_of_range(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        image_folder(folder_of(tmp_path), **arguments)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        image_folder(tmp_path / "nowhere", size=SIZE)
    put(tmp_path / "a.jpg", encoded(picture(9, 9)))
    with pytest.raises(ValueError, match="has no folders; expected one for each class"):
        image_folder(tmp_path, size=SIZE)


def test_a_class_that_train_lacks(tmp_path):
    for name in Splits._fields[:3]:
        folder_of(tmp_path / name, each=1)
    put(tmp_path / "test" / "cow" / "0.jpg", encoded(picture(9, 9)))
    with pytest.raises(ValueError, match=r"cow: no such class in train; expected one of \['cat', 'dog'\]"):
        image_folder(tmp_path, size=SIZE)


WHOLE = encoded(picture(64, 64))
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


def test_a_file_that_disappears(tmp_path):
    part = loaded(folder_of(tmp_path, each=5), workers=1)["train"]
    for path in (tmp_path / "cat").iterdir():
        path.unlink()
    with pytest.raises(OSError, match=r"cat/\d\.jpg: cannot be read: .*No such file"):
        everything(part)


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
