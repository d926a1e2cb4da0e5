"""Local copies of files in buckets: made once on a machine, and named by what the store says of the files.

`objects/` of the cache's `copies` has each file once; a folder in `trees/` is a file or a folder of a bucket
under its own names, of hard links to these. It is called `CONTENT-SOURCE`: the first digest stands for the
bytes, the same from every bucket whose store tells the same of them; the second for where they came from. All
appears under its name once it is whole; nothing is ever changed there, and nothing deleted.
"""

import base64
import fcntl
import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from fdl import storage
from fdl.storage import FULL, Folder, cache_folder, is_at
from fdl.text import counted

_TOGETHER = 16
"""So many files are copied at once."""
_CHUNK = 2**20


class _Object(NamedTuple):
    """A file in a bucket, as its store tells.

    Attributes:
      path: where it is.
      size: bytes.
      content: the store's own checksum, or, where it has none, its version.
      version: what is another one once the object was written again.
      crc32c: of its bytes, in base 64; of gs:// alone.
      md5: of its bytes, hexadecimal; of s3:// where its tag may be that.
    """

    path: Folder
    size: int
    content: str
    version: str
    crc32c: str | None
    md5: str | None


def local(path: str | os.PathLike[str]) -> Path:
    """The local file or folder that has what a path names: itself, or a copy of what is in a bucket.

    The store is asked what it has at every call, and only what is not here yet is copied. A copy's size is
    checked, and its bytes by CRC-32C (`gs://`), or by MD5 where the store's tag is one (`s3://`: of an object
    that was written in one part).

    Args:
      path: a local path, which stays as it is, whether there is something or not; or a file or a folder
        `gs://BUCKET/NAME` or `s3://BUCKET/NAME`, in which objects whose names end in a slash are no files.

    Raises:
      FileNotFoundError: the bucket has nothing of that name.
      OSError: the store cannot be reached, a copy is not what the store has, or the disk is full.
      ValueError: the store's extra is not installed, or objects whose names cannot be those of files here.
    """
    place = storage.path_of(path)
    if isinstance(place, Path):
        return place
    found = _found(place)
    content = _digest([(name, one.size, one.content) for name, one in found.items()])
    source = _digest([str(place), *(one.version for one in found.values())])
    folder = cache_folder().absolute() / "copies" / "trees" / f"{content}-{source}"
    if not folder.exists():
        _make(folder, place, found)
    return folder / place.name


def content_of_copy(path: str | os.PathLike[str]) -> str | None:
    """The digest that stands for all bytes of the copy in which a local file is, or None if it is in none."""
    place = os.path.abspath(path)
    trees = next((trees for trees in _trees(cache_folder()) if place.startswith(trees)), None)
    return None if trees is None else place[len(trees) :].partition("-")[0]


@functools.cache
def _trees(cache: Path) -> tuple[str, str]:
    """The folder of copies as it is called, and as memory-mapped files call it, which follow links."""
    trees = cache.absolute() / "copies" / "trees"
    return f"{trees}{os.sep}", f"{trees.resolve()}{os.sep}"


def _digest(words: Any) -> str:
    return hashlib.sha256(repr(words).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _found(place: Folder) -> dict[str, _Object]:
    """The file, or the files in the folder, by their names in it, in order."""
    one = storage.entry(place)
    if one is not None and one["type"] == "file":
        return {place.name: _object(place, one)}
    listed = storage.objects(place) if one is not None else {}
    found = {name: _object(place / name, one) for name, one in listed.items() if name and name[-1] != "/"}
    if not found:
        raise FileNotFoundError(f"{place} is not there: the bucket has no such file or folder")
    _check_names(place, found)
    return found


def _object(path: Folder, told: Mapping[str, Any]) -> _Object:
    """From what fsspec tells of an object: gcsfs as Google's store itself, s3fs as Amazon's."""
    tag = str(told.get("ETag", "")).strip('"')
    version = str(told.get("generation") or tag)
    known = [told[name] for name in ("crc32c", "md5Hash") if told.get(name)]
    md5 = tag if len(tag) == 32 else None  # written in several parts, it is another digest and their number
    return _Object(path, told["size"], str(known or tag or version), version, told.get("crc32c"), md5)


def _check_names(place: Folder, names: Mapping[str, Any]) -> None:
    """Raises `ValueError` for a name that leads out of the folder, or is one of a file and of a folder."""
    for name in names:
        parts = name.split("/")
        if {"", ".", ".."} & set(parts):
            raise ValueError(f"{place}: the object {name!r} cannot be a file in a folder here; rename it")
        above = ("/".join(parts[:end]) for end in range(1, len(parts)))
        if taken := next((one for one in above if one in names), None):
            raise ValueError(f"{place}: {taken!r} is an object, and the folder of {name!r}; rename one")


def _make(folder: Path, place: Folder, found: Mapping[str, _Object]) -> None:
    """Copies what is missing, and links it all into a new folder, which appears whole."""
    objects = folder.parents[1] / "objects"
    for parent in (objects, folder.parent):
        parent.mkdir(parents=True, exist_ok=True)
    targets = {name: objects / _digest((str(one.path), *one[1:])) for name, one in found.items()}
    missing = [(found[name], target) for name, target in targets.items() if not target.exists()]
    if missing:
        size = sum(one.size for one, _ in missing)
        print(f"copying {counted(len(missing), 'file')} of {place} ({size / 1e6:.1f} MB)", file=sys.stderr)
    with ThreadPoolExecutor(_TOGETHER) as pool:
        copies = [pool.submit(_copy, one, target) for one, target in missing]
        try:
            for copy in copies:
                copy.result()
        finally:
            pool.shutdown(cancel_futures=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as temporary:
        content = Path(temporary) / "content"
        content.mkdir()
        for name, target in targets.items():
            link = content / place.name if found[name].path == place else content / place.name / name
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(target, link)
        try:
            os.rename(content, folder)
        except OSError:
            if not folder.exists():  # else another process was first
                raise


def _copy(one: _Object, target: Path) -> None:
    """Copies an object, unless it is there; of several processes one does it, and the others wait."""
    part = target.with_name(f"{target.name}.part")
    while not target.exists():
        with open(part, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not is_at(file.fileno(), part):
                continue  # another process, which had the lock, has finished
            if target.exists():  # it had just finished when this one began the part
                part.unlink()
                continue
            try:
                storage.copy_object(one.path, part)
                _check(one, part)
                os.fsync(file.fileno())
                os.replace(part, target)
            except OSError as error:
                part.unlink(missing_ok=True)
                if error.errno in FULL:
                    fix = f"make room for {one.size} bytes, or name another folder in FDL_CACHE"
                    raise OSError(f"{part}: the disk is full; {fix}") from error
                raise


def _check(one: _Object, part: Path) -> None:
    """Raises `OSError` where a copy is not what the store told of the object."""
    wanted: dict[str, Any] = {"bytes": one.size}
    found: dict[str, Any] = {"bytes": part.stat().st_size}
    if one.crc32c:
        wanted["CRC-32C"], found["CRC-32C"] = one.crc32c, _crc32c(part)
    if one.md5 and (md5 := _md5(part)) != one.md5 and not storage.tag_is_other(one.path):
        wanted["MD5"], found["MD5"] = one.md5, md5
    if wanted != found:
        raise OSError(
            f"{one.path}: the copy has {found}; expected {wanted}: the network damaged it, or the object was "
            "written again meanwhile or has a Content-Encoding; give the command again"
        )


def _crc32c(path: Path) -> str:
    import google_crc32c  # comes with the extra `gs`

    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum.update(chunk)
    return base64.b64encode(checksum.digest()).decode()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
