"""What is claimed of the difference between two arms, and the constants by which it is judged."""

import math
import numbers
from typing import Literal, NamedTuple

from fdl.result import Better, check_better

Status = Literal["SUPPORTED", "REFUTED", "INCONCLUSIVE"]

ALPHA = 0.05  # the share of wrong conclusions that is allowed
LEAST = 5  # pairs: 2**-4 = 0.0625 is the least two-sided p of 5 sign flips; of 4 it is 0.125
TIED_LEAST = 59
"""Pairs whose differences are all equal are conclusive from here on: what happens to 5 % of seeds or more
is then among them with 95 % chance."""


class Criterion(NamedTuple):
    """What is claimed of the difference between an arm and the baseline.

    Attributes:
      better: the side on which the arm should be.
      at_least: by how much, in the metric's unit, ≥ 0.
      equivalent: instead: the bound on the difference to either side, > 0.
      arms: how many arms it is claimed of.
    """

    better: Better
    at_least: float
    equivalent: float | None
    arms: int

    @property
    def sign(self) -> float:
        """1 where more is better, -1 where less is."""
        return 1.0 if self.better == "higher" else -1.0

    @property
    def exceeds_zero(self) -> bool:
        """Whether any difference on the better side is enough."""
        return self.equivalent is None and self.at_least == 0

    @property
    def least(self) -> int:
        """The fewest pairs that can be conclusive: 5, or as many as let the exact test of one of
        several arms come below 5 % after Holm's correction."""
        if self.arms == 1 or self.equivalent is not None:
            return LEAST
        return max(LEAST, math.floor(math.log2(2 * self.arms / ALPHA)) + 1)


def check_criterion(criterion: Criterion) -> None:
    """Raises `ValueError` if the criterion is out of range or asks for two things at once."""
    better, at_least, equivalent, _ = criterion
    check_better(better)
    for name, bound in (("at_least", at_least), ("equivalent", 1 if equivalent is None else equivalent)):
        if isinstance(bound, bool) or not isinstance(bound, numbers.Real):
            raise ValueError(f"{name} is {bound!r} ({type(bound).__name__}); expected a number")
    if not 0 <= at_least < math.inf:
        raise ValueError(
            f"at_least={at_least} must be a finite number ≥ 0; for less is better, better='lower'"
        )
    if equivalent is not None and not 0 < equivalent < math.inf:
        raise ValueError(
            f"equivalent={equivalent} must be a finite number > 0: the largest difference allowed"
        )
    if equivalent is not None and at_least:
        raise ValueError(f"at_least={at_least} and equivalent={equivalent} are two claims; give one of them")


def edge_of(mean: float, criterion: Criterion) -> float:
    """The difference at which a criterion is just met, of two the nearer to the mean."""
    if criterion.equivalent is not None:
        return math.copysign(criterion.equivalent, mean)
    return criterion.sign * criterion.at_least
