"""How a command about runs ends: report, verdict, what is printed, exit code."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd
from rich.console import Console

from fdl import report
from fdl.cli import budget, reports
from fdl.cli.exit_codes import INTERRUPTED
from fdl.cli.options import Options
from fdl.cli.registered import registered
from fdl.cli.trials import is_judged
from fdl.experiment_file import ExperimentFile, judged
from fdl.parallel import distributed
from fdl.report.costs import cost_of_answer, costs
from fdl.report.terminal import PLAIN
from fdl.result import Result, check_metric
from fdl.stats import Verdict
from fdl.storage import Folder
from fdl.sweeps import Sweep
from fdl.text import named, some_of

FAILED = 3
"""Exit code where a metric of a run that must be finite was not."""


def claim_of(file: ExperimentFile, space: Sweep) -> Callable[[Result], Verdict] | None:
    """The file's claim about some trials: of others than its own it may not find what it compares."""
    return functools.partial(judged, file.claim) if file.claim and is_judged(file.sweep, space) else None


def tried_on(file: ExperimentFile, space: Sweep) -> Callable[[Result], object] | None:
    """What is tried on made-up numbers before anything is trained: whether the metrics of the file's `FRONT`
    are there, and its claim."""
    claim = claim_of(file, space)
    if not file.front:
        return claim

    def both(result: Result) -> object:
        try:
            for metric in file.front:
                check_metric(result, metric)
        except ValueError as error:
            raise ValueError(f"FRONT: {error}") from error
        return claim(result) if claim else None

    return both


def is_own(file: ExperimentFile, space: Sweep) -> bool:
    """Whether trials are all that the file itself asks for."""
    return file.sweep is not None and set(file.sweep.trials) == set(space.trials)


def finish(
    file: ExperimentFile,
    options: Options,
    result: Result,
    space: Sweep,
    directory: Folder,
    made: dict[str, str],
    console: Console,
    left: Mapping[str, int] = MappingProxyType({}),
    search: tuple[str, pd.DataFrame] | None = None,
) -> int:
    """Reports what a command measured; the exit code. Where an arm has only runs that are `left`, by arm how
    many were not finished, the claim is not judged: it is about all arms. `search` is the name of the search
    that chose what was measured, and the table of all its runs."""
    if not distributed.is_first():
        return FAILED if len(result.failures) else 0
    about = {"name": file.name, "question": file.question, "detail": file.detail, "source": file.source}
    about |= {"front": dict(file.front)} if file.front else {}
    result = dataclasses.replace(result, meta={**result.meta, **about, **made})
    absent = left.keys() - set(result.runs()["arm"])
    claim, problem, verdict = None if absent else claim_of(file, space), None, None
    try:
        if claim:
            verdict, told = registered(claim(result), file, directory)
            result = dataclasses.replace(result, meta={**result.meta, "criteria": told})
    except Exception as error:  # what was measured is reported all the same
        problem = error
    schedule = result.meta.get("schedule", {}).get("name")
    name, table = search or (None, None)
    place = reports.place(directory, space, own=is_own(file, space), schedule=schedule, search=name)
    report.write(result, verdict, place, table)
    report.show(result, verdict, console)
    console.print(f"report: {place / 'report.html'}", **PLAIN)
    for failure in result.failures.to_dict("records"):
        console.print(
            f"failed: {failure['arm']} seed {failure['seed']}: {failure['metric']} is not finite "
            f"after step {failure['step']}",
            **PLAIN,
        )
    if problem and not left:
        raise problem
    if problem:
        console.print(f"the claim cannot be judged on what is finished: {named(problem)}", **PLAIN)
    if options.json:
        print(json.dumps({**_summary(result, verdict, directory, place), "unfinished": dict(left)}))
    return FAILED if len(result.failures) else 0


def stopped(
    file: ExperimentFile,
    options: Options,
    result: Result | None,
    space: Sweep,
    directory: Folder,
    made: dict[str, str],
    console: Console,
    left: Mapping[str, int],
) -> int:
    """Reports what was finished before a budget was spent, and says what was not; the exit code."""
    if result is not None:
        finish(file, options, result, space, directory, made, console, left)
    elif options.json:
        none = dict.fromkeys(("report", "cost", "verdict", "sentence"))
        told = {"name": file.name, "directory": str(directory), "runs": 0, "failed": 0, "arms": [], **none}
        print(json.dumps({**told, "unfinished": dict(left)}))
    told = budget.not_finished(left, len(space.trials))
    console.print(f"the budget is spent: {told}; saved, and the same command goes on", **PLAIN)
    _say_absent(left, result, file, space, console)
    return INTERRUPTED


def reported(
    file: ExperimentFile,
    options: Options,
    result: Result,
    space: Sweep,
    directory: Folder,
    made: dict[str, str],
    console: Console,
) -> int:
    """Reports what is finished of some trials, and says what is not; the exit code."""
    left = budget.unfinished(space, result)
    code = finish(file, options, result, space, directory, made, console, left)
    if left:
        console.print(f"{budget.not_finished(left, len(space.trials))}; fdl sweep trains them", **PLAIN)
        _say_absent(left, result, file, space, console)
    return code


def _say_absent(
    left: Mapping[str, int], result: Result | None, file: ExperimentFile, space: Sweep, console: Console
) -> None:
    absent = left.keys() - (set() if result is None else set(result.runs()["arm"]))
    if absent and claim_of(file, space):
        console.print(f"the claim is not judged: no run is finished of {some_of(sorted(absent))}", **PLAIN)


def _summary(result: Result, verdict: Verdict | None, directory: Folder, place: Folder) -> dict[str, Any]:
    arms = []
    for row in json.loads(str(result.table().to_json(orient="records", double_precision=15))):
        parts = {"mean": "", "margin": " ±", "runs": " n"}
        metrics = {
            name: {part: row.pop(f"{name}{end}") for part, end in parts.items()} for name in result.metrics
        }
        arms.append({**row, "metrics": metrics})
    return {
        "name": result.meta["name"],
        "directory": str(directory),
        "report": str(place / "report.html"),
        "runs": len(result.last()),
        "failed": len(result.failures),
        "arms": arms,
        **({"same": result.same} if result.same else {}),
        **({"stopped": dict(result.stopped)} if "schedule" in result.meta else {}),
        "cost": _cost(result, verdict),
        "verdict": verdict.status if verdict else None,
        "sentence": verdict.sentence if verdict else None,
        "claims": [
            {
                "id": one.claim.id,
                "statement": one.claim.statement,
                "verdict": one.verdict.status,
                "sentence": one.verdict.sentence,
                "control": one.control.status if one.control else None,
                "p": one.p,
                "p_holm": one.p_holm,
            }
            for one in (verdict.claims if verdict else ())
        ],
    }


def _cost(result: Result, verdict: Verdict | None) -> dict[str, Any] | None:
    """In seconds of devices; None where nothing is known of it."""
    found = costs(result)
    if found is None:
        return None
    told = {arm: {"total": cost.total, **cost._asdict()} for arm, cost in found.arms.items()}
    answer = cost_of_answer(result, verdict) if verdict else None
    return {
        "unit": "device-seconds",
        "total": found.whole.total,
        "at_least": found.at_least,
        "arms": told,
        "answer": answer,
    }
