"""What was measured of a machine, a line for each thing; only what was."""

from collections.abc import Iterable, Iterator

from fdl import formats
from fdl.aot.chips import chip_of
from fdl.doctor.facts import ABSENT, Facts
from fdl.doctor.judge import differing_versions, expected_rate, gigabytes, peak
from fdl.text import counted

SHOWN = ("python", "fdl", "jax", "jaxlib", "libtpu")
"""Of all versions that are compared."""


def summary(facts: Facts) -> list[tuple[str, str]]:
    """What was looked at, and what was found."""
    return [*_hosts(facts), *_devices(facts), *_links(facts), *_programs(facts)]


def _hosts(facts: Facts) -> Iterator[tuple[str, str]]:
    workers = counted(len(facts.hosts), "worker")
    if list(differing_versions(facts.hosts)):
        yield "versions", f"differ between {workers}, so that nothing was run on devices"
    else:
        there = ((name, facts.hosts[0].versions.get(name, ABSENT)) for name in SHOWN)
        said = ", ".join(f"{name} {version}" for name, version in there if version != ABSENT)
        yield "versions", f"{said} on {workers}"
    for name in ("disk", "memory"):
        yield f"{name} free", f"{formats.memory(min(getattr(host, name) for host in facts.hosts))} or more"
    tried = [host.bucket for host in facts.hosts if host.bucket is not None]
    if tried:
        well = sum(not trouble for trouble in tried)
        yield "results", f"{facts.place} written, read and deleted by {well} of {workers}"
    tried = [host.port for host in facts.hosts if host.port is not None]
    if tried:
        yield "coordinator", f"reached by {sum(not trouble for trouble in tried)} of {workers}"


def _devices(facts: Facts) -> Iterator[tuple[str, str]]:
    for kind in dict.fromkeys(device.kind for device in facts.devices):
        numbers = {device.number for device in facts.devices if device.kind == kind}
        yield "devices", f"{len(numbers)} of {kind}"
        rates = [one.rate for one in facts.products if one.number in numbers and one.rate is not None]
        if rates:
            chip = chip_of(kind)
            share = f", {_range(rate / peak(chip) * 100 for rate in rates)} % of the peak" if chip else ""
            yield "product of matrices", f"{_range(rate / 1e12 for rate in rates)} TFLOP/s a device{share}"
        elif facts.products:
            yield "product of matrices", "speed not judged: CPU devices share cores"
    if facts.products:
        same = len({one.digest for one in facts.products}) == 1 and all(one.right for one in facts.products)
        yield "its bits", "right on all devices" if same else "wrong, see below"


def _links(facts: Facts) -> Iterator[tuple[str, str]]:
    chip = chip_of(facts.devices[0].kind) if facts.devices else None
    for axis in dict.fromkeys(one.axis for one in facts.reductions):
        seen = [one for one in facts.reductions if one.axis == axis]
        rates = [one.rate for one in seen if one.rate is not None]
        full = expected_rate(chip, seen[0]) if chip else None
        speed = f", {gigabytes(min(rates))} a device or more" if rates else ""
        against = f"; one way there are {gigabytes(full)}" if rates and full else ""
        wrong = "wrong sums, see below" if any(one.wrong for one in seen) else "right sums"
        yield f"all-reduce along {axis}", f"{seen[0].size} devices, {wrong}{speed}{against}"


def _programs(facts: Facts) -> Iterator[tuple[str, str]]:
    if facts.caches:
        hits, asked = sum(one.hits for one in facts.caches), sum(one.asked for one in facts.caches)
        yield "compilation cache", f"{hits} of {counted(asked, 'program')} of this examination came from it"


def _range(values: Iterable[float]) -> str:
    """The lowest and the highest."""
    low, *_, high = sorted([*(values := list(values)), *values])
    return " to ".join(dict.fromkeys(formats.number(one, digits=3) for one in (low, high)))
