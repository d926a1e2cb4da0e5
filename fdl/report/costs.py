"""What runs have cost: the time of devices, by arm and by what it was spent on."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fdl import formats
from fdl.report.tables import Column
from fdl.result import Result
from fdl.stats import Verdict
from fdl.text import counted

_LOST = ("set_up", "compile", "restore", "replay")
"""The parts of a restart in which devices are held."""


class DeviceTime(NamedTuple):
    """Seconds of devices: the time that passed, times the devices that were held meanwhile.

    What passed while runs were trained together is shared alike by them, and what it took to make a program
    by all runs that it trained.

    Attributes:
      train: training of what is kept, evaluating, saving and looking at runs with it.
      compile: compiling the training programs that were run.
      restarts: after a kill or a preemption: setting up, compiling again, restoring, repeating steps.
      failed: how much of `train` went into runs that failed.
    """

    train: float = 0.0
    compile: float = 0.0
    restarts: float = 0.0
    failed: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.train + self.compile + self.restarts


class Costs(NamedTuple):
    """What a result has cost.

    Attributes:
      arms: by the arm's name.
      at_least: whether some is not known: what was begun before a restart, or runs that still run.
    """

    arms: Mapping[str, DeviceTime]
    at_least: bool

    @property
    def whole(self) -> DeviceTime:
        """That of all arms."""
        return _sum(self.arms.values())


def costs(result: Result) -> Costs | None:
    """What the runs of a result have cost; None where nothing is known of it."""
    wanted = set(result.runs()["arm"])
    units = result.meta.get("programs", ())
    told = [unit for unit in units if {"train_seconds", "devices", "program"} <= unit.keys()]
    members: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for unit in told:
        members[unit["program"]] += unit["members"]
        made[unit["program"]] += unit["devices"] * _making(unit)
    arms: dict[str, DeviceTime] = {}
    for unit in told:
        lost = [one.get(part, 0.0) for one in unit.get("restarts", ()) for part in _LOST]
        share = unit["devices"] / unit["members"]
        for arm, runs, failed in zip(unit["arms"], unit["runs"], unit["failed"], strict=True):
            there = DeviceTime(
                train=runs * share * unit["train_seconds"],
                compile=runs * made[unit["program"]] / members[unit["program"]],
                restarts=runs * share * sum(lost),
                failed=failed * share * unit["train_seconds"],
            )
            if arm in wanted:
                arms[arm] = _sum((arms.get(arm, DeviceTime()), there))
    at_least = len(told) < len(units) or any("restarts" in unit for unit in told)
    return Costs(arms, at_least) if arms else None


def _making(unit: Mapping[str, Any]) -> float:
    """Seconds of making a unit's program; nothing after a restart, whose compiling is that of the restart."""
    return 0.0 if unit.get("restarts") else unit.get("compile_seconds", 0.0)


def _sum(parts: Iterable[DeviceTime]) -> DeviceTime:
    return DeviceTime(*map(sum, zip(*parts, strict=True)))


def _share(part: float, of: DeviceTime) -> str:
    return f"{100 * part / of.total:.0f} %"


def hours(seconds: float, *, at_least: bool = False) -> str:
    """Seconds of devices as `0.8 device-hours`."""
    shown = formats.number(seconds / 3600, digits=2)
    return f"{'at least ' * at_least}{shown} device-hours"


def spent(found: Costs) -> str:
    """What all arms have cost, as `0.8 device-hours (compiling 12 %, failed runs 3 %)`."""
    whole = found.whole
    parts = {"compiling": whole.compile, "restarts": whole.restarts, "failed runs": whole.failed}
    told = ", ".join(f"{name} {_share(part, whole)}" for name, part in parts.items() if part)
    return hours(whole.total, at_least=found.at_least) + (f" ({told})" if told else "")


def cost_of_answer(result: Result, verdict: Verdict) -> str | None:
    """What a verdict has cost: of one comparison `+1.3 [0.9, 1.7] in test/accuracy for 0.8 device-hours`."""
    found = costs(result)
    count = len(verdict.comparisons)
    if found is None or count == 0:
        return None
    price = f"for {spent(found)}"
    if count > 1:
        return f"{counted(count, 'comparison')} {price}"
    row = verdict.comparisons[0]
    spread = (row.high - row.low) / 2
    difference = formats.fixed(row.difference, spread, sign=True)
    interval = formats.interval(row.low, row.high, spread)
    return f"{difference} (95 % interval {interval}) in {row.metric} {price}"


def cost_table(found: Costs) -> tuple[Column, ...]:
    """A row per arm: its device time, and the shares of it that compiling, restarts and failed runs took."""
    rows = found.arms.values()
    share = lambda part: tuple(_share(getattr(one, part), one) for one in rows)  # noqa: E731
    columns = [
        Column("arm", tuple(found.arms), number=False),
        Column("device time", tuple(formats.duration(one.total) for one in rows)),
        Column("training", tuple(formats.duration(one.train) for one in rows)),
        Column("compiling", share("compile")),
        Column("restarts", share("restarts")),
        Column("failed runs", share("failed")),
    ]
    spared = {name for name, part in (("restarts", "restarts"), ("failed runs", "failed")) if not any(
        getattr(one, part) for one in rows
    )}  # fmt: skip
    return tuple(column for column in columns if column.name not in spared)
