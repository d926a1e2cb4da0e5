"""What the parts of `gpu.py` share: a line of the table, and measuring by turns."""

import operator
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "V100": 125e12}
"""FLOP/s of dense bfloat16 (V100: float16) products, by what the device's name contains."""
SIGNS = {"≤": operator.le, "≥": operator.ge, "=": operator.eq}


class Line(NamedTuple):
    """One measured number.

    Attributes:
      name: of what.
      value: the number.
      unit: of the number.
      note: how it spread, or how it was measured.
      target: a sign of `SIGNS` and the bound of the goal; None where there is no goal.
    """

    name: str
    value: float
    unit: str
    note: str = ""
    target: tuple[str, float] | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none. NaN meets none."""
        return None if self.target is None else SIGNS[self.target[0]](self.value, self.target[1])


def told(line: Line) -> str:
    """A line of the table."""
    goal = "" if line.target is None else f"{line.target[0]} {line.target[1]:g} {'✓' if line.met else '✗'}"
    return f"  {line.name:50} {line.value:10.4g} {line.unit:12} {goal:12} {line.note}".rstrip()


def by_turns(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round, in alternating order; a first round, which compiles, is left out.

    Each run waits for its device before it returns.
    """
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names if turn % 2 else names[::-1]:
            began = time.perf_counter()
            runs[name]()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def spent(name: str, seconds: list[float], *, each: int = 1) -> Line:
    """The median time of a run, or of each of its equal parts."""
    low, high = 1e3 * min(seconds) / each, 1e3 * max(seconds) / each
    return Line(name, 1e3 * statistics.median(seconds) / each, "ms", f"{low:.3g} to {high:.3g}")


def ratio(
    name: str, base: list[float], mine: list[float], target: tuple[str, float] | None = None, note: str = ""
) -> Line:
    """How many times as fast as `base`: the median over rounds, and the range."""
    ratios = [slow / fast for slow, fast in zip(base, mine, strict=True)]
    spread = f"{min(ratios):.3g} to {max(ratios):.3g}{note and '; '}{note}"
    return Line(name, statistics.median(ratios), "times", spread, target)


def utilisation(
    name: str, flops: int, seconds: float, device: str, target: tuple[str, float] | None = None
) -> list[Line]:
    """The MFU: matrix products of a step over what the data sheet's peak allows in its time. None where
    the peak is not known."""
    peak = next((peak for kind, peak in PEAKS.items() if kind in device), None)
    return [] if peak is None else [Line(name, 100 * flops / seconds / peak, "% MFU", "", target)]
