"""What `fdl plan --topology` finds out about each program of a sweep, in words and as JSON."""

from typing import Any, NamedTuple

from fdl.aot.chips import Slice
from fdl.aot.estimate import Estimate, to_data
from fdl.formats import duration, memory
from fdl.parallel.arrangement import spanning
from fdl.parallel.plan import AXES, Plan, shape_of
from fdl.text import some_of


class ProgramReport(NamedTuple):
    """One program of a sweep on slices.

    Attributes:
      arms: whose runs are in it.
      trials: how many runs it trains.
      steps: of each run.
      plan: how they run.
      part: the slice.
      slices: how many of them.
      quick: whether the compiler optimised little.
      found: what the compiler made of it; or why it cannot be compiled.
    """

    arms: list[str]
    trials: int
    steps: int
    plan: Plan
    part: Slice
    slices: int
    quick: bool
    found: Estimate | str

    @property
    def fits(self) -> bool:
        """Whether it can run."""
        return isinstance(self.found, Estimate) and self.found.refusal is None

    @property
    def seconds(self) -> float:
        """The least that training takes, all runs, by the roofline."""
        return self.found.roofline.seconds * self._turns if isinstance(self.found, Estimate) else 0.0

    @property
    def expected_seconds(self) -> float | None:
        """What training should take, all runs; None where nothing is known of the chip, or it cannot run."""
        known = isinstance(self.found, Estimate) and self.found.expected
        return known.seconds * self._turns if known else None

    @property
    def spanned(self) -> dict[str, int]:
        """Which axes of the mesh span slices, and how many."""
        outer = self.plan.spans or spanning(shape_of(self.plan), self.slices)
        return {axis: times for axis, times in zip(AXES, outer, strict=True) if times > 1}

    @property
    def _turns(self) -> int:
        """Steps one after another."""
        return self.steps * -(-self.trials // self.plan.members)

    def hours(self, seconds: float) -> float:
        """A time in hours of chips."""
        return seconds / 3600 * self.part.chips * self.slices


def lines(outlook: ProgramReport) -> list[str]:
    """What a person is told of a program."""
    one, found = outlook, outlook.found
    title = f"{some_of(one.arms)}: {runs(one.trials)} of {one.steps:,} steps"
    if isinstance(found, str):
        return [title, f"  {one.plan}", f"  CANNOT BE COMPILED: {found}"]
    idle = one.plan.members - one.trials
    each = one.plan.members // one.plan.population
    some = [f"  {idle // each} of {one.plan.population} groups of devices have nothing to do"]
    return [
        title,
        f"  {one.plan}",
        *(some if idle >= each else []),
        *([_spanned(one)] if one.slices > 1 else []),
        *_memory(found, one),
        *_collectives(found),
        *_speed(one, found),
    ]


def _spanned(one: ProgramReport) -> str:
    axes = ", ".join(f"{axis} over {times}" for axis, times in one.spanned.items())
    return f"  {one.slices} slices, spanned by {axes}"


def _memory(found: Estimate, one: ProgramReport) -> list[str]:
    part, where = one.part, "a chip" if one.part.chip.devices == 1 else "a core"
    little = " (of a program that is little optimised: --quick)" if one.quick else ""
    if found.refusal:
        what = "the evaluation" if found.memory else "the training"
        return [
            f"  DOES NOT FIT: {what} needs at least {memory(found.refusal.needed)} {where}, "
            f"of {memory(min(found.refusal.available, part.chip.memory_free))}{little}"
        ]
    result = [f"  fits: {memory(found.held)} of {memory(part.chip.memory_free)} {where}{little}"]
    for name, part_of in (("training", found.memory), ("evaluation", found.evaluation)):
        if part_of:
            result.append(
                f"  {name}: arguments {memory(part_of.arguments)} ({memory(part_of.donated)} donated), "
                f"temporaries {memory(part_of.temporaries)}, peak {memory(part_of.peak)}"
            )
    return result


def _collectives(found: Estimate) -> list[str]:
    if found.refusal and not found.memory:
        return []
    each = [
        f"{one.runs} {one.kind}{' between slices' if one.between_slices else ''} of {memory(one.bytes)}"
        for one in found.collectives.each
    ]
    more = ["a loop of unknown length counts as one trip"] if found.collectives.uncounted else []
    return [f"  collectives a step: {'; '.join([*each, *more]) or 'none'}"]


def _speed(outlook: ProgramReport, found: Estimate) -> list[str]:
    roof = found.roofline
    parts = {"compute": roof.compute, "memory": roof.memory, "links": roof.links, "network": roof.network}
    times = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds)
    missed = f"; not counted: {', '.join(found.cost.uncounted)}" if found.cost.uncounted else ""
    return [
        f"  {number(found.cost.matrix)}FLOP of matrix products a step, {number(found.cost.other)}FLOP else"
        f"{missed}",
        f"  a step takes at least {duration(roof.seconds)} ({times}): MFU at most {roof.mfu:.0%}",
        *_expected(outlook, found),
        f"  training takes at least {_training(outlook, outlook.seconds)}",
    ]


def _expected(outlook: ProgramReport, found: Estimate) -> list[str]:
    """What should come of it, and what that assumes."""
    likely, chip, seconds = found.expected, outlook.part.chip, outlook.expected_seconds
    if likely is None or seconds is None:
        return []
    moved = memory(found.moved * chip.devices)
    return [
        f"  a step should take {duration(likely.seconds)} ({likely.limit}, MFU {likely.mfu:.0%}), training "
        f"{_training(outlook, seconds)}: if products reach {chip.achieved:.0%} of the peak, as in a large "
        f"model's training on {chip.name}, and the {moved} that the compiled program moves on a chip, and "
        "what is sent, take the whole bandwidth"
    ]


def _training(outlook: ProgramReport, seconds: float) -> str:
    return f"{duration(seconds)}, {outlook.hours(seconds):.3g} chip-hours"


def data_of(outlook: ProgramReport, price: float | None) -> dict[str, Any]:
    """What a program is told another one in JSON."""
    one, found = outlook, outlook.found
    base = {
        "arms": one.arms,
        "trials": one.trials,
        "steps": one.steps,
        "plan": one.plan._asdict(),
        "spanned": one.spanned,
        "fits": one.fits,
    }
    if isinstance(found, str):
        return {**base, "problem": found}
    seconds = one.expected_seconds
    return {
        **base,
        **to_data(found),
        "held": found.held,
        "available": one.part.chip.memory_free,
        "step_seconds": found.roofline.seconds,
        "limit": found.roofline.limit,
        "quick": one.quick,
        "seconds": one.seconds,
        "chip_hours": one.hours(one.seconds),
        "money": None if price is None else price * one.hours(one.seconds),
        "expected_seconds": seconds,
        "expected_chip_hours": None if seconds is None else one.hours(seconds),
        "expected_money": None if seconds is None or price is None else price * one.hours(seconds),
    }


def number(count: float) -> str:
    """A number with a prefix: `1.2 G`, `310 M`; to be followed by a unit."""
    for unit, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {prefix}"
    return f"{count:.3g} "


def runs(count: int) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} run{'s' if count != 1 else ''}"
