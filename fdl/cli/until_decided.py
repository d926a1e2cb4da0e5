"""`fdl sweep --until-decided`: seeds are added, four of every arm at a time, until the claim is decided."""

import functools
from collections.abc import Callable
from typing import Any

from fdl.cli.options import SweepOptions
from fdl.cli.trials import is_judged
from fdl.experiment_file import ExperimentFile, judged
from fdl.parallel import distributed
from fdl.parallel.distributed import broadcast_from_first
from fdl.result import Result
from fdl.serialization import digest, to_json
from fdl.stats import Verdict
from fdl.stats.planning import LOOK
from fdl.storage import Folder
from fdl.sweeps import Sweep
from fdl.text import counted
from fdl.train.folder import read_sealed, write_sealed

_ASKED = "until_decided.json"
"""In the work directory: with which seeds the claim was asked last."""
MAX_SEEDS = 64
"""Of an arm in all, if the user says nothing."""


def check_until_decided(file: ExperimentFile, options: SweepOptions, space: Sweep) -> ExperimentFile:
    """The file; with `--until-decided` its claim is refused unless it may be asked after every population.

    Raises:
      ValueError: there is no claim about these trials, or more seeds than `--max-seeds` are asked for.
    """
    if not options.until_decided:
        if options.max_seeds is not None:
            raise ValueError(f"--max-seeds {options.max_seeds} needs --until-decided; else give --seeds")
        return file
    if file.scheduler is not None:
        raise ValueError(
            "--until-decided adds seeds until the claim is decided, and the file's SCHEDULER stops arms by "
            "the seeds that would decide it; use one of them"
        )
    if file.claim is None or not is_judged(file.sweep, space):
        raise ValueError(
            "--until-decided needs a claim about the file's own SWEEP: leave out --grid and fields' flags, "
            "and write claim(result) with fdl.compare(..., anytime=True)"
        )
    most, least = _most(options), len(_seeds(space))
    if most < least:
        raise ValueError(f"--max-seeds is {most}; expected {least} or more, with which the sweep begins")
    return file._replace(claim=_at_any_time(file.claim))


def until_decided(
    file: ExperimentFile,
    options: SweepOptions,
    space: Sweep,
    train: Callable[[Sweep], Result],
    say: Callable[[str], None],
) -> tuple[Result, Sweep]:
    """Trains one population after another; what all measured, and the trials.

    Args:
      file: with the claim.
      options: those of the command.
      space: the trials to begin with.
      train: gives what trials measured; those that were trained before are not trained again.
      say: told how it stands.
    """
    seeds, most = _seeds(space), _most(options)
    while True:
        trials = space.with_seeds(seeds)
        result = train(trials)
        status = broadcast_from_first(functools.partial(_status, file, result))
        say(f"{status or 'the claim failed'} after {counted(len(seeds), 'seed')} of at most {most}")
        if status != "INCONCLUSIVE" or len(seeds) >= most:
            return result, trials
        # Higher ones, as the test takes seeds in rising order.
        first, more = seeds[-1] + 1, min(LOOK, most - len(seeds))
        seeds = [*seeds, *range(first, first + more)]


def keep_asked(space: Sweep, directory: Folder) -> None:
    """Keeps which trials the claim was asked about last, for `as_decided`."""
    if distributed.is_first():
        write_sealed(directory / _ASKED, {"arms": _arms(space), "seeds": _seeds(space)})


def as_decided(file: ExperimentFile, space: Sweep, directory: Folder) -> tuple[ExperimentFile, Sweep]:
    """A file and its trials as they are to be reported: where `--until-decided` asked the claim about the
    same arms with more seeds, those; and with them no claim but one that may be asked so.

    Raises:
      ValueError: what is stored of it is damaged.
    """
    asked = read_sealed(directory / _ASKED, fix="remove it, and give the command with --until-decided again")
    if asked is None or asked["arms"] != _arms(space) or not is_judged(file.sweep, space):
        return file, space
    more = space.with_seeds(asked["seeds"])
    if file.claim is None or file.scheduler or not set(space.trials) < set(more.trials):
        return file, space
    return file._replace(claim=_at_any_time(file.claim)), more


def _arms(space: Sweep) -> str:
    return digest(sorted({trial.arm: to_json(trial.config) for trial in space.trials}.items()))


def _at_any_time(claim: Callable[[Result], Any]) -> Callable[[Result], Any]:
    def anytime(result: Result) -> Any:
        verdict = claim(result)
        if isinstance(verdict, Verdict) and not verdict.anytime:
            raise ValueError(
                "--until-decided asks the claim after every few seeds, and its test is for a number of seeds "
                "fixed before: looked at so often it would be wrong in more than 5 %; use fdl.compare(..., "
                "anytime=True) for every comparison"
            )
        return verdict

    return anytime


def _most(options: SweepOptions) -> int:
    return MAX_SEEDS if options.max_seeds is None else options.max_seeds


def _seeds(space: Sweep) -> list[int]:
    return sorted({trial.seed for trial in space.trials})


def _status(file: ExperimentFile, result: Result) -> str | None:
    """None where the claim fails on what was measured: what is reported then says how."""
    assert file.claim
    try:
        return judged(file.claim, result).status
    except Exception:
        return None
