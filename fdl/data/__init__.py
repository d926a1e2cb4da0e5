"""Data: sources whose batch is a pure function of the step, and data sets that come along."""

from fdl.data.arrays import sequential, shuffled
from fdl.data.embedded import Splits, digits
from fdl.data.permutation import permute

__all__ = ["Splits", "digits", "permute", "sequential", "shuffled"]
