"""The seeds that choose an arm, and those that are left to judge it."""

from collections.abc import Iterable

import pandas as pd

JUDGES = 5
"""The fewest seeds that `Result.best` leaves to judge: fewer pairs of runs are never conclusive."""


def choosing(runs: pd.DataFrame, seeds: int | Iterable[int] | None) -> frozenset[int]:
    """The seeds that choose, of those in `runs`; see `Result.best`.

    Raises:
      ValueError: seeds that are not there.
    """
    shared = sorted(frozenset.intersection(*(frozenset(own) for _, own in runs.groupby("arm")["seed"])))
    if seeds is None:
        half = len(shared) // 2
        return frozenset(shared[:half] if len(shared) - half >= JUDGES else runs["seed"])
    if not isinstance(seeds, int | Iterable) or isinstance(seeds, bool):
        raise ValueError(
            f"seeds is {seeds!r} ({type(seeds).__name__}); expected a whole number, or a list of seeds"
        )
    if not isinstance(seeds, int):
        chosen = frozenset(seeds)
        if not chosen or not chosen <= frozenset(shared):
            raise ValueError(f"seeds={sorted(chosen)} are to choose; those that all arms have are {shared}")
        return chosen
    if not 1 <= seeds <= len(shared):
        raise ValueError(f"seeds={seeds} are to choose; expected 1 to {len(shared)}, which all arms have")
    return frozenset(shared[:seeds])
