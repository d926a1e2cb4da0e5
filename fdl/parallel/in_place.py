"""Updates in place that read what they have just written, a fault of XLA's for CPUs (xla#49176).

Where an array is moved within itself, as `x.at[1:].set(x[:-1])`, and then reshaped, XLA as of jaxlib 0.12
fuses the two and, as the array goes by another shape inside, does not see that it is both read and written.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from fdl.parallel.hlo import Instruction, parse
from fdl.parallel.kernels import warn_of_lapack

_PLACEWISE = (
    *("abs", "add", "and", "bitcast", "ceil", "clamp", "compare", "convert", "cosine", "divide"),
    *("exponential", "floor", "log", "logistic", "maximum", "minimum", "multiply", "negate", "not", "or"),
    *("power", "rsqrt", "select", "sign", "sine", "sqrt", "subtract", "tanh", "xor"),
)
"""What computes each element from those at the same place alone."""


def compiled_rightly(
    lowered: jax.stages.Lowered, platform: str, options: Mapping[str, Any]
) -> jax.stages.Compiled:
    """A program compiled for a platform with options, without fusion where that would read what it has just
    written."""
    compiled = lowered.compile(compiler_options=dict(options))
    if platform == "cpu":
        warn_of_lapack(compiled)
    if platform == "cpu" and reads_what_it_wrote(compiled.as_text()):
        return lowered.compile(compiler_options={**options, "xla_disable_hlo_passes": "fusion"})
    return compiled


def reads_what_it_wrote(text: str | None) -> bool:
    """Whether a compiled program, `compiled.as_text()`, may have such an update."""
    if not text or "dynamic-update-slice" not in text:
        return False
    for block in parse(text).blocks.values():
        by_name = {one.name: one for one in block}
        updates = (one for one in block if one.operation == "dynamic-update-slice")
        if any(_overlaps(one, by_name) for one in updates):
            return True
    return False


def _overlaps(update: Instruction, block: Mapping[str, Instruction]) -> bool:
    """Whether what an update writes may be computed from other places of the array than it is written to."""
    array, written, *start = update.operands
    source = block[array]
    while source.operation == "bitcast":
        source = block[source.operands[0]]
    if source.operation != "parameter" or source.name == array:
        return False  # an array that goes by its own name is copied where it must be
    place, seen, todo = _offsets(start, block), set(), [(written, True)]
    while todo:  # each value once for each way of reaching it: its elements in their places, or not
        name, in_place = todo.pop()
        one = block.get(name)
        if (name, in_place) in seen or one is None:
            continue
        seen.add((name, in_place))
        if name == source.name:
            return True
        if in_place and one.operands[0] == source.name and _start(one, block) == place:
            continue
        todo += [(operand, in_place and one.operation in _PLACEWISE) for operand in one.operands]
    return False


def _start(one: Instruction, block: Mapping[str, Instruction]) -> list[int | str] | None:
    """Where a slice begins, as `_offsets`; None of what is none."""
    if one.operation == "slice":
        return [int(begin) for begin in re.findall(r"\[(\d+):", one.rest) if int(begin)]
    return _offsets(one.operands[1:], block) if one.operation == "dynamic-slice" else None


def _offsets(names: Sequence[str], block: Mapping[str, Instruction]) -> list[int | str]:
    """Where a slice begins along the axes where that is not at 0: axes of size 1 come and go."""
    constants = {one.name: one.operands[0] for one in block.values() if one.operation == "constant"}
    values: list[str] = [constants.get(name, name) for name in names]
    return [int(value) if value.isdecimal() else value for value in values if value != "0"]
