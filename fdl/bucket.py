"""Directories in object stores: `gs://BUCKET/NAME` wherever a local directory may stand.

A put is atomic there, so nothing is renamed into place; nothing can be appended to, and nothing locked.
"""

import contextlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils import epath

Folder = Path | epath.Path
"""A local path, or one in a bucket."""


def folder(place: str | Path | epath.Path) -> Folder:
    """The directory that a text names; of a bucket it is looked at once, so that a mistake costs nothing.

    Raises:
      ValueError: a scheme that is not known, no name in the bucket, or the extra `bucket` is not installed.
      OSError: the bucket does not exist, or may not be read.
    """
    text = str(place)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/", text)
    if scheme is None:
        return Path(text)
    name = text.removeprefix("gs://").strip("/")
    if scheme.group(1) == "s3":
        raise ValueError(f"{text}: Orbax writes no arrays to s3://; give gs://BUCKET/NAME or a local path")
    if not text.startswith("gs://") or not all(name.split("/")) or "/" not in name:
        raise ValueError(f"{text} is no place to write to; expected gs://BUCKET/NAME or a local path")
    if importlib.util.find_spec("gcsfs") is None:
        raise ValueError(f"{text} needs the extra 'bucket': pip install fdl[bucket]")
    path = epath.Path(f"gs://{name}")
    with _answers(path):
        next(iter(store().ls(f"gs://{name.partition('/')[0]}", max_results=1)), None)
    return path


def in_bucket(path: Folder) -> bool:
    """Whether a path is in a bucket."""
    return str(path).startswith("gs://")


def store() -> Any:
    """The file system of buckets, which remembers no listing: others write too."""
    import fsspec
    from fsspec.config import conf

    conf.setdefault("gcs", {})["use_listings_cache"] = False  # also for etils and Orbax
    return fsspec.filesystem("gcs")


def put(path: Folder, content: bytes) -> None:
    """Writes an object, whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    with _answers(path):
        store().pipe_file(str(path), content)


def read_all(path: Folder) -> dict[str, bytes]:
    """The objects under a folder by their names, in order; fetched together."""
    with _answers(path):
        names = sorted(store().find(str(path)))
        found = store().cat(names) if names else {}
    return {f"gs://{name}": found[name] for name in names}


def remove(path: Folder) -> None:
    """Removes an object."""
    with _answers(path):
        store().rm_file(str(path))


def move(path: Folder, target: Folder) -> None:
    """Moves a folder. In a bucket that is a copy, then a removal: what a crash cuts short is there twice."""
    if in_bucket(path):
        with _answers(path):
            store().copy(str(path), str(target), recursive=True)
            store().rm(str(path), recursive=True)
    else:
        path.rename(target)


def checksums(path: Folder) -> dict[str, str]:
    """What the store itself says of the objects under a folder: size and CRC-32C; reads none of them."""
    with _answers(path):
        found = store().find(str(path), detail=True)
    start = len(str(path).removeprefix("gs://")) + 1
    return {name[start:]: f"{one['size']} {one.get('crc32c')}" for name, one in sorted(found.items())}


@contextlib.contextmanager
def _answers(path: Folder) -> Iterator[None]:
    """Turns whatever a bucket's libraries raise into an `OSError` of one line."""
    try:
        yield
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise OSError(f"{path} cannot be reached ({text}); mend it and repeat the command") from error
