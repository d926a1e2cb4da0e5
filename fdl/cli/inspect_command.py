"""`fdl inspect`: what a directory of trained runs holds, without running anything of it."""

import dataclasses
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
from rich.console import Console

from fdl.cli.flags import parse_options
from fdl.cli.options import Switch
from fdl.formats import memory
from fdl.report.terminal import PLAIN
from fdl.storage import Folder
from fdl.sweeps.stored_runs import StoredRun
from fdl.text import counted
from fdl.train.folder import identity_in
from fdl.train.runtime import prepare
from fdl.train.stored import fault_of, saved_in, size_of_saved
from fdl.trained import Loaded, load
from fdl.trained.origin import diff_of
from fdl.trained.parameters import Parameter, lines_of, parameters_of
from fdl.trained.states import Which

USAGE = "expected fdl inspect DIRECTORY, as fdl inspect runs/first/0123456789abcdef"


@dataclasses.dataclass
class InspectOptions:
    """`fdl inspect DIRECTORY`."""

    arm: str | None = None
    """the arm of the run whose parameters are shown; the first if there are several"""
    seed: int | None = None
    """the seed of that run; the first if there are several"""
    state: str = "result"
    """which state: result (the best, where the experiment keeps it, else the last), last or best"""
    json: Switch = False
    """print all as one machine-readable line"""


def execute(words: Sequence[str]) -> int:
    """Runs the command on the words after its name; returns the exit code."""
    if {"-h", "--help"} & set(words):
        parse_options("fdl inspect DIRECTORY", InspectOptions, ["--help"])
    if not words or words[0].startswith("-"):
        raise ValueError(f"fdl inspect got {' '.join(words)!r}; {USAGE}")
    options = parse_options("fdl inspect DIRECTORY", InspectOptions, words[1:])
    prepare()
    loaded = load(words[0])
    runs = loaded.runs().merge(_ends(loaded), on=["arm", "seed"], how="left")
    units = sorted({place.unit for place in loaded.places.values()}, key=str)
    checkpoints = [one for unit in units for one in _checkpoints(unit)]
    run = loaded.stored_run(*_chosen(runs, options))
    say = Console(stderr=options.json).print
    say(f"{loaded.meta['name']}: {counted(len(runs), 'run')}", style="bold", **PLAIN)
    for row in runs.to_dict("records"):
        say(f"  {row['arm']} seed {row['seed']}: {row['status']} at step {row['step']:,}", **PLAIN)
    say("checkpoints", style="bold", **PLAIN)
    for one in checkpoints:
        say(f"  {one['place']}  {memory(one['bytes'])}  {one['fault'] or 'undamaged'}", **PLAIN)
    parameters = parameters_of(run, cast(Which, options.state))
    _show(loaded, run, parameters, say)
    if options.json:
        told = [one._asdict() for one in parameters]
        ends = json.loads(runs[["arm", "seed", "status", "step"]].to_json(orient="records"))
        print(json.dumps({"runs": ends, "checkpoints": checkpoints, "parameters": told}))
    return 0


def _ends(loaded: Loaded) -> pd.DataFrame:
    """How each run stands, and after how many updates."""
    columns = ["arm", "seed", "step", "status"]
    ends = loaded.frame.groupby(["arm", "seed"], sort=False).tail(1)[columns]
    failed = loaded.failures.assign(status="failed")[columns]
    return pd.concat([ends[ends["status"] != "failed"], failed])


def _chosen(runs: pd.DataFrame, options: InspectOptions) -> tuple[str | None, int | None]:
    """The arm and the seed whose parameters are shown: the first of those that are meant, one that did not
    fail before the others."""
    alive = runs.sort_values("status", key=lambda status: status == "failed", kind="stable")
    for name, value in (("arm", options.arm), ("seed", options.seed)):
        alive = alive if value is None else alive[alive[name] == value]
    if not len(alive):
        return options.arm, options.seed  # `stored_run` says which there are
    return str(alive["arm"].iloc[0]), int(alive["seed"].iloc[0])


def _checkpoints(unit: Folder) -> list[dict[str, Any]]:
    return [
        {"place": str(one.place), "step": one.step, "bytes": size_of_saved(one), "fault": fault_of(one)}
        for one in saved_in(unit)
    ]


def _show(loaded: Loaded, run: StoredRun, parameters: list[Parameter], say: Any) -> None:
    """Parameters as a tree, and how to load them."""
    row = next(
        row for row in loaded.runs().to_dict("records") if loaded.stored_run(row["arm"], row["seed"]) == run
    )
    say(f"parameters of {row['arm']} seed {row['seed']}", style="bold", **PLAIN)
    for line in lines_of(parameters):
        say(f"  {line}", **PLAIN)
    numbers = sum(math.prod(one.shape) for one in parameters)
    say(f"  in all {numbers:,} numbers, {memory(sum(one.bytes for one in parameters))}", **PLAIN)
    say("to load it", style="bold", **PLAIN)
    say(f"  run = fdl.load({str(run.directory)!r}).run(arm={row['arm']!r}, seed={row['seed']})", **PLAIN)
    say(f"  fdl predict {run.directory} INPUT --arm {shlex.quote(row['arm'])} --seed {row['seed']}", **PLAIN)
    recorded = (identity_in(run.directory) or {}).get("experiment_file")
    if recorded is None:
        say("  with experiment=, as the directory does not say which file trained it", **PLAIN)
        return
    say(f"  its experiment is {recorded['path']}", **PLAIN)
    path = Path(recorded["path"])
    today = path.read_text(encoding="utf-8") if path.is_file() else None
    if today is None:
        say(
            "  which is not here: the program that was stored predicts; experiment='stored' runs the", **PLAIN
        )
        say("  source that was stored", **PLAIN)
    elif changed := diff_of(recorded["source"], today):
        say(f"  which is not as it was stored:\n{changed}", **PLAIN)
