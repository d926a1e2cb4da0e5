"""Emergency checkpoints: what a process holds of a run's state, on its own disk or in its memory.

They are made more often than those of the run's directory, as nothing is sent anywhere, and are good for a
start of the same processes on the same machines. Those of a step count if every process has its part, whole.

Orbax's own (0.12.8) do not serve. `emergency.CheckpointManager` wants copies of the state on two slices or
more, lets all but the first keep local ones, and ignores the local folder where there is one slice.
`ReplicatorCheckpointManager` leaves it to a service outside to see that all processes have the same. Neither
knows whether bytes are damaged, nor which run they are of.
"""

import concurrent.futures
import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from fdl.parallel.distributed import broadcast_from_first, from_all, process_id, processes
from fdl.serialization import digest
from fdl.storage import Folder
from fdl.text import named
from fdl.train.checkpoint import Fits, Restored
from fdl.train.folder import read_sealed, write_sealed
from fdl.train.key_words import of_words, shape_of_words, words
from fdl.train.seal import SEAL, Look, keep_newest, look, seal

KEPT = 2
"""How many of the last are kept."""
_OWNER = "emergency.json"
_ARRAYS = "arrays"

Bounds = tuple[tuple[int, int], ...]


class Emergency(NamedTuple):
    """A run's emergency checkpoints. All processes call each of these but `busy`, in the same order.

    Attributes:
      save: `save(step, carry, about)` copies what this process holds to its memory, and starts writing it.
        What cannot be written is said, and ends nothing.
      busy: `busy() -> bool`, whether this process still writes.
      steps: `steps(abstract, fits) -> Iterator[int]`, those of which every process has its part, whole and
        of this run, that `fits`; the newest first.
      load: `load(step, abstract) -> Restored | None`, the one of a step of `steps`; None where some process
        cannot read it.
      went_on: `went_on(step)` removes what is newer than where the run went on; says what was not taken.
      close: `close(finished)` waits for the last one; of a finished run all are removed.
    """

    save: Callable[[int, Any, dict[str, Any]], None]
    busy: Callable[[], bool]
    steps: Callable[[Any, Fits], Iterator[int]]
    load: Callable[[int, Any], Restored | None]
    went_on: Callable[[int], None]
    close: Callable[[bool], None]


def open_emergency(place: Path, directory: Folder, *, say: Callable[[str], None]) -> Emergency:
    """Opens (or begins) the emergency checkpoints of a run.

    Args:
      place: on this process's own disk, or in its memory; other runs may have theirs there.
      directory: the run's.
      say: told of what is not taken and what cannot be written, one line each.

    Raises:
      OSError: the directory cannot be read or written.
    """
    here = place.absolute() / _owner(directory, say) / str(process_id())
    here.mkdir(parents=True, exist_ok=True)
    _sweep(here)
    writing = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="emergency")
    under_way: list[concurrent.futures.Future[None]] = []
    whole: dict[int, dict[str, Any]] = {}
    skipped: list[str] = []
    failed: set[int] = set()

    def landed() -> str | None:
        errors = [error for written in under_way if (error := written.exception())]
        under_way.clear()
        return named(errors[0], most=200) if errors else None

    def save(step: int, carry: Any, about: dict[str, Any]) -> None:
        for number, fault in enumerate(from_all(landed())):
            if fault and number not in failed:
                say(f"process {number} cannot write emergency checkpoints to {here.parent}: {fault}")
                failed.add(number)
        arrays = jax.tree.leaves(jax.tree.map(words, carry))
        for array in arrays:
            array.copy_to_host_async()
        parts = [np.array(part) for array in arrays for part in _held(array)]  # the device reuses its own
        under_way.append(writing.submit(_write, here / str(step), parts, {"run": about, **_told(arrays)}))

    def seen(step: int, told: dict[str, Any]) -> Look:
        try:
            found = look(here / str(step))
        except OSError as error:
            found = Look(f"cannot be read ({named(error, most=200)})", False, {})
        own = {name: found.about.get(name) for name in told}
        if found.fault is None and own != told:
            whose = f"is of process {own['process']} of {own['processes']}"
            return Look(f"{whose}, or of a state laid out in another way", True, {})
        return found

    def steps(abstract: Any, fits: Fits) -> Iterator[int]:
        told = _told(jax.tree.leaves(jax.tree.map(shape_of_words, abstract)))
        for step in sorted({step for of_one in from_all(_steps(here)) for step in of_one}, reverse=True):
            mine = seen(step, told)
            faults = [f"process {i}: {fault}" for i, fault in enumerate(from_all(mine.fault)) if fault]
            unfit = None if faults else broadcast_from_first(lambda m=mine, s=step: fits(m.about["run"], s))
            if faults or unfit:
                skipped.append(f"emergency checkpoint of step {step:,}: {unfit or '; '.join(faults)}")
                continue
            whole[step] = broadcast_from_first(lambda m=mine: m.about["run"])
            yield step

    def load(step: int, abstract: Any) -> Restored | None:
        shapes = jax.tree.map(shape_of_words, abstract)
        parts, fault = [], None
        try:
            parts = _read(here / str(step), sum(len(_places(one)) for one in jax.tree.leaves(shapes)))
        except (OSError, ValueError, EOFError) as error:  # it was whole a moment ago
            fault = named(error, most=200)
        if any(faults := from_all(fault)):
            skipped.append(f"emergency checkpoint of step {step:,}: {next(filter(None, faults))}")
            return None
        rest = iter(parts)
        carry = jax.tree.map(lambda one: _assembled(one, rest), shapes)
        return Restored(step, jax.tree.map(of_words, carry, abstract), whole[step])

    def went_on(step: int) -> None:
        for line in skipped:
            say(f"{line}; not taken")
        for newer in _steps(here):
            if newer > step:
                shutil.rmtree(here / str(newer), ignore_errors=True)

    def close(finished: bool) -> None:
        writing.shutdown()
        if finished:
            shutil.rmtree(here, ignore_errors=True)
            with contextlib.suppress(OSError):  # other processes of this machine have theirs there
                here.parent.rmdir()

    return Emergency(
        save=save,
        busy=lambda: not all(written.done() for written in under_way),
        steps=steps,
        load=load,
        went_on=went_on,
        close=close,
    )


