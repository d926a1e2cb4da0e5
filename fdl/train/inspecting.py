"""Looking at a few members after evaluations: computed by a program of its own, drawn and kept by the host.

In a population's folder `inspections/` has the files, and `inspections.jsonl` a line for each: as of the
metrics, up to the checkpoint that a run resumes from, so that what a kill cut short comes again as it was.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from fdl import rng, tree
from fdl.experiment import State
from fdl.inspection import Histogram, Inspection
from fdl.inspection.counts import counts_of
from fdl.inspection.rendering import rendered
from fdl.parallel.distributed import is_first, several
from fdl.parallel.plan import replicated
from fdl.parallel.sharding import put
from fdl.serialization import file_name
from fdl.storage import Folder, in_bucket, write_atomically
from fdl.text import named
from fdl.train.lowering import Parts, in_turn
from fdl.train.rows import Row
from fdl.train.rows_file import append_rows, read
from fdl.train.run import Build, Carry, Member, experiment_of

LINES = "inspections.jsonl"
"""The file, or in a bucket the folder, of what was shown of a population."""
FILES = "inspections"
"""The folder of the files that it lists."""
_TOLD = {"step": int, "name": str, "kind": str, "suffix": str, "words": str, "size": int}
"""What a line says of an `Inspection`, the first of its fields."""
Inspect = Callable[[Member, Carry, int], dict[str, Any]]
"""`inspect(members, carry, index)`: what is to be shown of a member, not yet drawn."""
Inspections = list[tuple[int, Inspection]]
"""What was shown of members, by their numbers."""


class Inspector(NamedTuple):
    """How a loop looks at members.

    Attributes:
      look: `look(members, carry) -> looks`, begun on the devices, where all processes must ask.
      keep: `keep(row, looks)`, drawn and kept by the first process; of members whose run had ended, nothing.
      kept: all that is kept so far, on the first process.
    """

    look: Callable[[Member, Carry], list[Any]]
    keep: Callable[[Row, list[Any]], None]
    kept: Inspections


def compiled_inspect(parts: Parts) -> Inspect | None:
    """A program that inspects one member of a population, whichever; compiled when first called.

    Where a device holds whole members, it does nothing but hand its own over to the first device: none has to
    wait for another.
    """
    if parts.experiment.inspect is None:
        return None
    plan, mesh = parts.plan, parts.mesh
    one = lambda member, state: _inspected(parts.build, member, state)  # noqa: E731
    if plan.group > 1 or several():
        whole = replicated(mesh)
        of_any = lambda members, state, index: one(*tree.take((members, state), index))  # noqa: E731
        run = in_turn(jax.jit(of_any, out_shardings=whole), plan)
        return lambda members, carry, index: run(members, carry.state, put(np.int32(index), whole))
    alone, take, first = jax.jit(one), jax.jit(tree.take), mesh.devices.flat[0]
    each = plan.members // plan.population

    def inspect(members: Member, carry: Carry, index: int) -> dict[str, Any]:
        device = mesh.devices.flat[index // each]
        own = lambda leaf: next(part.data for part in leaf.addressable_shards if part.device == device)  # noqa: E731
        held = jax.tree.map(own, (members, carry.state))
        return alone(*jax.device_put(take(held, index % each), first))

    return inspect


def _inspected(build: Build, member: Member, state: State) -> dict[str, Any]:
    """What the member's experiment shows of a state, histograms counted: always by the same key, so that
    steps differ by what was learned alone."""
    experiment = experiment_of(build, member)
    assert experiment.inspect is not None
    found = experiment.inspect(state, rng.stream(member.key, "inspect"))
    return {name: counts_of(one) if isinstance(one, Histogram) else one for name, one in found.items()}


def inspector(
    inspect: Inspect | None,
    chosen: Mapping[int, str],
    directory: Folder | None,
    say: Callable[[str], None],
) -> Inspector:
    """How a loop looks at the members `chosen`; a mistake in what only looks on is said once and ends no run.

    Args:
      inspect: of the population's program.
      chosen: by a member's number the folder of its files.
      directory: the population's folder; `None` keeps all in memory.
      say: told of mistakes.
    """
    kept = stored_inspections(directory) if directory and is_first() else []
    # By member: what cannot be drawn of one, as of numbers that are none, may well be of another.
    broken: set[tuple[int, str] | None] = set()

    def mistaken(index: int, name: str, error: Exception) -> None:
        broken.add((index, name))
        of = f" of {chosen[index]}" if chosen[index] else ""
        say(f"inspect(...)[{name!r}]{of} is left out from now on: {named(error, most=300)}")

    def lost(error: Exception) -> None:
        broken.add(None)
        say(f"inspect is left out from now on: {named(error, most=300)}")

    def look(members: Member, carry: Carry) -> list[Any]:
        if inspect is None or None in broken:
            return []
        try:
            return [(index, inspect(members, carry, index)) for index in chosen]
        except Exception as error:
            if several():  # the others may be waiting for this one, and would then wait for ever
                raise
            lost(error)
            return []

    def drawn(index: int, step: int, shown: Mapping[str, Any]) -> list[tuple[Inspection, bytes]]:
        found = []
        for name, one in shown.items():
            if (index, name) in broken:
                continue
            try:
                kind, suffix, content, words = rendered(one)
            except Exception as error:
                mistaken(index, name, error)
                continue
            place = _place(directory, chosen[index], name, step, suffix) if directory else content
            found.append((Inspection(step, name, kind, suffix, words, len(content), place), content))
        return found

    def keep(row: Row, looks: list[Any]) -> None:
        fresh: Inspections = []
        for index, shown in looks if is_first() else []:
            if not row.valid[index]:
                continue
            try:
                shown = jax.device_get(shown)
            except Exception as error:  # as for want of memory
                lost(error)
                continue
            for one, content in drawn(index, int(row.step[index]), shown):
                if directory:
                    _write(one.place, content)
                fresh.append((index, one))
        if directory and fresh:
            append_rows(directory / LINES, [_line(directory, *one) for one in fresh])
        kept.extend(fresh)

    return Inspector(look, keep, kept)


def stored_inspections(directory: Folder) -> Inspections:
    """What a population's folder holds; lines that are none are left out."""
    lines = [
        line
        for line in read(directory / LINES).rows
        if all(type(line.get(name)) is kind for name, kind in _TOLD.items())
    ]
    return [
        (
            line["member"],
            Inspection(**{name: line[name] for name in _TOLD}, place=directory / FILES / line["file"]),
        )
        for line in lines
        if type(line.get("file")) is str
    ]


def _line(directory: Folder, index: int, one: Inspection) -> dict[str, Any]:
    file = str(one.place)[len(str(directory / FILES)) + 1 :]
    return {"member": index, **{name: getattr(one, name) for name in _TOLD}, "file": file}


def _place(directory: Folder, folder: str, name: str, step: int, suffix: str) -> Folder:
    """A name for each step, so that what is shown again is the same file."""
    return directory / FILES / folder / file_name(name) / f"step-{step:09}.{suffix}"


def _write(place: Folder | bytes, content: bytes) -> None:
    assert not isinstance(place, bytes)
    if not in_bucket(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, content)
