"""Compiling for TPUs on a machine without one; needs libtpu (extra `tpu`)."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fdl.aot.chips import CHIPS, parse_slice
from fdl.aot.topology import devices_of

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install fdl[tpu]"
)


def driven(*words: str) -> Any:
    driver = Path(__file__).with_name("topology_driver.py")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, str(driver), *words],
        env=environment,
        check=True,
        timeout=300,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


def test_a_missing_compiler_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the extra 'tpu': pip install fdl\[tpu\]"):
        devices_of(parse_slice("v5e:2x2"))


@pytest.mark.parametrize(("name", "slices"), [("v5e:2x2", 0), ("v3:2x2", 2)])
def test_numbers_of_slices_that_cannot_be(name, slices):
    with pytest.raises(ValueError, match=f"--slices is {slices}; expected 1"):
        devices_of(parse_slice(name), slices=slices)


@needs_libtpu
@pytest.mark.tpu_compile
def test_every_generation_has_the_devices_and_the_memory_that_are_written_down():
    found = driven("devices")
    assert set(found) == {chip.name for chip in CHIPS}
    for chip in CHIPS:
        assert found[chip.name]["devices"] == 4 * chip.devices, chip.name
        refusal = found[chip.name]["refusal"]
        assert refusal["available"] == pytest.approx(chip.memory_free), chip.name
        assert refusal["needed"] == pytest.approx(1.2 * chip.memory_free, rel=0.05), chip.name


@needs_libtpu
@pytest.mark.tpu_compile
def test_every_mesh_can_be_laid_out_on_every_slice():
    built = driven("meshes")
    assert set(built) == {chip.name for chip in CHIPS} and min(built.values()) > 200, built


@needs_libtpu
@pytest.mark.tpu_compile
def test_a_step_needs_as_much_on_a_chip_of_many_as_of_few():
    few, many = driven("step", "v5e:2x2", "1", "2", "2", "4"), driven("step", "v5e:4x4", "1", "4", "4", "4")
    for one in (few, many):
        memory = one["memory"]
        assert memory["donated"] >= 0.99 * memory["arguments"]  # all but the batch
        assert {"all-gather", "all-reduce"} <= {collective["kind"] for collective in one["collectives"]}
        assert not one["uncounted"]
    assert many["memory"]["temporaries"] < 1.1 * few["memory"]["temporaries"]
    assert (
        many["memory"]["arguments"] < 0.6 * few["memory"]["arguments"]
    )  # parameters are split over twice as many
    assert many["flops"] == 4 * few["flops"]


@needs_libtpu
@pytest.mark.tpu_compile
def test_a_batch_that_is_too_large_is_refused_with_the_numbers():
    refusal = driven("step", "v5e:2x2", "1", "2", "2", "2048")["refusal"]
    assert refusal["available"] == 15.75 * 2**30
    assert refusal["needed"] > refusal["available"]


@needs_libtpu
@pytest.mark.tpu_compile
def test_between_slices_only_gradients_are_sent():
    found = driven("step", "v5e:2x2", "2", "2", "4", "4")["collectives"]
    between = {one["kind"] for one in found if one["between_slices"]}
    within = {one["kind"] for one in found if not one["between_slices"]}
    assert "all-gather" in within  # of the parameters, split over `fsdp`, which stays within a slice
    assert "all-gather" not in between
    assert between & {"all-reduce", "reduce-scatter"}


@needs_libtpu
@pytest.mark.tpu_compile
def test_the_doctor_sums_along_a_row_of_chips_and_multiplies_what_is_exact():
    found = driven("doctor")
    assert found["groups"] == {
        "y": ["{0,4,8,12},{1,5,9,13},{2,6,10,14},{3,7,11,15}"],
        "x": ["{0,1,2,3},{4,5,6,7},{8,9,10,11},{12,13,14,15}"],
    }
    assert found["types"] == ["bf16", "bf16", "f32"]
