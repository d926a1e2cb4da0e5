"""Whether what a claim asks was written before its runs: one that is fitted to what came proves nothing."""

from fdl.experiment_file import ExperimentFile, criteria
from fdl.stats import Verdict
from fdl.storage import Folder
from fdl.train.folder import identity_in


def registered(verdict: Verdict, file: ExperimentFile, directory: Folder) -> tuple[Verdict, str]:
    """A verdict, which says so where a criterion is not the one that was recorded when the directory's first
    run began; and the criteria in words, for the report.

    Args:
      verdict: on the file's claims.
      file: the file of today.
      directory: where the runs are.
    """
    recorded = ((identity_in(directory) or {}).get("experiment_file") or {}).get("criteria")
    now = criteria(file)
    shown = ", ".join(f"{name} {mark}" for name, mark in now.items())
    if recorded is None:
        return verdict, f"{shown}; not recorded before the runs"
    changed = {name for name, mark in now.items() if recorded.get(name) != mark}
    if not changed:
        return verdict, f"{shown}; as when the first run began"
    if not verdict.claims:
        return _told(verdict), f"{shown}; written after the first run began"
    claims = tuple(
        one._replace(verdict=_told(one.verdict)) if one.claim.id in changed else one for one in verdict.claims
    )
    return verdict._replace(claims=claims), f"{shown}; {', '.join(sorted(changed))} after the first run began"


def _told(verdict: Verdict) -> Verdict:
    told = " The criterion was written, or changed, after the first run began."
    return verdict._replace(sentence=verdict.sentence + told)
