"""What a compiled program says of itself: its memory, its collectives, or why it was refused."""

import re
from typing import Any, NamedTuple

from fdl.aot.collectives import Collectives, collectives_of
from fdl.aot.hbm import hbm_bytes

UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Memory(NamedTuple):
    """Bytes on one device, by the compiler's own analysis.

    Attributes:
      arguments: of the program's arguments.
      outputs: of its results, the donated ones included.
      donated: of results that take the place of an argument.
      temporaries: of everything between.
      code: of the program itself.
      peak: the most that is in use at any time; for gaps between arrays it may need more, see `held`.
    """

    arguments: int
    outputs: int
    donated: int
    temporaries: int
    code: int
    peak: int

    @property
    def held(self) -> int:
        """All that is set aside for a run: arguments, temporaries, and results that replace none. This is
        what must fit, and what a refusal says is needed."""
        return self.arguments + self.temporaries + max(self.outputs - self.donated, 0)


class Report(NamedTuple):
    """A program that fits.

    Attributes:
      memory: on one device.
      collectives: what the devices send one another.
      moved: bytes that one device moves from and to its memory, see `hbm_bytes`.
    """

    memory: Memory
    collectives: Collectives
    moved: int


class Refusal(NamedTuple):
    """A program that does not fit.

    Attributes:
      needed: bytes that it needs on one device, at least: a compiler may give up at one array that is
        larger than the whole memory.
      available: bytes that there are for it, by the compiler; of one array at most the whole memory.
    """

    needed: int
    available: int


def report_of(compiled: Any) -> Report:
    """The report of a compiled program, `jax.jit(f).lower(...).compile()`."""
    text = compiled.as_text()
    return Report(memory_of(compiled), collectives_of(text), hbm_bytes(text))


def memory_of(compiled: Any) -> Memory:
    """What a compiled program needs on one device; zeros where the compiler does not say."""
    sizes = compiled.memory_analysis()
    if sizes is None:
        return Memory(0, 0, 0, 0, 0, 0)
    memory = Memory(
        arguments=sizes.argument_size_in_bytes,
        outputs=sizes.output_size_in_bytes,
        donated=sizes.alias_size_in_bytes,
        temporaries=sizes.temp_size_in_bytes,
        code=sizes.generated_code_size_in_bytes,
        peak=getattr(sizes, "peak_memory_in_bytes", 0),
    )
    return memory if memory.peak else memory._replace(peak=memory.held)


def refusal_of(error: Exception) -> Refusal | None:
    """What a compiler's error says of memory that does not suffice; None if it is about something else."""
    message = str(error)
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    size = r"([\d.]+)([KMGT]?)"
    found = re.search(rf"\({size}\) exceeds available HBM \({size}\)", message)
    found = found or re.search(rf"Used {size}i?B? of {size}i?B? hbm", message)
    found = found or re.search(rf"\(size={size}\) would exceed memory \(size={size}\)", message)
    if found is None:
        return None
    needed, available = (round(float(found[i]) * UNITS[found[i + 1]]) for i in (1, 3))
    return Refusal(needed, available)
