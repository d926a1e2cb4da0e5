"""Checkpoints through Orbax: asynchronous, atomic, verified. All that fdl asks of Orbax is here."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from etils import epath
from orbax.checkpoint import v1 as ocp

from fdl.bucket import Folder, checksums, in_bucket, move
from fdl.parallel.ending import leave, lost, reason_of
from fdl.parallel.hosts import agreed, client, is_first, several
from fdl.parallel.spread import host_copy
from fdl.train.folder import read_json, write_json
from fdl.train.text import one_line

SEAL = "checksums.json"
"""The file in a checkpoint's folder that holds its other files' CRC-32."""


class Checkpoints(NamedTuple):
    """The checkpoints of one directory.

    Attributes:
      save: `save(step, carry)` starts a save and returns within milliseconds. Raises `OSError` if this or
        the save before failed; where it fails on one of several processes, all end.
      busy: `busy() -> bool`, whether a save is still under way.
      restore: `restore(abstract, until) -> (step, carry) | None`, the newest undamaged one of at most `until`
        steps (of all if None); damaged ones are moved aside and said. Raises `ValueError` if there are some
        but none can be read.
      close: waits for the last save; raises `OSError` if it failed.
    """

    save: Callable[[int, Any], None]
    busy: Callable[[], bool]
    restore: Callable[[Any, int | None], tuple[int, Any] | None]
    close: Callable[[], None]


def open_checkpoints(
    directory: Folder, *, keep: int, say: Callable[[str], None], copy_of: Folder | None = None
) -> Checkpoints:
    """Opens (or begins) the checkpoints in a directory; half-written ones are swept away.

    Args:
      directory: where they lie, one numbered folder a checkpoint.
      keep: how many of the last to keep.
      say: told of damaged checkpoints, one line each.
      copy_of: what the directory is this process's own copy of; then each of several processes saves the
        whole. If None, they share the directory, and each saves its part.

    Raises:
      OSError: the directory cannot be written.
    """
    name, alone = copy_of or directory, copy_of is not None

    def failed(error: BaseException) -> str:
        mend = "earlier checkpoints are intact: mend it and repeat the command"
        return f"cannot save to {name}: {one_line(error)}; {mend}"

    open_ = functools.partial(
        ocp.training.Checkpointer,
        epath.Path(directory if in_bucket(directory) else directory.absolute()),
        context=_context(failed, alone=alone),
        preservation_policy=ocp.training.preservation_policies.LatestN(keep),
    )
    checkpointer = open_(cleanup_tmp_directories=True)
    loud, sys.unraisablehook = sys.unraisablehook, _quiet(sys.unraisablehook)

    def guarded(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # Orbax wraps a full disk in many types
            if lost(error):
                raise
            raise OSError(failed(error)) from error

    sealing = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checksums")
    seals: list[concurrent.futures.Future[None]] = []

    def save(step: int, carry: Any) -> None:
        if alone:
            carry = jax.tree.map(_words, carry)
            carry = host_copy(carry) if several() else carry
        saved = guarded(lambda: checkpointer.save_async(step, {"carry": carry}, force=True))
        if is_first():  # it is complete once that of all processes is
            seals[:] = [sealing.submit(_seal, directory / str(step), saved)]

    def close() -> None:
        guarded(lambda: checkpointer.close())
        sealing.shutdown()
        sys.unraisablehook = loud  # only now: after a failure the writes still under way end later

    def fault(step: int) -> str | None:
        try:
            _verify(directory / str(step))
        except Exception as error:  # whatever can be wrong with a file
            return one_line(error)
        return None

    def restore(abstract: Any, until: int | None) -> tuple[int, Any] | None:
        nonlocal checkpointer
        damaged = []
        there = (saved.step for saved in checkpointer.checkpoints)
        steps = sorted((step for step in there if until is None or step <= until), reverse=True)
        for step in agreed(lambda: steps):
            found, carry = agreed(lambda step=step: fault(step)), None
            if not found:
                try:
                    shapes = jax.tree.map(_shape_of_words, abstract) if alone else abstract
                    carry = checkpointer.load(step, {"carry": shapes})["carry"]
                    carry = jax.tree.map(_key, carry, abstract) if alone else carry
                except Exception as error:  # whatever a damaged file makes of Orbax's readers
                    found = one_line(error)
                    if several():  # the others may have read it well
                        raise OSError(f"cannot read {name / str(step)}: {found}") from error
            if not found and alone and not is_first() and (own := fault(step)):
                raise OSError(f"this process's copy of {name / str(step)}: {own}; repeat the command")
            if found:
                damaged.append(f"{name / str(step)}: {found}")
                continue
            for line in damaged:
                say(f"damaged checkpoint {line}; moved aside, going on from step {step}")
            if damaged and until is None:  # a state asked for again is only read
                checkpointer.close()
                agreed(lambda step=step: _move_newer_aside(directory, step))
                if alone and not is_first():
                    _move_newer_aside(directory, step)
                checkpointer = open_()
            return step, carry
        if damaged:
            raise ValueError(f"no checkpoint can be read: {'; '.join(damaged)}; begin anew with --restart")
        return None

    return Checkpoints(
        save=save,
        busy=lambda: checkpointer.is_saving_in_progress() or not all(seal.done() for seal in seals),
        restore=restore,
        close=close,
    )


def _quiet(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The hook, but silent on what becomes of a failed save's other writes: Orbax has closed their event
    loop by then, and the first failure is raised where the save is waited for."""

    def heed(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    return heed


def _context(failed: Callable[[BaseException], str], *, alone: bool) -> ocp.Context:
    context = ocp.Context()
    context.array.saving.use_compression = False  # floats do not compress; it costs five times the time
    if not several():
        return context
    if alone:
        context.multiprocessing.primary_host = None
        # Orbax's word that a folder is there would count for those of all: some would write too early.
        context.asynchronous.create_directories_asynchronously = False
    options, meet = context.asynchronous.v0, _meeting(failed)
    context.asynchronous.v0 = lambda: dataclasses.replace(options(), barrier_sync_fn=meet)
    return context


def _meeting(failed: Callable[[BaseException], str]) -> Callable[..., None]:
    """Where the processes wait for each other while they save. One whose save has failed ends all: the
    others would wait for it for 20 minutes, and it for them."""
    opener = threading.get_ident()

    def meet(*, key: str, timeout_ms: int) -> None:
        error = sys.exc_info()[1]
        if error and threading.get_ident() != opener:  # a thread of Orbax's, which tidies up after it
            leave(reason_of(error) if lost(error) else failed(error), 1)
        client().wait_at_barrier(key, timeout_ms)

    return meet


def _words(leaf: jax.Array) -> jax.Array:
    """Of a random key its words, as none of several processes can save a key of its own."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _shape_of_words(shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    if not _is_key(shape):
        return shape
    words = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(shape.shape, shape.dtype))
    return jax.ShapeDtypeStruct(words.shape, words.dtype, sharding=shape.sharding)


def _key(words: jax.Array, shape: jax.ShapeDtypeStruct) -> jax.Array:
    if not _is_key(shape):
        return words
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(jnp.empty((), shape.dtype)))


def _is_key(leaf: jax.Array | jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _seal(folder: Folder, saved: Any) -> None:
    """Once a checkpoint is complete, writes its files' checksums: uncompressed arrays carry none.

    A crash before that leaves a checkpoint that is whole, as Orbax commits it at once, but unverified.
    """
    with contextlib.suppress(Exception):  # a failed save is raised where it is waited for
        saved.result()
        write_json(folder / SEAL, _checksums(folder))


def _verify(folder: Folder) -> None:
    sums = read_json(folder / SEAL)
    if sums is None:
        return
    found = _checksums(folder)
    for name, expected in sums.items():
        if name not in found:
            raise FileNotFoundError(f"{name} is missing")
        if found[name] != expected:
            raise ValueError(f"{name} does not agree with its checksum")


def _checksums(folder: Folder) -> dict[str, Any]:
    """Of every file. In a bucket the store's own: it made them when the bytes came, so none is read back."""
    if in_bucket(folder):
        return {name: value for name, value in checksums(folder).items() if SEAL not in name}
    assert isinstance(folder, Path)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and SEAL not in path.name)
    return {str(path.relative_to(folder)): _crc32(path) for path in files}


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def move_aside(checkpoint: Folder) -> None:
    """Moves a damaged checkpoint out of the way; nothing is deleted."""
    aside = checkpoint.parent.parent / "damaged"
    if not in_bucket(aside):
        aside.mkdir(exist_ok=True)
    number = sum(1 for _ in aside.iterdir()) if aside.exists() else 0
    move(checkpoint, aside / f"{checkpoint.name}-{number}")


def _move_newer_aside(directory: Folder, newest_good: int) -> None:
    for checkpoint in list(directory.iterdir()):
        if checkpoint.name.isdigit() and int(checkpoint.name) > newest_good:
            move_aside(checkpoint)
