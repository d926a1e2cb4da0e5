"""Slices: which are sold, how many workers they have, what they cost."""

import pytest

from tpu import slices


@pytest.mark.parametrize(
    ("accelerator", "workers"),
    [
        ("v2-8", 1), ("v3-32", 4), ("v4-8", 1), ("v4-4096", 512), ("v5p-16", 2), ("v5litepod-1", 1),
        ("v5litepod-8", 1), ("v5litepod-16", 4), ("v5litepod-256", 64), ("v6e-4", 1), ("v6e-64", 16),
        ("v4-384", 48), ("v5p-7808", 976), ("v5p-12288", 1536), ("v2-512", 64),
        ("tpu7x-8", 1), ("tpu7x-16", 2), ("tpu7x-4096", 512),
    ],
)  # fmt: skip
def test_workers_of_a_slice(accelerator, workers):
    assert slices.hosts(accelerator) == workers


@pytest.mark.parametrize(
    ("accelerator", "complaint"),
    [
        ("v5e-16", "that chip is called v5litepod-16"),
        ("v7x-16", "that chip is called tpu7x-16"),
        ("tpu7x-4", "one of 8, 16, 32"),
        ("v9-8", "one of v2, v3, v4, v5litepod, v5p, v6e, tpu7x"),
        ("v4", "expected GENERATION-N"),
        ("v4-12", "one of 8, 16, 32, 64, 128"),
        ("v6e-2", "one of 1, 4, 8, 16, 32, 64, 128, 256$"),
        ("v4-8; rm", "expected GENERATION-N"),
        ("v6e-016", "expected GENERATION-N"),
        ("v6e-١٦", "expected GENERATION-N"),
        ("v6e-24", "there is no 'v6e-24'"),
        ("v6e-48", "there is no 'v6e-48'"),
        ("v6e-512", "there is no 'v6e-512'"),
        ("v5litepod-512", "there is no"),
        ("v2-16", "one of 8, 32, 128, 256, 512$"),
        ("v3-4096", "there is no"),
        ("v4-24", "there is no"),
        ("v5p-48", "there is no"),
        ("v5p-8576", "there is no"),  # 67 cubes make no box
        ("v5p-99999992", "... 12288"),
    ],
)
def test_accelerators_that_do_not_exist(accelerator, complaint):
    with pytest.raises(ValueError, match=complaint):
        slices.hosts(accelerator)


@pytest.mark.parametrize(
    ("accelerator", "price"),
    [
        ("v6e-16", "16 chips, $43.20 an hour at the list price of 2025"),
        ("v4-16", "8 chips, $25.76 an hour"),
        ("v5p-12288", "6144 chips, $25,804.80 an hour"),
        ("v3-32", "16 chips, at the price that cloud.google.com/tpu/pricing says"),
        ("v99-8", ""),
        ("", ""),
    ],
)
def test_the_price_of_an_hour(accelerator, price):
    assert slices.hourly(accelerator).startswith(price)
    if price.startswith("16 chips, $"):
        assert slices.hourly(accelerator, 2).startswith("32 chips, $86.40 an hour")
    assert bool(slices.hourly(accelerator)) == bool(price)
