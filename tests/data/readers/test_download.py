"""Downloads and archives: whole and verified or not there, whatever the network or the disk does."""

import gzip
import hashlib
import io
import multiprocessing
import os
import resource
import stat
import subprocess
import sys
import tarfile
import zipfile
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from fdl.data.paths import data_folder, locate
from fdl.data.readers.archives import extract
from fdl.data.readers.download import download
from tests.data.server import Answer, serving

BODY = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(BODY).hexdigest()
PAGE = b"<!DOCTYPE html><title>Log in to the network</title>"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert text and "\n" not in text
    return text


@pytest.mark.parametrize(
    "answers, requests",
    [
        ([Answer(BODY)], [None]),
        ([Answer(BODY, chunked=True)], [None]),
        ([Answer(BODY, length=False)], [None]),
        ([Answer(BODY, send=1000), Answer(BODY)], [None, "bytes=1000-"]),
        ([Answer(BODY, send=1000), Answer(BODY, ranges=False)], [None, "bytes=1000-"]),
        (
            [Answer(BODY, send=1000), Answer(BODY, send=7), Answer(BODY)],
            [None, "bytes=1000-", "bytes=1007-"],
        ),
        ([Answer(BODY, send=400_000, chunked=True), Answer(BODY)], None),
        ([Answer(BODY, send=1000, stall=True), Answer(BODY)], [None, "bytes=1000-"]),
    ],
    ids=[
        "plain",
        "chunked",
        "no length",
        "dropped once",
        "server without ranges",
        "dropped twice",
        "dropped in a chunk",
        "stalled once",
    ],
)
def test_the_file_arrives_whole(tmp_path, answers, requests):
    path = tmp_path / "new" / "file.bin"
    with serving(*answers) as server:
        download(server.url, path, sha256=SHA256, timeout=0.3)
        assert requests is None or server.requests == requests
    assert path.read_bytes() == BODY
    assert left(path.parent) == ["file.bin"]


