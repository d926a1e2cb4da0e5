"""`fdl plan --power --effect`: how many seeds a claim needs, by how much earlier runs vary."""

import json
import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fdl import formats
from fdl.cli.options import PlanOptions
from fdl.cli.trials import is_judged
from fdl.experiment_file import ExperimentFile, judged
from fdl.report.terminal import PLAIN
from fdl.stats.planning import MOST_BETS, seeds_for
from fdl.stats.power import MOST
from fdl.storage import Folder
from fdl.sweeps import Sweep, stored


def is_asked(options: PlanOptions) -> bool:
    """Whether seeds are to be planned; raises `ValueError` for one flag without the others that it needs, or
    a number out of range."""
    if options.power is options.effect is None:
        if options.workdir is not None:
            raise ValueError("--workdir of fdl plan needs --power and --effect, which read the runs in there")
        return False
    if options.topology:
        raise ValueError("--power and --topology are two plans; give one of them")
    if options.power is None or options.effect is None:
        raise ValueError("--power and --effect go together, as --power 0.8 --effect 0.01")
    if not 0 < options.power < 1:
        raise ValueError(f"--power is {options.power}; expected a chance above 0 and below 1, as 0.8")
    if not 0 < options.effect < math.inf:
        raise ValueError(f"--effect is {options.effect}; expected a difference in the metric's unit, above 0")
    return True


def plan_seeds(
    file: ExperimentFile, options: PlanOptions, space: Sweep, directory: Folder, console: Console
) -> int:
    """Prints the pairs that each comparison of the file's claim needs; trains and compiles nothing.

    Raises:
      ValueError: no earlier runs, no claim about these trials, or one without comparisons.
    """
    effect, power = options.effect, options.power
    assert power is not None and effect is not None
    if file.claim is None or not is_judged(file.sweep, space):
        raise ValueError("--power needs a claim about the file's own SWEEP: it says what is compared")
    verdict = judged(file.claim, stored(file.experiment, space, workdir=directory))
    if not verdict.comparisons:
        raise ValueError("--power needs a claim with comparisons, as fdl.compare gives; this one has none")
    if any(one.by not in (None, "seed") for one in verdict.comparisons):
        raise ValueError("--power counts seeds, but the claim's pairs are not of seeds: it gives by=")
    if any(one.bounds for one in verdict.comparisons):
        raise ValueError("--power does not know comparisons with bounds=; their number depends on the edge")
    told = [
        {
            "metric": one.metric,
            "arm": one.arm,
            "baseline": one.baseline,
            "pairs": one.n,
            "spread": one.spread if one.spread > 0 else None,
            "needed": needed,
            "or_more": needed is not None and needed >= (MOST_BETS if one.anytime else MOST),
        }
        for one in verdict.comparisons
        for needed in [seeds_for(one, effect=effect, power=power) if one.spread > 0 else None]
    ]
    table = Table(
        "metric", "arm", "baseline", "earlier pairs", "spread", "pairs needed", title=Text(file.question)
    )
    for row in told:
        spread, needed = row["spread"], row["needed"]
        table.add_row(
            *(Text(row[name]) for name in ("metric", "arm", "baseline")),
            str(row["pairs"]),
            formats.number(spread, digits=3) if spread else "unknown",
            f"{needed:,}{' or more' * row['or_more']}" if needed else "unknown",
        )
    console.print(table)
    console.print(
        f"so many seeds that judge tell a difference that is {effect:g} off what is claimed in "
        f"{power:.0%} of sweeps, if differences are normal with the standard deviation seen (spread): "
        "each arm by itself, at the level with which Holm's correction begins",
        **PLAIN,
    )
    if options.json:
        print(json.dumps({"name": file.name, "seeds": told}))
    return 0
