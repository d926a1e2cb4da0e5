"""The code as one file that is the same, byte for byte, whenever the code is."""

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

LARGEST = 100_000_000
"""Bytes of code, unpacked. What is larger is data."""


def listed(root: Path) -> list[str]:
    """The files under `root` that git does not ignore, relative to it.

    Raises:
      ValueError: `root` is not a git repository.
    """
    asked = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if asked.returncode:
        raise ValueError(f"{root} is not a git repository; the launcher copies what git does not ignore")
    names = sorted({name for name in os.fsdecode(asked.stdout).split("\0") if name})
    return [name for name in names if (root / name).is_file() or (root / name).is_symlink()]


def pack(root: Path, target: Path) -> str:
    """Writes a `.tar.gz` of what git does not ignore under `root` to `target`; returns its SHA-256.

    Raises:
      ValueError: `root` is not a git repository, or holds data among the code.
    """
    files = listed(root)
    sizes = {name: (root / name).lstat().st_size for name in files}
    if sum(sizes.values()) > LARGEST:
        name = max(files, key=sizes.__getitem__)
        raise ValueError(
            f"the code under {root} has {sum(sizes.values()) / 1e6:.0f} MB, of which {name} "
            f"{sizes[name] / 1e6:.0f} MB; expected at most {LARGEST / 1e6:.0f} MB: "
            "move data to a bucket, or name it in .gitignore"
        )
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as zipped,
        tarfile.open(mode="w", fileobj=zipped, format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in files:
            _add(tar, root / name, name)
    target.write_bytes(packed.getvalue())
    return hashlib.sha256(packed.getvalue()).hexdigest()


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    info = tar.gettarinfo(path, name)
    info.type = tarfile.REGTYPE if info.type == tarfile.LNKTYPE else info.type
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    info.mode = 0o755 if info.mode & 0o100 else 0o644
    if info.issym():
        tar.addfile(info)
        return
    info.size = path.stat().st_size
    with path.open("rb") as file:
        tar.addfile(info, file)
