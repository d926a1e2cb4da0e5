"""Updates in place that read what they have just written, a fault of XLA's for CPUs (xla#49176).

Where an array is moved within itself, as `x.at[1:].set(x[:-1])`, and then reshaped, XLA as of jaxlib 0.12
fuses the two and, as the array goes by another shape inside, does not see that it is both read and written.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax

from fdl.parallel.hlo import Instruction, parse

_PLACEWISE = (
    *("abs", "add", "and", "bitcast", "ceil", "clamp", "compare", "convert", "cosine", "divide"),
    *(
        "exponential",
        "exponential-minus-one",
        "floor",
        "log",
        "log-plus-one",
        "logistic",
        "maximum",
        "minimum",
    ),
    *("multiply", "negate", "not", "or", "power", "remainder", "rsqrt", "select", "sign", "sine", "sqrt"),
    *("subtract", "tanh", "xor"),
)
"""What computes each element from those at the same place alone."""


def compiled_rightly(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """A program compiled, without fusion where that would read what it has just written."""
    compiled = lowered.compile()
    if jax.devices()[0].platform == "cpu" and reads_what_it_wrote(compiled.as_text() or ""):
        return lowered.compile(compiler_options={"xla_disable_hlo_passes": "fusion"})
    return compiled


def reads_what_it_wrote(text: str) -> bool:
    """Whether a compiled program, `compiled.as_text()`, may have such an update."""
    if "dynamic-update-slice" not in text:
        return False
    for block in parse(text).blocks.values():
        by_name = {one.name: one for one in block}
        updates = (one for one in block if one.operation == "dynamic-update-slice")
        if any(_overlaps(one, by_name) for one in updates):
            return True
    return False


def _overlaps(update: Instruction, block: Mapping[str, Instruction]) -> bool:
    """Whether what an update writes may be computed from other places of the array than it is written to."""
    array, written, *start = (name.removeprefix("%") for name in update.operands)
    source = block[array]
    while source.operation == "bitcast":
        source = block[source.operands[0]]
    if source.operation != "parameter" or source.name == array:
        return False  # an array that goes by its own name is copied where it must be
    return not _same_place(written, source.name, _offsets(start, block), block)


def _same_place(name: str, array: str, start: list[Any], block: Mapping[str, Instruction]) -> bool:
    """Whether a value is computed from no place of an array but the one from `start` on."""
    one = block.get(name)
    if one is None or name == array:
        return name != array
    if one.operation in ("slice", "dynamic-slice") and one.operands[0] == array:
        begins = re.findall(r"\[(\d+):", one.rest)
        moved = [int(begin) for begin in begins if int(begin)]
        return (moved if begins else _offsets(one.operands[1:], block)) == start
    if one.operation in _PLACEWISE:
        return all(_same_place(operand, array, start, block) for operand in one.operands)
    return not _reads(name, array, block)


def _reads(name: str, array: str, block: Mapping[str, Instruction]) -> bool:
    one = block.get(name)
    return name == array or (one is not None and any(_reads(each, array, block) for each in one.operands))


def _offsets(names: Any, block: Mapping[str, Instruction]) -> list[Any]:
    """Where a slice begins along the axes where that is not at 0: axes of size 1 come and go."""
    constants = {one.name: one.operands[0] for one in block.values() if one.operation == "constant"}
    values = [constants.get(name, name) for name in names]
    return [int(value) if value.isdecimal() else value for value in values if value != "0"]
