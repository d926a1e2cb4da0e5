"""The text of a compiled program (XLA's HLO), taken apart."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_HEAD = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.-]+) = (.+?) ([a-z][a-z0-9-]*)\(([^)]*)\)(.*)$")
_CALLED = re.compile(r"\b(?:calls|body|condition|to_apply)=%?([\w.-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}|\b(?:true|false)_computation=(%?[\w.-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_SAME = ("copy", "bitcast", "convert", "copy-start", "copy-done")


class Instruction(NamedTuple):
    """One line of a program.

    Attributes:
      name: of its result.
      types: the result's type or types, with layouts.
      operation: what it does, as `"all-reduce"`.
      operands: names of its operands; of a constant its value.
      rest: the text behind the operands.
      root: whether it is the result of its block.
    """

    name: str
    types: str
    operation: str
    operands: tuple[str, ...]
    rest: str
    root: bool


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      blocks: its computations by name.
      entry: the name of the one that runs.
      devices: how many devices run it together.
    """

    blocks: Mapping[str, Sequence[Instruction]]
    entry: str
    devices: int


def parse(text: str) -> Program:
    """The program of a text, `compiled.as_text()`."""
    blocks: dict[str, list[Instruction]] = {}
    entry, inside = "", []
    for line in text.splitlines():
        if line.startswith(" "):
            part = _LINE.match(line)
            if part:
                root, name, types, operation, operands, rest = part.groups()
                inside.append(Instruction(name, types, operation, _operands(operands), rest, bool(root)))
            continue
        head = _HEAD.match(line)
        if head:
            inside = blocks.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
    counts = re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", text.partition("\n")[0])
    return Program(blocks, entry, math.prod(map(int, counts)))


def called(instruction: Instruction) -> list[str]:
    """The blocks that an instruction runs, but for a conditional's branches; what only waits runs none."""
    if instruction.operation.endswith(("-done", "-update")):
        return []
    return _CALLED.findall(instruction.rest)


def branches(instruction: Instruction) -> list[str]:
    """The blocks of which a conditional runs one."""
    return [
        name for pair in _BRANCHES.findall(instruction.rest) for name in re.findall(r"[\w.-]+", "".join(pair))
    ]


def trips(program: Program, block: str, loop: Instruction) -> int | None:
    """How often a loop (`while`) in a block runs: as the compiler says, or, as it does not for TPUs, as its
    counter's begin, end and step say; None if those are not constants."""
    stated = _TRIPS.search(loop.rest)
    if stated:
        return int(stated[1])
    parts = dict(re.findall(r"\b(condition|body)=%?([\w.-]+)", loop.rest))
    condition, body = (_by_name(program, parts[part]) for part in ("condition", "body"))
    test = next((one for one in condition.values() if one.root), None)
    if test is None or test.operation != "compare" or "direction=LT" not in test.rest:
        return None
    counter, end = _source(condition, test.operands[0]), _constant(condition, test.operands[1])
    if counter is None or counter.operation != "get-tuple-element" or end is None:
        return None
    place = int(re.findall(r"index=(\d+)", counter.rest)[0])
    carry = _source(_by_name(program, block), loop.operands[0])
    if carry is None or carry.operation != "tuple":
        return None
    begin, step = _constant(_by_name(program, block), carry.operands[place]), _step(body, place)
    return max(0, math.ceil((end - begin) / step)) if begin is not None and step else None


def _step(body: Mapping[str, Instruction], place: int) -> int | None:
    """By what the counter at `place` of a loop's carry grows each trip."""
    root = next((one for one in body.values() if one.root), None)
    if root is None or root.operation != "tuple":
        return None
    grown = _source(body, root.operands[place])
    if grown is None or grown.operation != "add":
        return None
    before = (_source(body, name) for name in grown.operands)
    same = any(one and re.match(rf", index={place}\b", one.rest) for one in before)
    steps = [step for name in grown.operands if (step := _constant(body, name)) is not None]
    return steps[0] if same and steps and steps[0] > 0 else None


def _constant(block: Mapping[str, Instruction], name: str) -> int | None:
    """The whole number that a name stands for."""
    one = _source(block, name)
    whole = one and one.operation == "constant" and re.fullmatch(r"-?\d+", one.operands[0])
    return int(whole[0]) if whole else None


def _source(block: Mapping[str, Instruction], name: str) -> Instruction | None:
    """What makes the value of a name, through copies."""
    one = block.get(name)
    while one and one.operation in _SAME:
        one = block.get(one.operands[0])
    return one


def _by_name(program: Program, block: str) -> dict[str, Instruction]:
    return {one.name: one for one in program.blocks.get(block, ())}


def _operands(text: str) -> tuple[str, ...]:
    """Names between commas, without the compiler's counting comments and, where it prints them, types."""
    bare = re.sub(r"/\*.*?\*/", "", text)
    names = re.findall(r"%([\w.-]+)", bare)
    return tuple(names) if names else tuple(part.strip() for part in bare.split(","))
