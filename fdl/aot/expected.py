"""How long a step should take, with what that assumes."""

from fdl.aot.chips import Chip
from fdl.aot.roofline import Roofline, roofline


def expected(chip: Chip, *, flops: float, moved: float, links: float, network: float) -> Roofline | None:
    """The times of a step's resources as they were reached elsewhere; None where nothing is known of a chip.

    Matrix products run at the share of the peak that well-tuned training reached on this chip
    (`Chip.achieved`); memory, links and network at their full speed, of which no published share was found;
    all at the same time. Small products, and what waits for another (a chain of short operations, the host),
    take longer.

    Args:
      chip: on what it runs.
      flops: of matrix products of one chip.
      moved: bytes that the compiled program moves from and to the memory of one chip.
      links: bytes that one chip sends within a slice.
      network: bytes that one chip sends between slices.
    """
    if chip.achieved is None:
        return None
    slower = chip._replace(flops=chip.flops * chip.achieved)
    found = roofline(slower, flops=flops, memory=moved, links=links, network=network)
    return found._replace(mfu=flops / chip.flops / found.seconds if found.seconds else 0.0)
