"""Verdicts: does a claim about arms hold?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from fdl.stats.comparison import Comparison
from fdl.stats.criterion import Status
from fdl.stats.decision import together

if TYPE_CHECKING:
    from fdl.stats.claims import Judged


class Verdict(NamedTuple):
    """What became of a claim.

    Attributes:
      status: `"SUPPORTED"`, `"REFUTED"` or `"INCONCLUSIVE"`.
      sentence: why, with the numbers.
      criterion: the claim in words.
      comparisons: the numbers behind it, one an arm.
      anytime: whether it may be asked for after every further seed, until it is decided.
      p: of the status: so often, at most, would numbers like these come about at the criterion's edge; 1
        where it is INCONCLUSIVE, None where no test stands behind it, as where all cases are counted out.
      claims: what became of each, where several were judged (`judge_claims`).
    """

    status: Status
    sentence: str
    criterion: str
    comparisons: tuple[Comparison, ...]
    anytime: bool = False
    p: float | None = None
    claims: "tuple[Judged, ...]" = ()


class Comparisons(NamedTuple):
    """Every arm against the baseline, and the verdict on the claim.

    Attributes:
      comparisons: one an arm, in order of appearance.
      verdict: on all of them.
    """

    comparisons: tuple[Comparison, ...]
    verdict: Verdict

    def table(self) -> pd.DataFrame:
        """A row per arm, a column per field of `Comparison`."""
        return pd.DataFrame(self.comparisons)


def all_of(*verdicts: Verdict) -> Verdict:
    """All claims together: SUPPORTED if all are, REFUTED if any is, else INCONCLUSIVE.

    That all hold needs no correction for their number (an intersection-union test, Berger 1982);
    that any is refuted does not allow for it, so keep the list short.

    Raises:
      ValueError: no verdict given.

    Example:
      >>> import fdl
      >>> yes = fdl.Verdict("SUPPORTED", "A is better than B.", "A exceeds B", ())
      >>> no = fdl.Verdict("REFUTED", "A is no better than C.", "A exceeds C", ())
      >>> fdl.all_of(yes, no).status
      'REFUTED'
    """
    if not verdicts:
        raise ValueError("all_of() needs at least one verdict, got none")
    return Verdict(
        status=together([verdict.status for verdict in verdicts]),
        sentence=" ".join(f"{verdict.status}: {verdict.sentence}" for verdict in verdicts),
        criterion=" and ".join(verdict.criterion for verdict in verdicts),
        comparisons=tuple(one for verdict in verdicts for one in verdict.comparisons),
        anytime=all(verdict.anytime for verdict in verdicts),
        p=p_of_all(verdicts),
    )


def p_of_all(verdicts: Sequence[Verdict]) -> float | None:
    """That all hold is refuted by any that does not, and as sure as the least sure of them."""
    status = together([verdict.status for verdict in verdicts])
    if status == "INCONCLUSIVE":
        return 1.0
    tests = [one.p for one in verdicts if one.status == status]
    known = [p for p in tests if p is not None]
    if status == "REFUTED":
        return min(known) if len(known) == len(tests) else None
    return max(known, default=None)
