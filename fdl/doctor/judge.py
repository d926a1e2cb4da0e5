"""What is wrong with a machine, from what was measured of it. Pure: the same facts, the same findings.

The shares below are judgement, not measurement: no TPU was there to try them on. They are low enough that a
slice that is well should not be refused, as that costs it; what they let pass costs some speed.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from fdl import formats
from fdl.aot.chips import Chip, Slice, chip_of
from fdl.doctor.facts import ABSENT, Device, Facts, Host, Reduction
from fdl.text import counted

PEAK_SHARE = 0.5
"""Of a chip's peak, what a large product of matrices reaches at least: well-tuned ones reach over 0.8, so a
chip below this is throttled, shared or broken."""
NEIGHBOURS_SHARE = 0.9
"""Of the median of the devices of its kind, what each reaches at least. The same program on the same chips
differs by a few per cent; as all wait for the slowest at every step, a tenth of one is a tenth of all."""
LINK_SHARE = 0.25
"""Of what one link (or the data-centre network) carries one way, what an all-reduce along an axis reaches at
least. A ring can have nearly all of it; a link that fails over to another way has far less."""
LEAST_DISK = 5 * 2**30
"""Bytes: a sweep's compiled programs, and checkpoints on their way to a bucket."""
LEAST_MEMORY = 2**30
"""Bytes: what JAX, its compiler and a checkpoint on its way take."""
Value = TypeVar("Value")
NAMED = 4
"""So many workers or devices are named one by one."""


class Finding(NamedTuple):
    """Something that is wrong.

    Attributes:
      what: what came.
      expected: what should have.
      mend: what to do.
      hardware: whether another slice would mend it.
    """

    what: str
    expected: str
    mend: str
    hardware: bool = False

    def __str__(self) -> str:
        return f"{self.what}; expected {self.expected}; {self.mend}"


class Asked(NamedTuple):
    """The devices that there should be: those of so many slices."""

    part: Slice
    slices: int = 1

    @property
    def devices(self) -> int:
        """How many JAX should see."""
        return self.part.chips * self.part.chip.devices * self.slices


def findings(facts: Facts, asked: Asked | None = None) -> list[Finding]:
    """All that is wrong.

    Args:
      facts: what was measured; of what was not, nothing is said.
      asked: which devices there should be, if that is known.
    """
    return [
        *differing_versions(facts.hosts),
        *_of_hosts(facts),
        *_missing(facts, asked),
        *_wrong(facts),
        *_slow(facts),
        *_of_links(facts),
        *_of_caches(facts),
    ]


def differing_versions(hosts: Sequence[Host]) -> Iterator[Finding]:
    """The packages of which not all workers have one version; programs of such workers may hang together."""
    for package in dict.fromkeys(name for host in hosts for name in host.versions):
        found = _by_value(hosts, lambda host, name=package: host.versions.get(name, ABSENT))
        if len(found) > 1:
            said = ", ".join(f"{version} on {_workers(which)}" for version, which in found)
            yield Finding(
                f"{package} is {said}",
                "one version on all workers",
                "install the same everywhere (the launcher's setup, or uv sync)",
            )


def _of_hosts(facts: Facts) -> Iterator[Finding]:
    for why, which in _by_value([host for host in facts.hosts if host.bucket], lambda host: host.bucket):
        yield Finding(
            f"{_workers(which)} could not write, read and delete in {facts.place}: {why}",
            "that all workers can",
            "give their account the roles of tpu/README.md, or name another --workdir",
        )
    for why, which in _by_value([host for host in facts.hosts if host.port], lambda host: host.port):
        yield Finding(
            f"{_workers(which)} could not reach the coordinator at {why}",
            "an open port there",
            "open it between the workers (firewall, network tags), or set JAX_COORDINATOR_PORT",
        )
    for name, least in (("disk", LEAST_DISK), ("memory", LEAST_MEMORY)):
        short = [host for host in facts.hosts if getattr(host, name) < least]
        if short:
            free = min(getattr(host, name) for host in short)
            yield Finding(
                f"{_workers(short)} has {formats.memory(free)} of {name} free",
                f"{formats.memory(least)} or more",
                "end or delete what takes it",
            )


def _missing(facts: Facts, asked: Asked | None) -> Iterator[Finding]:
    remedy = "end what else holds them, or make the slice again"
    kinds = Counter(device.kind for device in facts.devices)
    there = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
    if asked and facts.devices:
        right = sum(count for kind, count in kinds.items() if chip_of(kind) == asked.part.chip)
        if right != asked.devices or len(facts.devices) != asked.devices:
            slices = f"{asked.slices} slices of " if asked.slices > 1 else ""
            wanted = f"{asked.devices} of {asked.part.chip.name}, as {slices}{asked.part} has"
            yield Finding(f"the devices are {there}", wanted, remedy, hardware=True)
    held = Counter(device.process for device in facts.devices)
    usual = max(held.values(), key=lambda count: (list(held.values()).count(count), count), default=0)
    fewer = [host for host in facts.hosts if facts.devices and held[host.process] < usual]
    for count, which in _by_value(fewer, lambda host: held[host.process]):
        yield Finding(f"{_workers(which)} has {counted(count, 'device')}", f"{usual}", remedy, hardware=True)


