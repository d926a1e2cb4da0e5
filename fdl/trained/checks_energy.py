"""Checks of energy: measured by a processor's counters, or estimated from device time and a given power."""

import time
from collections.abc import Callable
from pathlib import Path

from fdl.report.costs import costs, hours
from fdl.report.model_card import Checked, NotChecked
from fdl.result import Result
from fdl.trained.checks_said import Found

RAPL = Path("/sys/class/powercap")
"""Where Linux has the counters of energy that Intel and AMD processors keep."""
_SECONDS = 1.0


def prediction_energy(predict: Callable[[], object], rows: int, *, counters: Path = RAPL) -> Found:
    """The energy of predicting a row, by the counters of all processor packages: with what else runs
    meanwhile, and without memory and accelerators.

    Args:
      predict: predicts so many rows, compiled before.
      rows: at a call.
      counters: a folder with `intel-rapl:0/energy_uj`, as `RAPL`.
    """
    name = "energy of predicting"
    try:
        before = _read(counters)
        ends = {place: int((place / "max_energy_range_uj").read_text()) for place in before}
    except OSError as error:
        return [NotChecked(name, f"the processor's counters may not be read: {error}")]
    if not before:
        return [NotChecked(name, f"no counter of energy is in {counters}")]
    calls, start = 0, time.monotonic()
    while not calls or time.monotonic() - start < _SECONDS:
        predict()
        calls += 1
    after = _read(counters)
    spent = sum((after[place] - first) % (ends[place] + 1) for place, first in before.items())
    how = "microjoules, measured by RAPL counters of all packages, with all else that ran"
    return [Checked(name, "a row", spent / (calls * rows), None, None, None, how)]


def _read(counters: Path) -> dict[Path, int]:
    """Microjoules since some time, by package: `intel-rapl:0:1` would be a part of `intel-rapl:0`."""
    places = [one for one in sorted(counters.glob("intel-rapl:*")) if one.name.count(":") == 1]
    return {place: int((place / "energy_uj").read_text()) for place in places}


def training_energy(
    result: Result, arm: str, *, watts: float | None = None, carbon: float | None = None
) -> Found:
    """An estimate of the energy of training a run, and of its CO2: device time, times what is said of both.

    Lacoste et al. 2019, Quantifying the Carbon Emissions of Machine Learning: power, times time, times the
    carbon of the grid. Of the data centre's cooling and of what was tried before nothing is in it.

    Args:
      result: with the run.
      arm: its arm, of whose runs the mean is taken.
      watts: what one device draws while it trains.
      carbon: grams of CO2 equivalents for a kilowatt-hour.

    Raises:
      ValueError: power or carbon that is not above 0, or carbon without power.
    """
    for name, value in (("--watts", watts), ("--carbon", carbon)):
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} is {value:g}; expected a number above 0")
    if carbon is not None and watts is None:
        raise ValueError("--carbon is of a kilowatt-hour, of which --watts tells how many; give both")
    found = costs(result)
    if watts is None or found is None or arm not in found.arms:
        missing = "no --watts says what a device draws" if watts is None else "its device time is not known"
        return [NotChecked("energy and CO2 of training", missing)]
    runs = (result.runs()["arm"] == arm).sum()
    seconds = found.arms[arm].total / runs
    how = f"joules, estimated: {hours(seconds, at_least=found.at_least)} of {watts:g} watts as --watts says"
    energy = Checked("energy of training", "a run", seconds * watts, None, None, None, how)
    if carbon is None:
        return [energy, NotChecked("CO2 of training", "no --carbon says how much a kilowatt-hour has")]
    how = f"milligrams of CO2e, estimated: that energy of {carbon:g} grams a kilowatt-hour as --carbon says"
    return [
        energy,
        Checked("CO2 of training", "a run", seconds * watts / 3600 * carbon, None, None, None, how),
    ]
