"""What a scheduler saved, and what it lost, as far as the arms that ran on all the same can tell."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from fdl.result import Better, Result
from fdl.sweeps.racing import Left, Race
from fdl.sweeps.units import Trained


def saved_by_stopping(race: Race, trained: Sequence[Trained], runs: int, steps: int) -> dict[str, Any]:
    """Steps and seconds of devices that were taken, and those of all runs to their end.

    Args:
      race: how it went.
      trained: its units.
      runs: how many runs began.
      steps: of each.

    Returns:
      `steps`, `steps_of_all` (both exact), `seconds` (measured training), `compile_seconds` (of the programs
      of units that began at a rung), `seconds_of_all`: an estimate, by
      the measured speed of the units that began at step 0, each member's step as fast as there; these took
      `seconds_at_first`. All seconds are those of devices: what passed, times the devices that were held.
    """
    first = [unit for unit in trained if not _start(unit)]
    speed = [_held(unit, "train_seconds") / max(1, unit.cost["steps"]) for unit in first]
    return {
        "steps": race.taken,
        "steps_of_all": runs * steps,
        "seconds": sum(_held(unit, "train_seconds") for unit in trained),
        "seconds_of_all": sum(speed) * steps,
        "seconds_at_first": sum(_held(unit, "train_seconds") for unit in first),
        "compile_seconds": sum(_held(unit, "compile_seconds") for unit in trained if _start(unit)),
    }


def _held(unit: Trained, name: str) -> float:
    return unit.cost["devices"] * unit.cost.get(name, 0.0)


def _start(unit: Trained) -> int:
    return unit.unit.segment.start if unit.unit.segment else 0


def lost_by_stopping(
    result: Result, left: Mapping[str, Left], metric: str, better: Better
) -> dict[str, Any] | None:
    """How good the arms that were told to leave would have been, by those of them that ran on.

    These were drawn at random before anything was trained, so they stand for all that left. An arm's value is
    the mean over its runs' results, as in `Result.table`; failed arms are worse than any.

    Args:
      result: what was measured.
      left: by arm's name those that were told to leave.
      metric: by which they were.
      better: which way it is better.

    Returns:
      `chosen`, the best arm of those that were to go on; `left`, how many were told to leave without having
      failed; `ran_on`, how many of these ran on; `better`, how many of those ended better than the chosen
      one. Where any ran on, `rank`: the chosen one's place among itself and all that left, from 1, as an
      exact 95 % interval; and, of those with a value, `best`: the best one's arm, its value, the chosen
      one's, and at which rung it had left, at which rank of how many. None if no arm went on to a value.
    """
    sign = -1.0 if better == "higher" else 1.0
    last = result.last()
    last = last[last["status"] != "running"]
    means = sign * last.groupby("arm", sort=False)[metric].mean()
    failed = set(result.failures["arm"])
    value = {str(arm): float(v) for arm, v in means.items() if np.isfinite(v) and arm not in failed}
    went = {arm: v for arm, v in value.items() if arm not in left}
    if not went:
        return None
    chosen = min(went, key=lambda arm: went[arm])
    on = [arm for arm, one in left.items() if one.ran_on]
    rivals = sum(value.get(arm, np.inf) < went[chosen] for arm in on)
    # Those that failed at a rung could not run on, and are not better.
    sound = sum(one.rank is not None for one in left.values())
    told: dict[str, Any] = {"chosen": chosen, "left": sound, "ran_on": len(on), "better": rivals}
    if not on:
        return told
    told["rank"] = [1 + count for count in _interval(rivals, len(on), sound)]
    if ended := [arm for arm in on if arm in value]:
        best = min(ended, key=lambda arm: value[arm])
        told["best"] = {
            "arm": best,
            "value": sign * value[best],
            "chosen_value": sign * went[chosen],
            **_where(left[best]),
        }
    return told


def _interval(seen: int, drawn: int, of: int) -> tuple[int, int]:
    """How many of a kind there may be, in a 95 % interval, where some were seen among things drawn from all.

    The numbers that a hypergeometric test on each side does not reject at 2.5 %.
    """
    there = np.arange(seen, of - drawn + seen + 1)
    fewer = scipy.stats.hypergeom.cdf(seen, of, there, drawn)
    more = scipy.stats.hypergeom.sf(seen - 1, of, there, drawn)
    left = there[(fewer > 0.025) & (more > 0.025)]
    return int(left.min()), int(left.max())


def _where(left: Any) -> Mapping[str, Any]:
    return {"step": left.step, "rank": left.rank, "of": left.of}
