"""How fast a program could be at best: the roofline of a chip."""

from typing import NamedTuple

from fdl.aot.chips import Chip


class Roofline(NamedTuple):
    """The least time of one run of a program on a slice, and what it waits for.

    Each time is that of one resource used without a pause; a run cannot be shorter than the longest.

    Attributes:
      compute: seconds of matrix products at the peak in bf16.
      memory: seconds of moving bytes from and to HBM.
      links: seconds of sending within a slice.
      network: seconds of sending between slices.
      mfu: the upper bound of the model FLOPs utilisation, 0 to 1: FLOPs a second over the peak.
    """

    compute: float
    memory: float
    links: float
    network: float
    mfu: float

    @property
    def seconds(self) -> float:
        """The lower bound of the time of a run."""
        return max(self[:4])

    @property
    def limit(self) -> str:
        """What the bound comes from: `"compute"`, `"memory"`, `"links"` or `"network"`."""
        return self._fields[self.index(self.seconds)]


def roofline(
    chip: Chip, *, flops: float, memory: float, links: float = 0.0, network: float = 0.0
) -> Roofline:
    """The roofline of a program (Williams et al. 2009, Roofline: an insightful visual performance model).

    Args:
      chip: on what it runs.
      flops: floating-point operations of matrix products of one chip.
      memory: bytes that one chip moves from and to HBM at least.
      links: bytes that one chip sends within a slice at least; of a chip of two devices, what one of
        them sends, since what a ring sends from one to the other stays on the chip.
      network: bytes that one chip sends between slices at least.

    Raises:
      ValueError: bytes between slices of a chip whose programs cannot span slices.
    """
    if network and chip.network is None:
        raise ValueError(f"a program on {chip.name} cannot span slices; expected --slices 1")
    times = (
        flops / chip.flops,
        memory / chip.bandwidth,
        links / chip.links,
        network / chip.network if chip.network else 0.0,
    )
    longest = max(times)
    return Roofline(*times, mfu=times[0] / longest if longest else 0.0)
