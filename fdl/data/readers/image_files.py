"""The image files in a folder: which are read, and which would be missed and so are errors."""

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fdl.data.readers.opened_files import opened

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".png")
"""Of the files that are read, in either case."""

_OTHER_IMAGES = frozenset(
    re.findall(
        r"\S+",
        """
        .apng .arw .avif .bmp .bpg .cr2 .cr3 .dcm .dds .dib .dng .emf .eps .exr .fits .gif .hdr
        .heic .heif .icns .ico .im .j2c .j2k .jp2 .jpc .jpf .jpx .jxl .jxr .mng .mpo .nef .nii .orf
        .pam .pbm .pcd .pcx .pfm .pgm .pict .pnm .ppm .ps .psd .qoi .raf .ras .raw .rgb .rgba .rw2
        .sgi .svg .svs .tga .tif .tiff .wbmp .wdp .webp .wmf .xbm .xcf .xpm
        """,
    )
)
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_ANY_IMAGE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|II\+\0|MM\0\+|BM....\0\0\0\0"
    rb"|....ftyp(?:avif|avis|heic|heix|mif1|msf1)|\0\0\0\x0cjP  |\xff\x4f\xff\x51|\xff\x0a|\0\0\0\x0cJXL "
    rb"|8BPS|P[1-6]\s+(?:#|\d+\s+\d+\s)|qoif|gimp xcf|DDS |v/1\x01",
    re.DOTALL,
)
_Problem = Callable[[bytes], str | None]
_START = 16  # bytes
_READERS = 16  # threads that look into files: a network disk answers many at once
_SHARE = 256  # files that one of them looks into at a time


def image_files(folder: Path) -> list[str]:
    """The files in a folder, at any depth, that are called images, sorted; errors as of `image_folder`."""
    images, others = [], []
    for path in _files(folder):
        suffix = Path(path).suffix.lower()
        if suffix in _OTHER_IMAGES:
            raise ValueError(f"{path}: expected JPEG or PNG; convert or remove it")
        (images if suffix in SUFFIXES else others).append(path)
    _each(sorted(images), _no_image)
    _each(sorted(path for path in others if os.path.isfile(path) and os.access(path, os.R_OK)), _image)
    return sorted(images)


def _files(folder: Path) -> Iterator[str]:
    """All files that are not hidden, at any depth."""
    for where, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if name[0] != "."]
        for name in folders:
            if Path(name).suffix.lower() in SUFFIXES:
                raise OSError(f"{os.path.join(where, name)}: is a folder; expected an image, or another name")
        yield from (os.path.join(where, name) for name in files if name[0] != ".")


def _raise(error: OSError) -> None:
    raise OSError(f"{error.filename}: cannot be read ({error.strerror})")


def _each(paths: list[str], problem: _Problem) -> None:
    """Looks at the first bytes of every file; raises for the first that has a problem."""
    shares = [paths[start : start + _SHARE] for start in range(0, len(paths), _SHARE)]
    with ThreadPoolExecutor(_READERS) as readers:
        for found in readers.map(lambda share: _first(share, problem), shares):
            if found is not None:
                readers.shutdown(cancel_futures=True)
                raise found


def _first(paths: list[str], problem: _Problem) -> Exception | None:
    for path in paths:
        try:
            with opened(path) as file:
                start = file.read(_START)
        except OSError as error:
            return OSError(f"{path}: cannot be read ({error.strerror}); fix or remove it")
        except ValueError as error:
            return error
        if (what := problem(start)) is not None:
            return ValueError(f"{path}: {what}")
    return None


def _no_image(start: bytes) -> str | None:
    if not start:
        return "the file is empty; expected a JPEG or PNG image; replace or remove it"
    if not start.startswith(_MAGIC):
        return f"begins with {start[:8]!r}, which is no JPEG or PNG; replace or remove it"
    return None


def _image(start: bytes) -> str | None:
    if _ANY_IMAGE.match(start):
        return (
            f"begins with {start[:8]!r}, as an image does, but its name does not end in "
            f"{', '.join(SUFFIXES)}; rename, convert or remove it"
        )
    return None
