"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Writes a file so that a reader, or a crash, sees the old content or the new, never a part.

    Args:
      path: the file; its folder must exist.
      content: all of its bytes.

    Raises:
      OSError: the file cannot be written; nothing of it is left.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