def _owner(directory: Folder, say: Callable[[str], None]) -> str:
    """A name of the run in a directory that no other has, not even the one that starts again in its place."""

    def told() -> str:
        path = directory / _OWNER
        try:
            found = read_sealed(path, fix="emergency checkpoints, which it names, are not taken")
        except ValueError as fault:
            say(str(fault))
            found = None
        if found is None:
            found = {"name": uuid.uuid4().hex}
            write_sealed(path, found)
        return found["name"]

    return broadcast_from_first(told)


def _sweep(here: Path) -> None:
    """Removes what a kill left half written, or half removed."""
    for path in here.iterdir():
        if not (path.name.isdigit() and (path / SEAL).exists()):
            shutil.rmtree(path, ignore_errors=True)


def _steps(here: Path) -> list[int]:
    return [int(path.name) for path in here.iterdir() if path.name.isdigit()]


def _bounds(index: tuple[slice, ...], shape: tuple[int, ...]) -> Bounds:
    return tuple(piece.indices(size)[:2] for piece, size in zip(index, shape, strict=True))


def _places(one: Any) -> dict[Bounds, list[Any]]:
    """The parts of an array that this process holds, in order, and on which of its devices each is."""
    found: dict[Bounds, list[Any]] = {}
    for device, index in one.sharding.addressable_devices_indices_map(one.shape).items():
        found.setdefault(_bounds(index, one.shape), []).append(device)
    return dict(sorted(found.items()))


def _held(array: jax.Array) -> list[jax.Array]:
    """Those parts, each once."""
    found = {_bounds(shard.index, array.shape): shard.data for shard in array.addressable_shards}
    return [part for _, part in sorted(found.items())]


def _told(arrays: list[Any]) -> dict[str, Any]:
    """Whose part of which state it is."""
    layout = [[list(one.shape), str(one.dtype), list(_places(one))] for one in arrays]
    return {"process": process_id(), "processes": processes(), "layout": digest(layout)}


def _write(folder: Path, parts: list[np.ndarray], about: dict[str, Any]) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    with (folder / _ARRAYS).open("wb") as file:
        for part in parts:
            np.save(file, part)
    seal(folder, about)
    keep_newest(folder.parent, KEPT)


def _read(folder: Path, count: int) -> list[np.ndarray]:
    with (folder / _ARRAYS).open("rb") as file:
        return [np.load(file) for _ in range(count)]


def _assembled(shape: jax.ShapeDtypeStruct, parts: Iterator[np.ndarray]) -> jax.Array:
    found = [
        jax.device_put(part, device)
        for devices in _places(shape).values()
        for part in [next(parts).view(shape.dtype)]  # of bfloat16, say, NumPy's files tell only the size
        for device in devices
    ]
    return jax.make_array_from_single_device_arrays(shape.shape, shape.sharding, found)
