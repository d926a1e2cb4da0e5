"""What `fdl reproduce` records of one experiment: where its numbers come from, and what was known before."""

import datetime
import re
from collections.abc import Mapping
from typing import Any

from fdl.cli.introduced import Introduced, introduced
from fdl.cli.registered import registered
from fdl.experiment_file import ExperimentFile, criteria, judged
from fdl.report.costs import costs
from fdl.result import Result
from fdl.serialization import digest, essence
from fdl.stats import Verdict
from fdl.stats.recorded import Row, recorded_claims
from fdl.storage import Folder
from fdl.sweeps import Sweep, program_of
from fdl.train.folder import identity_in

_COMMIT = re.compile(r"at commit ([0-9a-f]{40}(?: with changes that are not committed)?)")


def row_id(file: ExperimentFile) -> str:
    """What stands for a file's row: what its claims' ids share before a dot, as F2 of F2.1 and F2.2; else the
    file's name."""
    before = {key.partition(".")[0] for key in file.asked if "." in key}
    alike = len(before) == 1 and all("." in key for key in file.asked)
    return before.pop() if alike else file.name


def program_mark(file: ExperimentFile, space: Sweep) -> str:
    """A digest of what the file's runs mean, without their seeds."""
    return digest(essence(program_of(file.experiment, space)))


def judged_row(file: ExperimentFile, result: Result, directory: Folder) -> Verdict:
    """The verdict on a file's claims, which says so where one was changed after the runs began."""
    assert file.claim is not None
    return registered(judged(file.claim, result), file, directory)[0]


def recorded_row(
    file: ExperimentFile, result: Result, directory: Folder, verdict: Verdict, before: Row | None
) -> Row:
    """What is recorded of a sweep that ended.

    Args:
      file: with its sweep.
      result: what it measured.
      directory: where its runs are.
      verdict: as of `judged_row`.
      before: what was recorded of it last.
    """
    assert file.sweep is not None
    now, program = criteria(file), program_mark(file, file.sweep)
    times = [(one["began"], one["ended"]) for one in result.meta.get("programs", ()) if "ended" in one]
    began, ended = (min(t[0] for t in times), max(t[1] for t in times)) if times else (None, None)
    alike = before is not None and (before["criteria"], before["program"]) == (now, program)
    earlier = [] if before is None else before["earlier"] + ([] if alike else [_short(before)])
    origin, spent = introduced(file.path), costs(result)
    key = row_id(file)
    return {
        "id": key,
        "criteria": now,
        "program": program,
        "introduced": origin._asdict() if origin else None,
        "changed": _changed(now, earlier, origin, began, directory),
        "seeds": sorted({trial.seed for trial in file.sweep.trials}),
        "seconds": spent.whole.total if spent else None,
        "hardware": re.sub(r", jax(?:lib)? [^,()]*", "", str(result.meta.get("device", "unknown"))),
        "date": _iso(ended) if ended else "unknown",
        "began": _iso(began) if began else "unknown",
        "commits": sorted(set(_COMMIT.findall(str(result.meta.get("trained", ""))))),
        "jax": result.meta.get("versions", {}).get("jax", "unknown"),
        "claims": recorded_claims(verdict, key, file.question),
        "earlier": earlier,
        "other_seeds": before["other_seeds"] if before and alike else {},
    }


def other_seeds(row: Row) -> Row:
    """Of a row with other seeds what is kept beside the recorded one."""
    return {**_short(row), "seeds": row["seeds"], "seconds": row["seconds"], "hardware": row["hardware"]}


def _short(row: Row) -> Row:
    told = {name: row[name] for name in ("date", "commits", "criteria", "program")}
    return {**told, "verdicts": {key: claim["verdict"] for key, claim in row["claims"].items()}}


def _changed(
    now: Mapping[str, str],
    earlier: list[Row],
    origin: Introduced | None,
    began: float | None,
    directory: Folder,
) -> str | None:
    """How it shows that something is asked that was not when the first data was seen; None where nothing
    shows it."""
    for one in earlier:
        if keys := [key for key, mark in one["criteria"].items() if now.get(key, mark) != mark]:
            return f"{', '.join(keys)} asked something else when it was run until {one['date'][:10]}"
    recorded: dict[str, Any] = (identity_in(directory) or {}).get("experiment_file") or {}
    at_first = recorded.get("criteria")
    if at_first is not None and (keys := [key for key, mark in now.items() if at_first.get(key) != mark]):
        return f"{', '.join(keys)} asked something else, or nothing, when the first run began"
    if origin and began and datetime.datetime.fromisoformat(origin.date).timestamp() > began:
        return f"commit {origin.commit[:10]} is younger than the first run, which began {_iso(began)}"
    return None


def _iso(second: float) -> str:
    return datetime.datetime.fromtimestamp(second, datetime.UTC).isoformat(timespec="seconds")
