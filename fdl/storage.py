"""Files written whole or not at all, on a disk or in a bucket: gs://BUCKET/NAME or s3://BUCKET/NAME.

In a bucket a put is atomic, so nothing is renamed into place; nothing can be appended to, and nothing locked.
"""

import contextlib
import errno
import fnmatch
import importlib.util
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils import epath

from fdl.text import named

Folder = Path | epath.Path
"""A local path, or one in a bucket."""

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""What systems say of a full disk."""
_LIBRARIES = {"gs": "gcsfs", "s3": "s3fs"}
"""What speaks with each kind of store for etils; the extra that brings it has the scheme's name."""
_EXPECTED = "gs://BUCKET/NAME, s3://BUCKET/NAME or a local path"


def cache_folder() -> Path:
    """The local folder of what can be made again: `$FDL_CACHE`, or `fdl` in the user's cache folder.

    Where `FDL_CACHE` is a bucket, only compiled programs and plans are kept in it.
    """
    given = os.environ.get("FDL_CACHE", "")
    if given and not in_bucket(path_of(given)):
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "fdl"


def path_of(path: str | os.PathLike[str]) -> Folder:
    """The file or folder that a path names, local or in a bucket; looks at neither.

    `pathlib.Path("gs://a/b")` is taken for what it was made of, though Python keeps one slash of the two.

    Raises:
      ValueError: a scheme that is not known, or the store's extra is not installed.
    """
    text = os.fspath(path)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", text)
    if scheme is None or not (scheme[1] in _LIBRARIES or "://" in scheme[0]):
        return Path(text)
    name = text[scheme.end() :].strip("/")
    if scheme[1] not in _LIBRARIES or not name:
        raise ValueError(f"{text} is no place; expected {_EXPECTED}")
    _check_extra(scheme[1], text)
    return epath.Path(f"{scheme[1]}://{name}")


def folder(place: str | Path | epath.Path) -> Folder:
    """The directory that a text names; of a bucket it is looked at once, so that a mistake costs nothing.

    Raises:
      ValueError: a scheme that is not known, no name in the bucket, or the store's extra is not installed.
      OSError: the bucket does not exist, or may not be read.
    """
    text = str(place)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/", text)
    if scheme is None:
        return Path(text)
    kind, name = scheme.group(1), text.partition("://")[2].strip("/")
    if kind not in _LIBRARIES or not all(name.split("/")) or "/" not in name:
        raise ValueError(f"{text} is no place to write to; expected {_EXPECTED}")
    _check_extra(kind, text)
    path, bucket = epath.Path(f"{kind}://{name}"), name.partition("/")[0]
    with _answers(path):
        if kind == "s3":
            store(path).call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)
        else:
            next(iter(store(path).ls(bucket, max_results=1)), None)
    return path


def _check_extra(kind: str, text: str) -> None:
    if importlib.util.find_spec(_LIBRARIES[kind]) is None:
        raise ValueError(f"{text} needs the extra {kind!r}: pip install fdl[{kind}]")


def in_bucket(path: Folder | str) -> bool:
    """Whether a path is in a bucket."""
    return str(path).startswith(tuple(f"{kind}://" for kind in _LIBRARIES))


def orbax_writes(path: Folder) -> bool:
    """Whether Orbax writes arrays to a place; of the stores it knows Google's alone (0.12.8)."""
    return not str(path).startswith("s3://")


def store(path: Folder) -> Any:
    """The file system of a path in a bucket, which remembers no listing: others write too."""
    import fsspec
    from fsspec.config import conf

    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs what it also raises
    kind = str(path).partition("://")[0]
    conf.setdefault(kind, {})["use_listings_cache"] = False  # also for etils and Orbax
    return fsspec.filesystem(kind)


def write_atomically(path: Folder, content: bytes | memoryview) -> None:
    """Writes a file so that a reader, or a crash, sees the old content or the new, never a part.

    Args:
      path: the file; a local one's folder must exist.
      content: all of its bytes.

    Raises:
      OSError: the file cannot be written; nothing of it is left.
    """
    if in_bucket(path):
        put(path, bytes(content))
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def is_at(opened: int, path: Path) -> bool:
    """Whether an open file, by its descriptor, is still the one of this path."""
    try:
        return os.path.samestat(os.fstat(opened), path.stat())
    except FileNotFoundError:
        return False


