"""What the devices of a compiled program send one another, read from its text."""

import math
import re
from typing import NamedTuple

from fdl.parallel.hlo import Instruction, Program, branches, called, parse, trips

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")
_BETWEEN_SLICES = re.compile(r'_xla_megascale_transfer_type="(\w+)"')


class Collective(NamedTuple):
    """All collectives of one kind in one run of a program, as each device sees them.

    Attributes:
      kind: as XLA calls it, `"all-reduce"`, `"all-gather"`, ...
      between_slices: over the data-centre network between slices, else over the links within one.
      runs: how often they run, all together.
      bytes: of the whole arrays that are gathered, reduced or exchanged, summed over all that run.
      sent: bytes that a device must send at least, summed; of a ring of n an all-gather sends
        (n - 1) / n of the array, an all-reduce twice that.
    """

    kind: str
    between_slices: bool
    runs: int
    bytes: int
    sent: float


class Collectives(NamedTuple):
    """What the devices send one another in one run of a program.

    Attributes:
      each: by kind and network, the most bytes first.
      uncounted: how many of the loops that they run in do not say their number of trips in the text; such
        a loop counts as one trip.
    """

    each: tuple[Collective, ...] = ()
    uncounted: int = 0

    def sent(self, *, between_slices: bool) -> float:
        """Bytes that a device must send at least, between slices or within one."""
        return sum(one.sent for one in self.each if one.between_slices is between_slices)


def collectives_of(text: str) -> Collectives:
    """The collectives in a compiled program's text, `compiled.as_text()`.

    What is begun, waited for and gone on with in between counts once, the body of a loop as often as it runs,
    of a conditional the branch that sends the most. Groups of one device send nothing and do not count.
    """
    program = _begun(parse(text))
    return _in_block(program.entry, program, {})


def _begun(program: Program) -> Program:
    """The program without the collectives that only go on with one that is begun elsewhere: on TPUs the
    fusion that begins it, those that run beside it and the one that ends it all show it."""
    begun = {
        _channel(one): name
        for name, block in program.blocks.items()
        if any('"AsyncCollectiveStart"' in one.rest for one in block)
        for one in block
        if one.operation in KINDS and _channel(one)
    }
    blocks = {
        name: [one for one in block if one.operation not in KINDS or begun.get(_channel(one), name) == name]
        for name, block in program.blocks.items()
    }
    return program._replace(blocks=blocks)


def _channel(instruction: Instruction) -> str | None:
    """What all that belongs to one collective have in common."""
    found = re.search(r"\bchannel_id=(\d+)", instruction.rest)
    return found[1] if found else None


def _in_block(name: str, program: Program, seen: dict[str, Collectives]) -> Collectives:
    """The collectives of one run of a block and all that it calls."""
    if name not in seen:
        found = Collectives()
        for instruction in program.blocks.get(name, ()):
            found = _plus(found, _at(instruction, name, program.devices))
            found = _plus(found, _called(instruction, name, program, seen))
        seen[name] = found
    return seen[name]


def _called(
    instruction: Instruction, block: str, program: Program, seen: dict[str, Collectives]
) -> Collectives:
    if instruction.operation == "conditional":
        each = [_in_block(name, program, seen) for name in branches(instruction)]
        return max(each, key=lambda found: sum(one.sent for one in found.each), default=Collectives())
    found = Collectives()
    for name in called(instruction):
        found = _plus(found, _in_block(name, program, seen))
    if instruction.operation != "while" or not found.each:
        return found
    number = trips(program, block, instruction)
    return found._replace(uncounted=found.uncounted + 1) if number is None else _times(found, number)


def _at(instruction: Instruction, block: str, devices: int) -> Collectives:
    """The collective that an instruction is, if it is one."""
    line, operation = instruction.rest, instruction.operation
    arrays = [bytes_of(*array) for array in _ARRAY.findall(instruction.types)]
    between = _BETWEEN_SLICES.search(line) if operation == "send" else None
    kind, size = operation.removesuffix("-start"), sum(arrays)
    if between:
        kind, group = between[1].lower().replace("_", "-"), _slices(line)
        size = arrays[0] * (group if kind == "all-gather" else 1)
    elif kind in KINDS:
        group = _group(line, devices)
        if operation.endswith("-start"):
            size = _result(kind, arrays, group)
        if kind == "reduce-scatter":
            size *= group
        if block.startswith("all-reduce-scatter"):  # a fusion on TPUs: each device keeps its part only
            kind = "reduce-scatter"
    else:
        return Collectives()
    if group < 2:
        return Collectives()
    return Collectives((Collective(kind, bool(between), 1, size, _share(kind, group) * size),))


def _share(kind: str, group: int) -> float:
    """What part of the whole array each of a group sends at least."""
    if kind in ("all-gather", "reduce-scatter", "all-to-all"):
        return (group - 1) / group
    return 2 * (group - 1) / group if kind == "all-reduce" else 1.0


def _result(kind: str, arrays: list[int], group: int) -> int:
    """Bytes of the result of a start, whose type lists the operands too, and scalars of its own."""
    if kind == "all-gather":
        return sum(arrays) * group // (group + 1)
    if kind in ("collective-permute", "all-to-all", "collective-broadcast"):
        return sum(size for size in arrays if size > 4) // 2
    return sum(arrays)


def _group(line: str, devices: int) -> int:
    """How many devices take part in each group of a collective."""
    if "source_target_pairs=" in line:
        return 2
    named = re.search(r"replica_groups=mesh\[.*?\{([^}]*)\}", line)
    if named:
        return math.prod(_axis(line, *part) for part in re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", named[1]))
    by_shape = re.search(r"replica_groups=\[\d+,(\d+)\]", line)
    if by_shape:
        return int(by_shape[1])
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", line)
    return len(listed[1].split(",")) if listed else devices


def _axis(line: str, name: str, part: str) -> int:
    """Devices along an axis of a mesh, or along the part of it that is meant."""
    whole = re.search(rf"'{name}'=(\d+)", line)
    return int(part) if part else int(whole[1]) if whole else 1


def _slices(line: str) -> int:
    """How many slices take part in each group of a transfer."""
    target = re.search(r"_xla_megascale_target=\{\{([\d,]+)\}", line)
    return len(target[1].split(",")) if target else 2


def bytes_of(dtype: str, shape: str) -> int:
    """Bytes of an array as a program's text has it: `bytes_of("bf16", "8,128")`."""
    bits = 8 if dtype == "pred" else int((re.findall(r"\d+", dtype) or ["0"])[0])
    return math.ceil(math.prod(int(n) for n in shape.split(",") if n) * bits / 8)


def _plus(a: Collectives, b: Collectives) -> Collectives:
    if not b.each:
        return a
    sums: dict[tuple[str, bool], Collective] = {}
    for one in (*a.each, *b.each):
        key = one[:2]
        before = sums.get(key, Collective(*key, 0, 0, 0.0))
        sums[key] = Collective(*key, before.runs + one.runs, before.bytes + one.bytes, before.sent + one.sent)
    each = sorted(sums.values(), key=lambda one: (-one.bytes, one.kind))
    return Collectives(tuple(each), a.uncounted + b.uncounted)


def _times(found: Collectives, times: int) -> Collectives:
    each = (
        one._replace(runs=times * one.runs, bytes=times * one.bytes, sent=times * one.sent)
        for one in found.each
        if times
    )
    return Collectives(tuple(each), found.uncounted)
