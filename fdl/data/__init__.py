"""Data: sources whose batch is a pure function of the step, and data sets that come along."""

from fdl.data.arrays import sequential, shuffled
from fdl.data.embedded import digits
from fdl.data.generated import sampled, stream
from fdl.data.permutation import permute
from fdl.data.sources import Augmentation, sources
from fdl.data.splits import Part, Rows, Splits, on_host

__all__ = [
    "Augmentation",
    "Part",
    "Rows",
    "Splits",
    "digits",
    "on_host",
    "permute",
    "sampled",
    "sequential",
    "shuffled",
    "sources",
    "stream",
]
