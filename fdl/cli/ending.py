"""How a command about runs ends: report, verdict, what is printed, exit code."""

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

from rich.console import Console

from fdl import report
from fdl.cli import reports
from fdl.cli.options import Options
from fdl.cli.trials import is_judged
from fdl.experiment_file import ExperimentFile, judged
from fdl.parallel import distributed
from fdl.report.terminal import PLAIN
from fdl.result import Result
from fdl.stats import Verdict
from fdl.storage import Folder
from fdl.sweeps import Sweep

FAILED = 3
"""Exit code where a metric of a run that must be finite was not."""


def claim_of(file: ExperimentFile, space: Sweep) -> Callable[[Result], Verdict] | None:
    """The file's claim about some trials: of others than its own it may not find what it compares."""
    return functools.partial(judged, file.claim) if file.claim and is_judged(file.sweep, space) else None


def finish(
    file: ExperimentFile,
    options: Options,
    result: Result,
    space: Sweep,
    directory: Folder,
    made: dict[str, str],
    console: Console,
) -> int:
    """Reports what a command measured; the exit code."""
    if not distributed.is_first():
        return FAILED if len(result.failures) else 0
    about = {"name": file.name, "question": file.question, "detail": file.detail, "source": file.source}
    result = dataclasses.replace(result, meta={**result.meta, **about, **made})
    claim, problem, verdict = claim_of(file, space), None, None
    try:
        verdict = claim(result) if claim else None
    except Exception as error:  # what was measured is reported all the same
        problem = error
    own = file.sweep is not None and set(file.sweep.trials) == set(space.trials)
    place = reports.place(directory, space, own=own, rungs=result.meta.get("schedule", {}).get("rungs"))
    report.write(result, verdict, place)
    report.show(result, verdict, console)
    console.print(f"report: {place / 'report.html'}", **PLAIN)
    for failure in result.failures.to_dict("records"):
        console.print(
            f"failed: {failure['arm']} seed {failure['seed']}: {failure['metric']} is not finite "
            f"after step {failure['step']}",
            **PLAIN,
        )
    if problem:
        raise problem
    if options.json:
        print(json.dumps(_summary(result, verdict, directory, place)))
    return FAILED if len(result.failures) else 0


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
        **({"stopped": dict(result.stopped)} if "schedule" in result.meta else {}),
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
