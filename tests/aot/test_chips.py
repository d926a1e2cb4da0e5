"""TPU generations, names of slices, rooflines."""

import pytest
from jax.experimental.pallas import tpu

from fdl.aot.chips import CHIPS, Slice, parse_slice, usual_shape
from fdl.aot.roofline import roofline

BY_NAME = {chip.name: chip for chip in CHIPS}


@pytest.mark.parametrize(
    ("text", "name", "shape"),
    [
        ("v5e:4x4", "v5e", (4, 4)),
        ("V5E:16x16 ", "v5e", (16, 16)),
        ("v2:2x2", "v2", (2, 2)),
        ("v4:2x2x4", "v4", (2, 2, 4)),
        ("v6e:1x1", "v6e", (1, 1)),
        ("tpu7x:2x2x1", "tpu7x", (2, 2, 1)),
    ],
)
def test_names_of_slices(text, name, shape):
    found = parse_slice(text)
    assert (found.chip.name, found.shape) == (name, shape)
    assert str(found) == text.strip().lower()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v5litepod-16", "v5e:4x4"),
        ("v5e-256", "v5e:16x16"),
        ("v6e-8", "v6e:2x4"),
        ("v4-8", "v4:2x2x1"),  # of v4 the number is of cores, two a chip
        ("v5p-128", "v5p:4x4x4"),
        ("v3-32", "v3:4x4"),
        ("v7x:2x2x1", "tpu7x:2x2x1"),
        ("v5litepod:4x4", "v5e:4x4"),
        ("v9:2x2", "v2, v3, v4, v5e, v5p, v6e, tpu7x"),
        ("v5e", "v2, v3, v4, v5e, v5p, v6e, tpu7x"),
        ("", "v2, v3, v4, v5e, v5p, v6e, tpu7x"),
        ("v5e:4x4x4", "2 sizes, as v5e:4x4"),
        ("v5p:4x4", "3 sizes, as v5p:2x2x4"),
        ("v5e:0x4", "'0x4'"),
        ("v5e:4*4", "'4*4'"),
        ("v5e:32x32", "256"),
        ("v5e:3x4", "even"),
    ],
)
def test_other_names_are_answered_with_the_right_ones(text, said):
    with pytest.raises(ValueError, match="--topology") as error:
        parse_slice(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "chips", "shape"),
    # As Google Cloud's pages of each generation list them.
    [
        ("v5e", 1, (1, 1)),
        ("v5e", 8, (2, 4)),
        ("v6e", 32, (4, 8)),
        ("v6e", 128, (8, 16)),
        ("v5p", 4, (2, 2, 1)),
        ("v5p", 8, (2, 2, 2)),
        ("v4", 32, (2, 4, 4)),
        ("v4", 256, (4, 8, 8)),
    ],
)
def test_the_usual_shapes(name, chips, shape):
    assert usual_shape(BY_NAME[name], chips) == shape
    assert parse_slice(str(Slice(BY_NAME[name], shape))).chips == chips


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("v2", "TPU_V2"),
        ("v4", "TPU_V4"),
        ("v5e", "TPU_V5E"),
        ("v5p", "TPU_V5P"),
        ("v6e", "TPU_V6E"),
        ("tpu7x", "TPU_7X"),
    ],
)
def test_peaks_are_those_that_jax_knows(name, version):
    cores = 1 if name in ("v5e", "v6e") else 2
    known = tpu.get_tpu_info_for_chip(tpu.ChipVersion[version], 1)
    assert BY_NAME[name].flops == pytest.approx(cores * known.bf16_ops_per_second, rel=0.005)


def test_what_a_device_grants_is_at_most_its_share_of_the_chip():
    for chip in CHIPS:
        share = chip.memory / chip.devices
        assert 0.9 * share < chip.memory_free <= share, chip.name


def test_a_program_is_as_fast_as_what_it_waits_for():
    chip = BY_NAME["v5e"]
    bound = roofline(chip, flops=197e12, memory=2 * 819e9, links=100e9, network=3.125e9)
    assert bound[:4] == (1, 2, 0.5, 1)
    assert (bound.seconds, bound.limit, bound.mfu) == (2, "memory", 0.5)


def test_a_program_that_only_multiplies_may_reach_the_peak():
    bound = roofline(BY_NAME["v5p"], flops=459e12, memory=1e9)
    assert (bound.seconds, bound.limit, bound.mfu) == (1, "compute", 1)


def test_no_program_spans_slices_of_old_chips():
    with pytest.raises(ValueError, match="v3 cannot span slices"):
        roofline(BY_NAME["v3"], flops=1, memory=1, network=1)
