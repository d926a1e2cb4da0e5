"""Checkpoints in a store that Orbax cannot write to: made on the local disk, and copied from there.

A checkpoint's checksums are copied last and removed first: what has none is part of one, and swept away.
"""

import concurrent.futures
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fdl.bucket import Folder, download, objects, remove, remove_all, upload
from fdl.parallel.hosts import agreed, is_first
from fdl.train.checkpoint import SEAL, Checkpoints, move_aside, open_checkpoints

POLL_SECONDS = 0.05
"""How often to look whether a local checkpoint is complete."""


def open_mirrored(directory: Folder, *, keep: int, say: Callable[[str], None]) -> Checkpoints:
    """As `open_checkpoints`; each save waits until the one before is copied, and close until the last is.

    Each of several processes makes the whole checkpoint, for which its memory and disk must do, and the first
    copies its own.

    Raises:
      OSError: the store cannot be read or written, or the disk for temporary files.
    """
    stage = tempfile.TemporaryDirectory(prefix="fdl-checkpoints-")
    here = Path(stage.name) / "checkpoints"
    agreed(lambda: _sweep(directory))
    for step in _sealed(directory):
        download(directory / step, here / step)
    local = open_checkpoints(here, keep=keep, say=say, copy_of=directory)
    copying = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="copies")
    copies: list[concurrent.futures.Future[None]] = []

    def save(step: int, carry: Any, score: float | None) -> None:
        for copied in copies:
            copied.result()
        local.save(step, carry, score)
        if is_first():
            copies[:] = [copying.submit(copy)]

    def copy() -> None:
        while local.busy():
            time.sleep(POLL_SECONDS)
        _push(here, directory)

    def close() -> None:
        try:
            local.close()
            for copied in copies:
                copied.result()
        finally:
            copying.shutdown()
            stage.cleanup()

    return Checkpoints(
        save=save,
        busy=lambda: local.busy() or not all(copied.done() for copied in copies),
        restore=local.restore,
        close=close,
    )


def _sealed(directory: Folder) -> list[str]:
    """The steps of which there is all."""
    return [name.partition("/")[0] for name in objects(directory) if name.endswith(f"/{SEAL}")]


def _sweep(directory: Folder) -> None:
    """Removes what a crash left of others."""
    parts = {name.partition("/")[0] for name in objects(directory)}
    for step in parts.difference(_sealed(directory)):
        remove_all(directory / step)


def _push(here: Path, directory: Folder) -> None:
    """Makes the steps in the store those that are here."""
    kept = {path.parent.name for path in here.glob(f"*/{SEAL}")}
    there = set(_sealed(directory))
    for step in sorted(kept - there, key=int):
        for path in (here / step).iterdir():
            if path.name != SEAL:
                upload(path, directory / step / path.name)
        upload(here / step / SEAL, directory / step / SEAL)
    for step in there - kept:
        for damaged in here.parent.glob(f"damaged/{step}-*"):
            shutil.rmtree(damaged)
            move_aside(directory / step)
            break
        else:
            remove(directory / step / SEAL)
            remove_all(directory / step)
