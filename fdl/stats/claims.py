"""Claims: several statements about one result, each with its criterion and its negative control."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fdl.arguments import checked
from fdl.result import Result
from fdl.stats.criterion import ALPHA
from fdl.stats.decision import together
from fdl.stats.inference import holm
from fdl.stats.verdict import Verdict, p_of_all


class Claim(NamedTuple):
    """A statement about an experiment, and how it is judged.

    A file's `CLAIMS` are a tuple of them: part of what a textbook says may hold, and part not, so that the
    counter-claim is one of its own.

    Attributes:
      id: a short name that stays, as `"F1"`.
      statement: what is claimed, in a sentence.
      criterion: `criterion(result) -> Verdict`, as of `fdl.compare(...).verdict`: pure.
      control: likewise, of arms that must *not* show the effect. Where it ends SUPPORTED, what the criterion
        measures comes of something else than is claimed, and the claim is INCONCLUSIVE whatever it says.
      published: the number that the source reports, with the source.
    """

    id: str
    statement: str
    criterion: Callable[[Result], Verdict]
    control: Callable[[Result], Verdict] | None = None
    published: str = ""


class Judged(NamedTuple):
    """What became of one of several claims.

    Attributes:
      claim: the claim.
      verdict: after its control, and with Holm's correction for the number of claims.
      control: what the control came to, where there is one.
      p: as `Verdict.p` of the criterion.
      p_holm: `p` adjusted for the number of claims that have one (`holm`).
    """

    claim: Claim
    verdict: Verdict
    control: Verdict | None
    p: float | None
    p_holm: float | None


@checked
def judge_claims(result: Result, claims: Sequence[Claim]) -> Verdict:
    """Judges every claim, and all together: SUPPORTED if all are, REFUTED if any is, else INCONCLUSIVE.

    A claim whose control shows the effect is INCONCLUSIVE. So is one whose p-value is not below 0.05 once
    it is adjusted for the number of claims by Holm's method: that any of them ends SUPPORTED or REFUTED
    wrongly happens in at most 5 % of experiments, as far as each one's own test holds.

    Args:
      result: what was measured.
      claims: at least one.

    Raises:
      ValueError: no claim, two of one `id`, or a criterion or control that gives no verdict.

    Example:
      >>> import fdl, pandas as pd
      >>> accuracy = {False: (0.71, 0.72, 0.7, 0.74, 0.73, 0.72), True: (0.91, 0.9, 0.93, 0.9, 0.92, 0.93)}
      >>> each = [(s, i, a) for s, values in accuracy.items() for i, a in enumerate(values)]
      >>> rows = [(f"skip={skip}", skip, seed, 10, "finished", value) for skip, seed, value in each]
      >>> frame = pd.DataFrame(rows, columns=["arm", "skip", "seed", "step", "status", "test/accuracy"])
      >>> failures = pd.DataFrame(columns=["arm", "skip", "seed", "step", "metric"])
      >>> result = fdl.Result(frame, ("skip",), failures, {})  # as fdl.sweep gives it
      >>> def more(result):
      ...     return fdl.compare(result, metric="test/accuracy", at_least=0.1).verdict
      >>> claim = fdl.Claim("S1", "Skip connections help.", more)
      >>> [(one.claim.id, one.verdict.status) for one in fdl.judge_claims(result, [claim]).claims]
      [('S1', 'SUPPORTED')]
    """
    check_claims(claims)
    found = [(_given(one, "criterion", one.criterion(result)), _control_of(one, result)) for one in claims]
    tests = [i for i, (own, _) in enumerate(found) if own.p is not None]
    adjusted = dict(zip(tests, holm([found[i][0].p or 0.0 for i in tests]), strict=True))
    judged = tuple(
        Judged(claim, _after(own, control, adjusted.get(i), len(tests)), control, own.p, adjusted.get(i))
        for i, (claim, (own, control)) in enumerate(zip(claims, found, strict=True))
    )
    sentences = [f"{one.claim.id} {one.verdict.status}: {one.verdict.sentence}" for one in judged]
    return Verdict(
        status=together([one.verdict.status for one in judged]),
        sentence=" ".join(sentences),
        criterion="; ".join(f"{one.claim.id}: {one.verdict.criterion}" for one in judged),
        comparisons=tuple(pair for one in judged for pair in one.verdict.comparisons),
        anytime=all(own.anytime and (control is None or control.anytime) for own, control in found),
        p=p_of_all([one.verdict._replace(p=one.p_holm) for one in judged]),
        claims=judged,
    )


def check_claims(claims: Sequence[Claim]) -> None:
    """Raises `ValueError` unless they are claims, each with an `id` of its own."""
    if not isinstance(claims, tuple | list) or not claims:
        raise ValueError(f"claims are {claims!r}; expected one fdl.Claim(...) or more in a tuple")
    for one in claims:
        if not isinstance(one, Claim) or not isinstance(one.id, str) or not callable(one.criterion):
            raise ValueError(f"{one!r} is no claim; expected fdl.Claim(id, statement, criterion)")
        if one.control is not None and not callable(one.control):
            raise ValueError(f"the control of {one.id} is {one.control!r}; expected a function of the result")
    ids = [one.id for one in claims]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise ValueError(f"two claims have the id {twice[0]!r}; give each its own")


def _control_of(claim: Claim, result: Result) -> Verdict | None:
    return None if claim.control is None else _given(claim, "control", claim.control(result))


def _given(claim: Claim, part: str, verdict: Any) -> Verdict:
    if not isinstance(verdict, Verdict):
        raise ValueError(
            f"the {part} of {claim.id} gives a {type(verdict).__name__}; expected a verdict, as "
            "fdl.compare(...).verdict"
        )
    return verdict


def _after(own: Verdict, control: Verdict | None, p: float | None, claims: int) -> Verdict:
    """A claim's verdict once its control and the number of claims are known."""
    if control is not None:
        told = f" Control, which must not show it: {control.status}: {control.sentence}"
        own = own._replace(sentence=own.sentence + told)
        if control.status == "SUPPORTED":
            told = "the control shows it too, so that it does not come of what is claimed. "
            return own._replace(status="INCONCLUSIVE", sentence=told + own.sentence)
    if own.status != "INCONCLUSIVE" and p is not None and claims > 1 and not p < ALPHA:
        told = f" Adjusted for {claims} claims (Holm), p = {p:.2g}: not enough for a conclusion."
        return own._replace(status="INCONCLUSIVE", sentence=own.sentence + told)
    return own