def _wrong(facts: Facts) -> Iterator[Finding]:
    """A product of whole numbers is exact in whatever order it is summed, so all devices, of all kinds, have
    the same bits."""
    digests = Counter(one.digest for one in facts.products if one.right)
    right = digests.most_common(1)[0] if digests else None
    for one in facts.products:
        if one.trouble:
            what = f"{_device(facts, one.number)} could not multiply matrices: {one.trouble}"
            yield Finding(what, "a result", "make the slice again without it", hardware=True)
        elif right is None or not one.right or one.digest != right[0]:
            others = f", {right[0][:12]} as on {counted(right[1], 'device')}" if right else ""
            what = f"{_device(facts, one.number)} computed a wrong product of matrices, {one.digest[:12]}"
            yield Finding(
                what, f"the host's own sums{others}", "make the slice again without it", hardware=True
            )


def _slow(facts: Facts) -> Iterator[Finding]:
    rates = {one.number: one.rate for one in facts.products if one.rate is not None}
    for kind in dict.fromkeys(device.kind for device in facts.devices):
        chip = chip_of(kind)
        of_kind = {d.number: rates[d.number] for d in facts.devices if d.kind == kind and d.number in rates}
        if not of_kind:
            continue
        usual = statistics.median_high(of_kind.values())  # of two, the faster
        for number, rate in of_kind.items():
            what = f"{_device(facts, number)} multiplies matrices at {teraflops(rate)}"
            remedy = "make the slice again without it"
            if chip and rate < PEAK_SHARE * peak(chip):
                least = f"{PEAK_SHARE:.0%} or more of the peak of {chip.name}, {teraflops(peak(chip))}"
                yield Finding(what, least, remedy, hardware=True)
            elif rate < NEIGHBOURS_SHARE * usual:
                least = f"{NEIGHBOURS_SHARE:.0%} or more of the others' median, {teraflops(usual)}"
                yield Finding(what, least, remedy, hardware=True)


def _of_links(facts: Facts) -> Iterator[Finding]:
    for one in facts.reductions:
        for number in one.wrong:
            what = f"{_device(facts, number)} got a wrong sum in an all-reduce along {one.axis}"
            yield Finding(what, "the sum of what was sent", "make the slice again without it", hardware=True)
    chip = chip_of(facts.devices[0].kind) if facts.devices else None
    for axis in dict.fromkeys(one.axis for one in facts.reductions):
        seen = [one for one in facts.reductions if one.axis == axis]
        full = expected_rate(chip, seen[0]) if chip else None
        slow = {one.process: one.rate for one in seen if full and one.rate and one.rate < LINK_SHARE * full}
        if full and slow:
            hosts = [host for host in facts.hosts if host.process in slow]
            least = min(slow.values())
            yield Finding(
                f"an all-reduce along {axis} ({seen[0].size} devices) took {_workers(hosts)} "
                f"{gigabytes(least)} a device",
                f"{LINK_SHARE:.0%} or more of {gigabytes(full)}, what {_carrier(seen[0])} carries",
                "make the slice again",
                hardware=True,
            )


def _of_caches(facts: Facts) -> Iterator[Finding]:
    broken = {one.process for one in facts.caches if one.works is False}
    hosts = [host for host in facts.hosts if host.process in broken]
    if hosts:
        yield Finding(
            f"{_workers(hosts)} did not find a program in the compilation cache right after it was compiled",
            "a cache that keeps programs",
            "make its folder writable (FDL_CACHE or JAX_COMPILATION_CACHE_DIR says which)",
        )


def peak(chip: Chip) -> float:
    """FLOP/s of one device."""
    return chip.flops / chip.devices


def expected_rate(chip: Chip, one: Reduction) -> float | None:
    """Bytes/s that a device can send in an all-reduce: those of one link one way, shared by a chip's devices.

    A chip has two links along each axis of its generation.
    """
    if one.over == "links":
        return chip.links / (2 * chip.axes) / chip.devices
    return chip.network / chip.devices if one.over == "network" and chip.network else None


def teraflops(rate: float) -> str:
    """FLOP/s for people."""
    return f"{formats.number(rate / 1e12, digits=3)} TFLOP/s"


def gigabytes(rate: float) -> str:
    """Bytes/s for people."""
    return f"{formats.number(rate / 1e9, digits=3)} GB/s"


def _carrier(one: Reduction) -> str:
    return "one link" if one.over == "links" else "the data-centre network of a device"


def _by_value(hosts: Iterable[Host], value: Callable[[Host], Value]) -> list[tuple[Value, list[Host]]]:
    """The hosts of each value, those of the value that most have first."""
    found: dict[Value, list[Host]] = {}
    for host in hosts:
        found.setdefault(value(host), []).append(host)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _workers(hosts: Sequence[Host]) -> str:
    if len(hosts) > NAMED:
        first = ", ".join(str(host.process) for host in hosts[:NAMED])
        return f"{len(hosts)} workers ({first}, ...)"
    return " and ".join(f"worker {host.process} ({host.name})" for host in hosts)


def _device(facts: Facts, number: int) -> str:
    """A device, and where it is."""
    device = next((one for one in facts.devices if one.number == number), Device(number, "", 0))
    host = next((host for host in facts.hosts if host.process == device.process), None)
    return f"device {number} of {_workers([host])}" if host else f"device {number}"