def remove_partials(folder: Folder) -> None:
    """Removes what processes that were killed as they wrote left in a local folder, and in those inside.

    Nobody may be writing there; but Orbax may be removing, in threads of its own, what it left unfinished:
    a folder that is gone once it is looked into, which `os.walk` passes over and `rglob` does not.
    """
    if in_bucket(folder):
        return
    for place, _, names in os.walk(folder):
        for name in fnmatch.filter(names, ".*.partial"):
            Path(place, name).unlink(missing_ok=True)


def put(path: Folder, content: bytes) -> None:
    """Writes an object, whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    with _answers(path):
        store(path).pipe_file(str(path), content)


def get(path: Folder) -> bytes | None:
    """The content of an object or a file, or None if there is none.

    Raises:
      OSError: it cannot be read.
    """
    if not in_bucket(path):
        return path.read_bytes() if path.exists() else None
    with _answers(path):
        return store(path).cat_file(str(path)) if store(path).exists(str(path)) else None


def read_all(path: Folder) -> dict[str, bytes]:
    """The objects under a folder by their names, in order; fetched together."""
    with _answers(path):
        names = sorted(store(path).find(str(path)))
        found = store(path).cat(names) if names else {}
    return {f"{str(path).partition('://')[0]}://{name}": found[name] for name in names}


def remove(path: Folder) -> None:
    """Removes an object or a file."""
    if not in_bucket(path):
        path.unlink()
        return
    with _answers(path):
        store(path).rm_file(str(path))


def move(path: Folder, target: Folder) -> None:
    """Moves a folder. In a bucket that is a copy, then a removal: what a crash cuts short is there twice."""
    if in_bucket(path):
        with _answers(path):
            store(path).copy(str(path), str(target), recursive=True)
            store(path).rm(str(path), recursive=True)
    else:
        path.rename(target)


def checksums(path: Folder) -> dict[str, str]:
    """What Google's store itself says of the objects under a folder: size and CRC-32C; reads none of them."""
    return {name: f"{one['size']} {one.get('crc32c')}" for name, one in objects(path).items()}


def entry(path: Folder) -> dict[str, Any] | None:
    """What a store tells of an object or a folder, with its `type`, or None if there is none.

    Raises:
      OSError: the store does not answer, or not to us.
    """
    with _answers(path):
        try:
            return store(path).info(str(path))
        except FileNotFoundError:
            return None


def kind_of(path: Folder) -> str:
    """Whether a path is that of a `"file"` or of a `"directory"`; `""` where there is nothing.

    Raises:
      OSError: it is in a bucket that cannot be reached.
    """
    if in_bucket(path):
        return (entry(path) or {"type": ""})["type"]
    return "directory" if os.path.isdir(path) else "file" if os.path.exists(path) else ""


def copy_object(path: Folder, here: Path) -> None:
    """Copies one object to a local file; the store's library repeats requests that fail.

    Raises:
      OSError: the store does not answer, or the disk is full.
    """
    with _answers(path):
        store(path).get_file(str(path), str(here))


def tag_is_other(path: Folder) -> bool:
    """Whether an object's tag in Amazon's store is no MD5, as a key of KMS or the caller's encrypts it.

    Not tried with a store that encrypts.
    """
    bucket, _, key = str(path).removeprefix("s3://").partition("/")
    with _answers(path):
        told = store(path).call_s3("head_object", Bucket=bucket, Key=key)
    return "kms" in told.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in told


def objects(path: Folder) -> dict[str, dict[str, Any]]:
    """What a store tells of the objects under a folder, by their names in it, in order."""
    with _answers(path):
        found = store(path).find(str(path), detail=True)
    start = len(str(path).partition("://")[2]) + 1
    return {name[start:]: one for name, one in sorted(found.items())}


def upload(here: Path, path: Folder) -> None:
    """Copies the files of a local folder, or one file, to a folder or an object in a bucket."""
    with _answers(path):
        end = "/" if here.is_dir() else ""
        store(path).put(f"{here}{end}", f"{path}{end}", recursive=here.is_dir())


def download(path: Folder, here: Path) -> None:
    """Copies the objects under a folder in a bucket to a local one."""
    with _answers(path):
        store(path).get(f"{path}/", f"{here}/", recursive=True)


def remove_all(path: Folder) -> None:
    """Removes the objects under a folder."""
    with _answers(path):
        store(path).rm(str(path), recursive=True)


@contextlib.contextmanager
def _answers(path: Folder) -> Iterator[None]:
    """Turns whatever a bucket's libraries raise into an `OSError` of one line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise OSError(
            f"{path} cannot be reached ({named(error, most=200)}); fix it and repeat the command"
        ) from error
