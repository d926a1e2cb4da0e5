"""What a restart costs, split: a machine made and set up, the program compiled, a checkpoint restored, steps
done a second time."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fdl.formats import duration

VARIABLE = "FDL_RESTART"
"""In it the Cloud TPU launcher says what it did before this command: `create=SECONDS,set_up=SECONDS`."""
NAMES = {
    "create": "making the slice again",
    "set_up": "setting it up",
    "compile": "compiling",
    "restore": "restoring",
    "replay": "repeating steps",
}
"""The parts of a restart, and what they are called."""

Restart = dict[str, Any]
"""JSON-able: `step` that was restored, `reached`, and by the names of `NAMES` the seconds that are known."""


def begun(
    step: int, reached: int, *, compile_seconds: float, restore_seconds: float, environment: Mapping[str, str]
) -> Restart | None:
    """A restart, as far as it is known once a checkpoint is restored; None for a run that is new.

    Args:
      step: where it goes on, 0 without a checkpoint.
      reached: up to which step there are evaluations of an earlier command, which had come so far at least.
      compile_seconds: of the program.
      restore_seconds: that looking for the checkpoint and reading it took.
      environment: the process's.
    """
    if step == reached == 0:
        return None
    made = re.fullmatch(r"create=([\d.]+),set_up=([\d.]+)", environment.get(VARIABLE, ""))
    known = {"create": float(made[1]), "set_up": float(made[2])} if made else {}
    known |= {"compile": compile_seconds, "restore": restore_seconds}
    return {"step": step, "reached": max(step, reached), **known}


def line(restart: Restart) -> str:
    """A restart in words, once the steps are repeated."""
    times = ", ".join(f"{name} {duration(restart[part])}" for part, name in NAMES.items() if part in restart)
    first, last = restart["step"] + 1, restart["reached"]
    again = (
        f"steps {first:,} to {last:,}, at least, a second time" if last >= first else "no step is known to"
    )
    again = again if last >= first else "no step that was evaluated is done a second time"
    return f"went on from step {restart['step']:,}: {times}; {again}"


def together(restarts: Iterable[Restart]) -> str:
    """The time that restarts took, in words; empty where there were none."""
    restarts = list(restarts)
    if not restarts:
        return ""
    sums = {part: sum(one.get(part, 0.0) for one in restarts) for part in NAMES}
    split = ", ".join(f"{NAMES[part]} {duration(seconds)}" for part, seconds in sums.items() if seconds)
    count = f"{len(restarts)} restart{'s' if len(restarts) > 1 else ''}"
    return f"{duration(sum(sums.values()))} in {count} ({split})"


def here() -> Mapping[str, str]:
    """This process's environment."""
    return os.environ
