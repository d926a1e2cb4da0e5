"""What a restart costs, split: a machine made and set up, the program compiled, a checkpoint restored, steps
done a second time."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fdl.formats import duration

VARIABLE = "FDL_RESTART"
"""In it the Cloud TPU launcher says what it did before this command: `create=SECONDS,set_up=SECONDS`."""
_PARTS = {
    "create": "making the slice again",
    "set_up": "setting it up",
    "compile": "compiling",
    "restore": "restoring",
    "replay": "repeating steps",
}
Restart = dict[str, Any]
"""JSON-able: the `step` that was restored, the step that an earlier command had `reached` at least, and by
the names of parts, `create` to `replay`, their seconds as far as they are known."""


class Restarts(NamedTuple):
    """The restarts of a run.

    Attributes:
      over: those whose steps are repeated.
      under_way: the one whose are not yet, if any.
    """

    over: list[Restart]
    under_way: Restart | None = None

    def passed(self, step: int, seconds: float) -> tuple["Restarts", str]:
        """The restarts once this command has done steps, and what there is to tell of one that is over now.

        Args:
          step: up to which.
          seconds: that they have taken.
        """
        restart = self.under_way
        if restart is None or step < restart["reached"]:
            return self, ""
        repeats = restart["reached"] > restart["step"]
        restart = {**restart, "replay": seconds if repeats else 0.0}
        times = ", ".join(f"{name} {duration(restart[p])}" for p, name in _PARTS.items() if restart.get(p))
        again = f"steps {restart['step'] + 1:,} to {restart['reached']:,}, at least, were done before"
        told = f"went on from step {restart['step']:,}: {times}" + (f"; {again}" if repeats else "")
        return Restarts([*self.over, restart]), told


def restarted(
    before: list[Restart],
    step: int,
    reached: int,
    *,
    compile_seconds: float,
    restore_seconds: float,
    environment: Mapping[str, str],
) -> Restarts:
    """The restarts of a run as it begins or goes on.

    Args:
      before: those that were stored with its checkpoint.
      step: where it goes on; 0 without a checkpoint.
      reached: up to which step there are evaluations of an earlier command; it had come so far at least.
      compile_seconds: of the program.
      restore_seconds: that looking for the checkpoint and reading it took.
      environment: the process's.
    """
    if step == reached == 0:
        return Restarts(before)
    made = re.fullmatch(r"create=([\d.]+),set_up=([\d.]+)", environment.get(VARIABLE, ""))
    known = {"create": float(made[1]), "set_up": float(made[2])} if made else {}
    known |= {"compile": compile_seconds, "restore": restore_seconds}
    return Restarts(before, {"step": step, "reached": max(step, reached), **known})


def lost_time(restarts: Iterable[Restart]) -> str:
    """What restarts cost, as `90 s in 1 restart (compiling 60 s, repeating steps 30 s)`; empty for none."""
    restarts = list(restarts)
    if not restarts:
        return ""
    sums = {part: sum(one.get(part, 0.0) for one in restarts) for part in _PARTS}
    split = ", ".join(f"{_PARTS[part]} {duration(seconds)}" for part, seconds in sums.items() if seconds)
    count = f"{len(restarts)} restart{'s' if len(restarts) > 1 else ''}"
    return f"{duration(sum(sums.values()))} in {count} ({split})"
