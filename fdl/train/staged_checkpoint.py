"""Checkpoints in a store that Orbax cannot write to: made on the local disk, and copied from there.

A checkpoint's checksums are copied last and removed first: what has none is part of one, and swept away.
"""

import concurrent.futures
import contextlib
import fcntl
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fdl.parallel.distributed import broadcast_from_first, is_first
from fdl.storage import Folder, download, objects, remove, remove_all, upload
from fdl.train.checkpoint import Checkpoints, move_aside, open_checkpoints
from fdl.train.seal import SEAL

STAGES = "fdl-checkpoints-"
"""How the names of the folders for temporary files begin."""
POLL_SECONDS = 0.05
"""How often to look whether a local checkpoint is complete."""


def open_staged(directory: Folder, *, keep: int, say: Callable[[str], None]) -> Checkpoints:
    """As `open_checkpoints`; each save waits until the one before is copied, and close until the last is.

    Each of several processes makes whole checkpoints, for which its memory and disk must do, and the first
    copies its own.

    Raises:
      OSError: the store cannot be read or written, or the disk for temporary files.
    """
    with contextlib.ExitStack() as opening:
        here = opening.enter_context(_stage()) / "checkpoints"
        broadcast_from_first(lambda: _sweep(directory))
        for step in _sealed(directory):
            download(directory / step, here / step)
        local = open_checkpoints(here, keep=keep, say=say, copy_of=directory)
        stage = opening.pop_all()
    copying = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="copies")
    copies: list[concurrent.futures.Future[None]] = []

    def save(step: int, carry: Any, about: dict[str, Any]) -> None:
        broadcast_from_first(lambda: [copied.result() for copied in copies])
        local.save(step, carry, about)
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
            stage.close()

    return Checkpoints(
        save=save,
        busy=lambda: local.busy() or not all(copied.done() for copied in copies),
        restore=local.restore,
        close=close,
    )


@contextlib.contextmanager
def _stage() -> Iterator[Path]:
    """A folder for temporary files; those of processes that were killed are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{STAGES}*/lock"):
        with contextlib.suppress(OSError), left.open() as lock:  # in use, or another user's
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent)
    with (
        tempfile.TemporaryDirectory(prefix=STAGES, ignore_cleanup_errors=True) as name,
        Path(name, "unlocked").open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(lock.name).rename(Path(name, "lock"))
        yield Path(name)


def _steps(directory: Folder) -> dict[str, set[str]]:
    """The names of the objects of each checkpoint, whole or not."""
    found: dict[str, set[str]] = {}
    for path in objects(directory):
        step, _, name = path.partition("/")
        if step.isdigit():
            found.setdefault(step, set()).add(name)
    return found


def _sealed(directory: Folder) -> list[str]:
    """The steps of which there is all."""
    return [step for step, names in _steps(directory).items() if SEAL in names]


def _sweep(directory: Folder) -> None:
    """Removes what a crash left of others."""
    for step, names in _steps(directory).items():
        if SEAL not in names:
            remove_all(directory / step)


def _push(here: Path, directory: Folder) -> None:
    """Makes the steps in the store those that are here.

    Raises:
      OSError: the store cannot be written, or a checkpoint here has no checksums; nothing is removed.
    """
    there = set(_sealed(directory))
    for damaged in here.parent.glob("damaged/*"):
        step = damaged.name.partition("-")[0]
        if step in there:
            move_aside(directory / step)
        shutil.rmtree(damaged)
    there = set(_sealed(directory))
    kept = {path.name for path in here.iterdir() if path.name.isdigit()}
    for step in sorted(kept - there, key=int):
        if not (here / step / SEAL).exists():
            raise OSError(f"{here / step} has no checksums; is the disk for temporary files full?")
        for path in sorted((here / step).iterdir()):
            if path.name != SEAL:
                upload(path, directory / step / path.name)
        upload(here / step / SEAL, directory / step / SEAL)
    for step in there - kept:
        remove(directory / step / SEAL)
        remove_all(directory / step)
