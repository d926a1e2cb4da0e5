"""What is found wrong, by facts with exact values: each fault alone, and a machine that is well."""

import pytest

from fdl.aot.chips import CHIPS, Chip, chip_of, parse_slice
from fdl.doctor.facts import Cache, Device, Facts, Host, Product, Reduction
from fdl.doctor.judge import LEAST_DISK, LEAST_MEMORY, Asked, findings, peak
from fdl.doctor.summary import summary

VERSIONS = {"python": "3.12.3", "jax": "0.12.0.1", "libtpu": "0.0.50.1"}
PEAK, LINK = 197e12, 50e9
"""Of a v5e: Google's page "TPU v5e" has 197 TFLOP/s, and four links of 50 GB/s each way."""


def well(kind: str = "TPU v5 lite", rate: float | None = 0.8 * PEAK) -> Facts:
    """Two workers of four chips, with nothing wrong."""
    hosts = [Host(n, f"t{n}", VERSIONS, LEAST_DISK, LEAST_MEMORY, "", "") for n in range(2)]
    devices = [Device(n, kind, n // 4) for n in range(8)]
    return Facts(
        tuple(hosts),
        "gs://b/x",
        tuple(devices),
        tuple(Product(n, True, "a" * 64, rate) for n in range(8)),
        tuple(Reduction(n, axis, 4, "links", (), 0.8 * LINK) for axis in "yx" for n in range(2)),
        tuple(Cache(n, True if n == 0 else None, 1, 3) for n in range(2)),
    )


def changed(name: str, place: int, **fields) -> Facts:
    """The facts of a machine that is well, but for some of one thing."""
    parts = list(getattr(well(), name))
    parts[place] = parts[place]._replace(**fields)
    return well()._replace(**{name: tuple(parts)})


@pytest.mark.parametrize("facts", [
    well(), well("NVIDIA H100", 7e14), well("cpu", None), Facts(well().hosts),
    changed("products", 5, rate=0.5 * PEAK)._replace(products=tuple(
        Product(n, True, "a" * 64, 0.5 * PEAK) for n in range(8))),
    changed("products", 5, rate=0.9 * 0.8 * PEAK),
    changed("reductions", 3, rate=0.25 * LINK),
])  # fmt: skip
def test_a_machine_that_is_well_or_at_the_threshold(facts):
    assert findings(facts) == []


DEVICE = "device 5 of worker 1 (t1)"
FAULTS = [
    (changed("hosts", 1, versions=VERSIONS | {"libtpu": "0.0.41"}), False,
     "libtpu is 0.0.50.1 on worker 0 (t0), 0.0.41 on worker 1 (t1); expected one version on all workers; "),
    (changed("hosts", 1, versions={"python": "3.12.3", "jax": "0.12.0.1"}), False,
     "libtpu is 0.0.50.1 on worker 0 (t0), not installed on worker 1 (t1); "),
    (changed("hosts", 1, bucket="Forbidden"), False,
     "worker 1 (t1) could not write, read and delete in gs://b/x: Forbidden; "),
    (changed("hosts", 1, port="10.0.0.2:8476 (timed out)"), False,
     "worker 1 (t1) could not reach the coordinator at 10.0.0.2:8476 (timed out); "),
    (changed("hosts", 0, disk=LEAST_DISK - 1), False,
     "worker 0 (t0) has 5.00 GiB of disk free; expected 5.00 GiB"),
    (changed("hosts", 0, memory=0), False,
     "worker 0 (t0) has 0 B of memory free; expected 1.00 GiB or more; "),
    (changed("caches", 0, works=False), False,
     "worker 0 (t0) did not find a program in the compilation cache right after"),
    (well()._replace(devices=well().devices[:7]), True, "worker 1 (t1) has 3 devices; expected 4; "),
    (changed("products", 5, right=False, digest="b" * 64), True,
     f"{DEVICE} computed a wrong product of matrices, bbbbbbbbbbbb; expected the host's own sums, "
     "aaaaaaaaaaaa as on 7 devices; make the slice again without it"),
    (changed("products", 5, digest="b" * 64), True, f"{DEVICE} computed a wrong product of matrices, bbbbbb"),
    (changed("products", 5, right=False, trouble="INTERNAL: parity"), True,
     f"{DEVICE} could not multiply matrices: INTERNAL: parity; "),
    (changed("products", 5, rate=0.99 * 0.5 * PEAK), True,
     f"{DEVICE} multiplies matrices at 97.5 TFLOP/s; expected 50% or more of the peak of v5e, 197 TFLOP/s; "),
    (changed("products", 5, rate=0.99 * 0.9 * 0.8 * PEAK), True,
     f"{DEVICE} multiplies matrices at 140 TFLOP/s; expected 90% or more of the others' median, "
     "158 TFLOP/s; "),
    (changed("reductions", 1, wrong=(5,)), True, f"{DEVICE} got a wrong sum in an all-reduce along y; "),
    (changed("reductions", 3, rate=0.99 * 0.25 * LINK), True,
     "an all-reduce along x (4 devices) took worker 1 (t1) 12.4 GB/s a device; expected 25% or more of "
     "50.0 GB/s, what one link carries; "),
    (changed("reductions", 3, rate=0.7e9, over="network")._replace(reductions=(
        Reduction(1, "slice", 2, "network", (), 0.7e9),)), True,
     "an all-reduce along slice (2 devices) took worker 1 (t1) 0.700 GB/s a device; expected 25% or more of "
     "3.12 GB/s, what the data-centre network of a device carries; "),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "hardware", "line"), FAULTS, ids=[line[:40] for _, _, line in FAULTS])
def test_a_fault_is_named_in_one_line(facts, hardware, line):
    (found,) = findings(facts)
    assert str(found).startswith(line) and "\n" not in str(found)
    assert found.hardware == hardware and found.mend


def test_the_slower_of_two_devices_is_named():
    two = well("NVIDIA H100")
    two = two._replace(devices=two.devices[:1] + two.devices[4:5])
    rates = {0: 7e14, 4: 6e14}
    two = two._replace(products=tuple(Product(n, True, "a", rate) for n, rate in rates.items()))
    assert [str(found)[:8] for found in findings(two)] == ["device 4"]


def test_where_all_devices_are_wrong_no_other_is_taken_for_right():
    facts = well()
    bad = tuple(one._replace(right=False) for one in facts.products)
    assert len(findings(facts._replace(products=bad))) == 8


@pytest.mark.parametrize(("name", "slices", "came"), [
    ("v5e:4x4", 1, "the devices are 8 of TPU v5 lite; expected 16 of v5e, as v5e:4x4 has; "),
    ("v5e:2x4", 2, "the devices are 8 of TPU v5 lite; expected 16 of v5e, as 2 slices of v5e:2x4 has; "),
    ("v6e:2x4", 1, "the devices are 8 of TPU v5 lite; expected 8 of v6e, as v6e:2x4 has; "),
    ("v5e:2x4", 1, ""),
    ("v5e:2x2", 2, ""),
])  # fmt: skip
def test_devices_are_as_asked(name, slices, came):
    found = findings(well(), Asked(parse_slice(name), slices))
    assert [str(one)[: len(came)] for one in found] == ([came] if came else [])


def test_a_generation_of_two_devices_a_chip_is_held_to_half_a_chip():
    chip = chip_of("TPU7x")
    assert isinstance(chip, Chip) and peak(chip) == 2307e12 / 2
    assert Asked(parse_slice("tpu7x:2x2x1")).devices == 8
    assert {
        chip_of(kind) for kind in ("TPU v2", "TPU v3", "TPU v4", "TPU v5", "TPU v5 lite", "TPU v6 lite")
    } == {chip for chip in CHIPS if chip.name != "tpu7x"}


def test_what_is_shown_is_what_was_measured():
    shown = dict(summary(well()))
    assert shown["product of matrices"] == "158 TFLOP/s a device, 80.0 % of the peak"
    assert (
        shown["all-reduce along x"]
        == "4 devices, right sums, 40.0 GB/s a device or more; one way there are 50.0 GB/s"
    )
    assert shown["compilation cache"] == "2 of 6 programs of this examination came from it"
    on_cpu = dict(summary(well("cpu", None)))
    assert on_cpu["product of matrices"] == "speed not judged: CPU devices share cores"
    few = dict(summary(Facts(changed("hosts", 1, versions={"jax": "0.10.1"}).hosts)))
    assert few["versions"].startswith("differ between 2 workers") and "devices" not in few
