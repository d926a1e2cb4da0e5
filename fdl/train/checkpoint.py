"""Checkpoints through Orbax: asynchronous, atomic, verified. All that fdl asks of Orbax is here."""

import concurrent.futures
import dataclasses
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from etils import epath
from orbax.checkpoint import v1 as ocp

from fdl.parallel.abort import leave, lost, reason_of
from fdl.parallel.distributed import broadcast_from_first, client, is_first, several
from fdl.parallel.sharding import host_copy
from fdl.storage import Folder, in_bucket, move
from fdl.text import innermost, named
from fdl.train.device_copy import copied, on_gpus, on_host
from fdl.train.key_words import of_words, shape_of_words, words
from fdl.train.seal import Look, keep_newest, look, patiently, seal

Fits = Callable[[dict[str, Any], int], str | None]
"""`fits(about, step)`, why what was saved with a checkpoint rules it out, or None."""


class Restored(NamedTuple):
    """A checkpoint as it was saved."""

    step: int
    carry: Any
    about: dict[str, Any]


class Checkpoints(NamedTuple):
    """The checkpoints of one directory.

    Attributes:
      save: `save(step, carry, about)` starts a save and returns within milliseconds; `about` is JSON-able.
        On GPUs without room for a copy (see `fdl.train.device_copy`), or of several processes, it returns
        once all is on the host, and waits for the save before. Raises `OSError` if this or the save before
        failed; where one of several processes fails, all end.
      busy: `busy() -> bool`, whether a save is still under way.
      restore: `restore(abstract, until, fits, at_least=0) -> Restored | None`, the newest undamaged one of
        `at_least` and at most `until` steps (of all if None) that `fits`; newer ones are moved aside and
        said. Raises `ValueError` if all that there are are damaged, but not where `at_least` is more than
        0, and `OSError` if one cannot be read.
      close: waits for the last save; raises `OSError` if it failed.
    """

    save: Callable[[int, Any, dict[str, Any]], None]
    busy: Callable[[], bool]
    restore: Callable[..., Restored | None]
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
        remedy = "earlier checkpoints are intact: fix it and repeat the command"
        return f"cannot save to {name}: {named(innermost(error), most=200)}; {remedy}"

    open_ = functools.partial(
        ocp.training.Checkpointer,
        epath.Path(directory if in_bucket(directory) else directory.absolute()),
        context=_context(failed, alone=alone),
        preservation_policy=ocp.training.preservation_policies.PreserveAll(),  # see `seal`
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

    def save(step: int, carry: Any, about: dict[str, Any]) -> None:
        if alone:
            carry = jax.tree.map(words, carry)
            carry = host_copy(carry) if several() else carry
        alongside = not several() and on_gpus(carry)
        if alongside:  # one copy at a time, and one thread at a time that asks Orbax for a save
            concurrent.futures.wait(seals)
        guarded(lambda: [sealed.result() for sealed in seals if sealed.done()])
        copy = guarded(lambda: copied(carry)) if alongside else None
        begin = lambda carry: checkpointer.save_async(step, {"carry": carry}, force=True)  # noqa: E731
        if copy is None:
            begun = _known(guarded(lambda: begin(carry)))
        else:
            held = [copy]  # what is popped is freed once it is on the host
            begun = lambda: begin(on_host(held.pop()))  # noqa: E731
        if is_first() or alone:  # one that is shared is complete once that of all processes is
            seals[:] = [sealed for sealed in seals if not sealed.done()]
            seals.append(sealing.submit(_finish, directory / str(step), begun, about, keep))

    def close() -> None:
        concurrent.futures.wait(seals)  # they may have begun a save only now
        guarded(lambda: checkpointer.close())
        guarded(lambda: [sealed.result() for sealed in seals])
        sealing.shutdown()
        sys.unraisablehook = loud  # only now: after a failure the writes still under way end later

    def looked_at(step: int, fits: Fits) -> Look:
        found = patiently(lambda: look(directory / str(step)), str(name / str(step)))
        why = None if found.fault else fits(found.about, step)
        return found._replace(fault=why) if why else found

    def load(step: int, abstract: Any) -> Any:
        shapes = jax.tree.map(shape_of_words, abstract) if alone else abstract
        try:
            carry = checkpointer.load(step, {"carry": shapes})["carry"]
        except Exception as error:  # of many types; its bytes are right, so it is not damaged
            raise OSError(named(innermost(error), most=200)) from error
        return jax.tree.map(of_words, carry, abstract) if alone else carry

    def restore(abstract: Any, until: int | None, fits: Fits, at_least: int = 0) -> Restored | None:
        nonlocal checkpointer
        left: list[Look] = []
        lines: list[str] = []
        there = (saved.step for saved in checkpointer.checkpoints)
        wanted = range(at_least, sys.maxsize if until is None else until + 1)
        steps = sorted((step for step in there if step in wanted), reverse=True)
        newest_good, found = at_least - 1, None
        for step in broadcast_from_first(lambda: steps):
            seen = Look(*broadcast_from_first(lambda step=step: looked_at(step, fits)))
            if seen.fault:
                left.append(seen)
                lines.append(f"{name / str(step)}: {seen.fault}")
                continue
            if alone and not is_first() and (own := looked_at(step, lambda *_: None).fault):
                raise OSError(f"this process's copy of {name / str(step)}: {own}; repeat the command")
            carry = (
                load(step, abstract)
                if several()
                else patiently(lambda step=step: load(step, abstract), str(name / str(step)))
            )
            newest_good, found = step, Restored(step, carry, seen.about)
            break
        if found is None and not at_least and any(seen.sealed for seen in left):
            again = f"start again with --restart, or move {name.parent} alone away"
            raise ValueError(f"no checkpoint can be used: {'; '.join(lines)}; {again}")
        for line in lines:
            say(f"damaged checkpoint {line}; moved aside, going on from step {max(newest_good, at_least)}")
        if lines and until is None:  # a state asked for again is only read
            checkpointer.close()
            broadcast_from_first(lambda: _move_newer_aside(directory, newest_good))
            if alone and not is_first():
                _move_newer_aside(directory, newest_good)
            checkpointer = open_()
        return found

    return Checkpoints(
        save=save,
        busy=lambda: checkpointer.is_saving_in_progress() or not all(seal.done() for seal in seals),
        restore=restore,
        close=close,
    )


def _quiet(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The hook, but silent on what becomes of a failed save's other writes: Orbax has closed their event
    loop by then, and the first failure is raised where the save is waited for."""

    def quiet(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    return quiet


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


def _known(saved: Any) -> Callable[[], Any]:
    return lambda: saved


def _finish(folder: Folder, begun: Callable[[], Any], about: dict[str, Any], keep: int) -> None:
    """Once the checkpoint that is `begun` is complete, seals it, and then removes those that are not to be
    kept."""
    saved = begun()
    try:
        saved.result()
    except Exception:  # raised where the save itself is waited for
        return
    seal(folder, about)
    keep_newest(folder.parent, keep)


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
