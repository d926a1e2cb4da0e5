"""The bytes that a compiled program moves from and to a device's memory, read from its text (XLA's HLO).

A compiler's own figure (`bytes accessed`) counts the body of a loop once, and what stays on the chip too.
"""

import re
from collections.abc import Mapping, Sequence

from fdl.aot.collectives import bytes_of
from fdl.parallel.hlo import Instruction, Program, branches, called, parse, trips

_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\](\{[^}]*\})?")
_FREE = (
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id"),
    *("replica-id", "opt-barrier", "add-dependency", "domain"),
)
"""What moves nothing."""
_SLICES = ("slice", "dynamic-slice", "gather", "slice-start", "dynamic-slice-start")
"""What reads of its first operand only what it gives."""
_UPDATES = {"dynamic-update-slice": 1, "scatter": 2}
"""What writes into its first operand only the operand at this place."""

Block = Mapping[str, Instruction]


def hbm_bytes(text: str) -> int:
    """Bytes that one device reads and writes in one run of a program, `compiled.as_text()`.

    Every instruction reads its operands and writes its result, a fusion as a whole; arrays that the
    compiler keeps on the chip (memory spaces, as `S(1)`) do not count, and of slices only what is taken or
    replaced. The body of a loop counts as often as it runs, of a conditional the dearest branch. Where the
    program takes steps in a loop until it is told to end, which says no number of trips, the bytes are those
    of one step.
    """
    program = parse(text)
    steps = [
        one
        for one in program.blocks[program.entry]
        if one.operation == "while" and trips(program, program.entry, one) is None
    ]
    seen: dict[str, int] = {}
    if steps:
        return sum(_in_block(name, program, seen) for one in steps for name in called(one))
    return _in_block(program.entry, program, seen)


def _in_block(name: str, program: Program, seen: dict[str, int]) -> int:
    if name not in seen:
        block = {one.name: one for one in program.blocks.get(name, ())}
        seen[name] = sum(_at(one, name, block, program, seen) for one in block.values())
    return seen[name]


def _at(one: Instruction, name: str, block: Block, program: Program, seen: dict[str, int]) -> int:
    """Bytes of an instruction and all that it runs."""
    if one.operation in _FREE:
        return 0
    inside = [_in_block(each, program, seen) for each in called(one)]
    if one.operation == "while":
        number = trips(program, name, one)
        return sum(inside) * (1 if number is None else number)
    if one.operation == "conditional":
        return max((_in_block(each, program, seen) for each in branches(one)), default=0)
    if one.operation == "call":
        return sum(inside)
    fused = _fused(one, program)
    return _read(one, block, fused) + _written(one, block, fused)


def _fused(one: Instruction, program: Program) -> Sequence[Instruction]:
    """The instructions that run as one, without memory between them; none of others."""
    return program.blocks[called(one)[0]] if one.operation in ("fusion", "async-start") else ()


def _read(one: Instruction, block: Block, fused: Sequence[Instruction]) -> int:
    if one.operation.endswith(("-done", "-update")):
        return 0
    operands = [block[name] for name in one.operands if name in block]
    if not fused:
        return sum(_taken(one, place, operand) for place, operand in enumerate(operands))
    inner = {one.operands[0]: one.name for one in fused if one.operation == "parameter"}
    return sum(_part(inner.get(str(place)), operand, fused) for place, operand in enumerate(operands))


def _part(parameter: str | None, operand: Instruction, fused: Sequence[Instruction]) -> int:
    """Bytes that a fusion reads of an operand, which is a parameter within: of what takes slices, these."""
    users = [(one, one.operands.index(parameter)) for one in fused if parameter in one.operands]
    return min(_held(operand.types), sum(_taken(one, place, operand) for one, place in users))


def _taken(one: Instruction, place: int, operand: Instruction) -> int:
    """Bytes that an instruction reads of its operand at a place."""
    whole = _held(operand.types)
    if place == 0 and one.operation in _SLICES:
        return min(whole, _whole(one.types))
    return 0 if place == 0 and one.operation in _UPDATES else whole


def _written(one: Instruction, block: Block, fused: Sequence[Instruction]) -> int:
    if one.operation.endswith("-start"):  # what is done writes it
        return 0
    inner = {each.name: each for each in fused} or block
    root = next((each for each in fused if each.root), one)
    roots = [inner[name] for name in root.operands] if root.operation == "tuple" else [root]
    shares = [_replaced(each, inner) for each in roots]
    if all(share is None for share in shares):
        return _held(one.types)
    each = [_sizes(each.types) for each in roots]
    return sum(sum(sizes) if share is None else share for share, sizes in zip(shares, each, strict=True))


def _replaced(one: Instruction, block: Block) -> int | None:
    """Bytes that an update in place writes; None for all else."""
    place = _UPDATES.get(one.operation)
    update = block.get(one.operands[place]) if place is not None else None
    return _whole(update.types) if update else None


def _held(types: str) -> int:
    """Bytes of arrays in the device's memory."""
    return sum(_sizes(types))


def _sizes(types: str) -> list[int]:
    return [0 if "S(" in layout else bytes_of(dtype, shape) for dtype, shape, layout in _ARRAY.findall(types)]


def _whole(types: str) -> int:
    """Bytes of arrays, wherever they are."""
    return sum(bytes_of(dtype, shape) for dtype, shape, _ in _ARRAY.findall(types))
