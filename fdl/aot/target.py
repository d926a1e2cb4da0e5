"""What is to be compiled for."""

from typing import NamedTuple

from fdl.aot.chips import Slice
from fdl.parallel.plan import Strategy


class Target(NamedTuple):
    """Slices of TPUs, and how a sweep's members are to run on them.

    Attributes:
      part: one slice.
      slices: how many of them.
      mesh: the mesh's sizes, as `"data=4,fsdp=2"` or `"data=2x4"`; members over devices if None.
      strategy: how rows are split along `data`.
      members: in one program at most; all of a structure if None.
      price: of an hour of a chip, if known.
      fit: whether the largest batch and the cheapest mesh are searched, so that the batch size is open.
      quick: whether the compiler is to optimise little.
    """

    part: Slice
    slices: int = 1
    mesh: str | None = None
    strategy: Strategy = "jit"
    members: int | None = None
    price: float | None = None
    fit: bool = False
    quick: bool = False

    @property
    def chips(self) -> int:
        """Of all slices."""
        return self.part.chips * self.slices