FAULTS = {
    "404": (Answer(b"none", status=404), OSError, "404", 0),
    "500": (Answer(b"down", status=500), OSError, "500", 0),
    "wrong bytes": (Answer(BODY[:-1] + b"x"), ValueError, "SHA-256", 0),
    "empty": (Answer(b""), ValueError, "0 bytes", 0),
    "a page instead": (Answer(PAGE), ValueError, "<!DOCTYPE html>", 0),
    "cut short without a length": (Answer(BODY[:-5], length=False), ValueError, "511995 bytes", 0),
    "refused at once": (Answer(BODY, send=0), OSError, "closed 512000 bytes early", 0),
    "silent from the start": (Answer(BODY, send=0, stall=True), OSError, "nothing came for 0.3 seconds", 0),
    "breaks again and again": (Answer(BODY, send=100), OSError, "after 400 bytes", 400),
    "stalls again and again": (Answer(BODY, send=100, stall=True), OSError, "nothing came for", 400),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_the_next_try_succeeds(tmp_path, fault):
    answer, kind, text, kept = FAULTS[fault]
    path = tmp_path / "file.bin"
    with serving(answer) as server, pytest.raises(kind) as error:
        download(server.url, path, sha256=SHA256, timeout=0.3)
    assert text in one_line(error) and server.url in one_line(error)
    assert left(tmp_path) == (["file.bin.part"] if kept else [])
    assert not kept or (tmp_path / "file.bin.part").read_bytes() == BODY[:kept]
    with serving(Answer(BODY)) as server:
        download(server.url, path, sha256=SHA256)
        assert server.requests == [f"bytes={kept}-" if kept else None]
    assert path.read_bytes() == BODY and left(tmp_path) == ["file.bin"]


def test_no_server_is_one_line(tmp_path):
    url = "http://127.0.0.1:9/none"
    with pytest.raises(OSError) as error:
        download(url, tmp_path / "file.bin", sha256=SHA256, timeout=2)
    assert url in one_line(error) and left(tmp_path) == []


def test_a_complete_part_needs_no_network(tmp_path):
    (tmp_path / "file.bin.part").write_bytes(BODY)
    download("http://127.0.0.1:9/none", tmp_path / "file.bin", sha256=SHA256)
    assert left(tmp_path) == ["file.bin"]


def test_a_file_that_is_there_needs_no_network(tmp_path):
    (tmp_path / "file.bin").write_bytes(BODY)
    download("http://127.0.0.1:9/none", tmp_path / "file.bin", sha256=SHA256)


@pytest.mark.parametrize("junk", [b"x" * 1000, b"x" * (len(BODY) + 1)], ids=["shorter", "longer"])
def test_a_foreign_part_is_dropped(tmp_path, junk):
    (tmp_path / "file.bin.part").write_bytes(junk)
    with serving(Answer(BODY)) as server:
        with pytest.raises((ValueError, OSError)) as error:
            download(server.url, tmp_path / "file.bin", sha256=SHA256)
        assert server.url in one_line(error) and left(tmp_path) == []
        download(server.url, tmp_path / "file.bin", sha256=SHA256)
    assert (tmp_path / "file.bin").read_bytes() == BODY


LIMITED = """
import resource, sys
from pathlib import Path
from fdl.data.readers.download import download
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    download(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])
except OSError as error:
    print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    path = tmp_path / "file.bin"
    with serving(Answer(BODY)) as server:
        command = [sys.executable, "-c", LIMITED, server.url, str(path), SHA256]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.count("\n") == 1 and not done.stderr
        assert f"{path}.part: the disk is full after 100000 bytes" in done.stdout
        assert left(tmp_path) == []
        download(server.url, path, sha256=SHA256)
    assert path.read_bytes() == BODY


def fetch(url: str, path: Path, start: Event) -> None:
    start.wait()
    download(url, path, sha256=SHA256)


@pytest.mark.medium
def test_processes_do_not_disturb_one_another(tmp_path):
    context = multiprocessing.get_context("forkserver")
    start = context.Event()
    with serving(Answer(BODY, send=9), Answer(BODY, send=99), Answer(BODY)) as server:
        arguments = (server.url, tmp_path / "file.bin", start)
        processes = [context.Process(target=fetch, args=arguments) for _ in range(3)]
        for process in processes:
            process.start()
        start.set()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert server.requests == [None, "bytes=9-", "bytes=108-"]
    assert left(tmp_path) == ["file.bin"] and (tmp_path / "file.bin").read_bytes() == BODY


def test_say_tells_what_is_downloaded(tmp_path):
    lines = []
    with serving(Answer(BODY, send=1000), Answer(BODY)) as server:
        download(server.url, tmp_path / "file.bin", sha256=SHA256, say=lines.append)
        assert lines == [f"downloading {server.url}", f"downloading {server.url}, from byte 1000"]


def member(name: str, kind: bytes = tarfile.REGTYPE, **attributes: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for info, content in members:
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def zip_link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


NOISE = hashlib.shake_256(b"noise").digest(100_000)
GOOD_TAR = tar((member("top", tarfile.DIRTYPE), b""), (member("top/a"), NOISE), (member("top/b/c"), b"c"))
GOOD_ZIP = zipped(("top/", b""), ("top/a", NOISE), ("top/b/c", b"c"))
FIRST = (member("first"), b"1")
BAD_ARCHIVES = {
    "tar with ..": (tar(FIRST, (member("a/../../evil"), b"x")), "member 'a/../../evil'"),
    "tar with an absolute name": (tar(FIRST, (member("/tmp/evil"), b"x")), "member '/tmp/evil'"),
    "tar with a symbolic link": (
        tar(FIRST, (member("l", tarfile.SYMTYPE, linkname="/etc"), b"")),
        "'l' is a link",
    ),
    "tar with a hard link": (
        tar(FIRST, (member("l", tarfile.LNKTYPE, linkname="first"), b"")),
        "'l' is a link",
    ),
    "tar with a device": (tar(FIRST, (member("d", tarfile.CHRTYPE), b"")), "'d' is a device"),
    "tar with a pipe": (tar(FIRST, (member("p", tarfile.FIFOTYPE), b"")), "'p' is a device"),
    "tar with a name twice": (tar(FIRST, (member("first"), b"2")), "member 'first' takes the place"),
    "tar with a file as folder": (tar(FIRST, (member("first/a"), b"2")), "member 'first/a' takes the place"),
    "tar cut in a member": (GOOD_TAR[:50_000], "cut short after or in member 'top/a'"),
    "tar cut in its first bytes": (GOOD_TAR[:20], "cut short before the first member"),
    "tar without its last bytes": (GOOD_TAR[:-4], "cut short after or in member 'top/b/c'"),
    "tar with a wrong checksum": (flipped(GOOD_TAR, len(GOOD_TAR) - 6), "damaged or cut short after"),
    "gzip of something else": (gzip.compress(NOISE), "before the first member"),
    "gzip of nothing": (gzip.compress(b""), "before the first member"),
    "zip with ..": (zipped(("first", b"1"), ("../evil", b"x")), "member '../evil'"),
    "zip with an absolute name": (zipped(("/tmp/evil", b"x")), "member '/tmp/evil'"),
    "zip with a link": (zipped(("first", b"1"), (zip_link(), b"/etc")), "'link' is a link"),
    "zip cut short": (GOOD_ZIP[:50_000], "cut short before the first member"),
    "zip with a wrong byte": (flipped(GOOD_ZIP, 50_000), "after or in member 'top/a'"),
    "a page": (PAGE, "begins with b'<!DO'"),
    "nothing": (b"", "begins with b''"),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_a_bad_archive_is_one_line_and_leaves_nothing(tmp_path, name):
    content, text = BAD_ARCHIVES[name]
    archive, folder = tmp_path / "archive", tmp_path / "folder"
    archive.write_bytes(content)
    with pytest.raises(ValueError) as error:
        extract(archive, folder)
    assert str(archive) in one_line(error) and text in one_line(error)
    assert left(tmp_path) == ["archive"]
    archive.write_bytes(GOOD_TAR)
    extract(archive, folder)
    assert left(folder) == ["top"]


@pytest.mark.parametrize("content", [GOOD_TAR, GOOD_ZIP], ids=["tar.gz", "zip"])
def test_a_good_archive_is_unpacked(tmp_path, content):
    (tmp_path / "archive").write_bytes(content)
    extract(tmp_path / "archive", tmp_path / "a" / "folder")
    found = {str(path.relative_to(tmp_path / "a")): path for path in (tmp_path / "a").rglob("*")}
    assert set(found) == {"folder", "folder/top", "folder/top/a", "folder/top/b", "folder/top/b/c"}
    assert found["folder/top/a"].read_bytes() == NOISE and found["folder/top/b/c"].read_bytes() == b"c"


def test_archives_of_the_tar_program_are_unpacked(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(NOISE)
    subprocess.run(["tar", "-czf", tmp_path / "archive", "-C", tmp_path / "in", "."], check=True)
    extract(tmp_path / "archive", tmp_path / "folder")
    assert (tmp_path / "folder" / "a").read_bytes() == NOISE


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "archive").write_bytes(GOOD_TAR)
    (tmp_path / "folder").mkdir()
    extract(tmp_path / "archive", tmp_path / "folder")
    assert left(tmp_path / "folder") == []


def test_a_full_disk_while_unpacking_leaves_nothing(tmp_path):
    (tmp_path / "archive").write_bytes(GOOD_TAR)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError) as error:
            extract(tmp_path / "archive", tmp_path / "folder")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert one_line(error) and left(tmp_path) == ["archive"]


@pytest.mark.parametrize("missing", ["none", "folder"])
def test_an_archive_that_cannot_be_read(tmp_path, missing):
    path = tmp_path if missing == "folder" else tmp_path / "none"
    with pytest.raises(OSError) as error:
        extract(path, tmp_path / "new")
    assert str(path) in one_line(error)


@pytest.mark.parametrize(
    "environment, folder",
    [
        ({"FDL_CACHE": "/a"}, "/a/data"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/fdl/data"),
        ({"HOME": "/c"}, "/c/.cache/fdl/data"),
    ],
)
def test_downloads_go_to_the_cache(monkeypatch, environment, folder):
    for name in ("FDL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert data_folder() == Path(folder)


@pytest.mark.parametrize(
    "there, found",
    [
        ([], None),
        (["cache/data/x"], "cache/data/x"),
        (["own/x", "cache/data/x"], "own/x"),
        (["own/x.gz", "cache/data/x"], "own/x.gz"),
        (["own/x.gz", "own/x"], "own/x"),
    ],
)
def test_files_are_located(tmp_path, monkeypatch, there, found):
    monkeypatch.setenv("FDL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FDL_DATA", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    (tmp_path / "cache" / "data").mkdir(parents=True)
    for name in there:
        (tmp_path / name).touch()
    assert locate("x", "x.gz") == (tmp_path / found if found else None)


def test_a_wrong_data_folder_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("FDL_DATA", os.fspath(tmp_path / "none"))
    with pytest.raises(ValueError, match="FDL_DATA") as error:
        locate("x")
    assert str(tmp_path / "none") in one_line(error)
