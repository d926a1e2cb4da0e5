"""Numbers as text."""

import math

import numpy as np
import pytest

from fdl import formats


@pytest.mark.parametrize(
    ("mean", "margin", "expected"),
    [
        (0.93417, 0.00512, "0.9342 ± 0.0051"),
        (0.1, 0.1234, "0.10 ± 0.12"),
        (-1.5, 0.25, "−1.50 ± 0.25"),
        (1234.5, 67.8, "1234 ± 68"),
        (0.5, 0.0, "0.5000 ± 0.0000"),
        (0.000142, 0.0, "0.0001420 ± 0.0000000"),
        (0.0, 0.0, "0.0000 ± 0.0000"),
        (0.000142, 0.31, "0.00014 ± 0.31"),
        (-0.000142, 0.31, "−0.00014 ± 0.31"),
        (1.42e-5, 0.31, "1.4e−05 ± 0.31"),
        (0.0, 0.31, "0.00 ± 0.31"),
        (0.5, 3.21e-9, "0.500000 ± 3.2e−09"),
        (1.234e-7, 2.1e-8, "1.23e−07 ± 2.1e−08"),
        (3.21e9, 1.1e9, "3.21e+09 ± 1.1e+09"),
        (0.93417, math.nan, "0.9342"),
        (math.nan, math.nan, "–"),
    ],
)
def test_estimate(mean: float, margin: float, expected: str):
    assert formats.estimate(mean, margin) == expected


def test_estimate_is_rounded_no_further_than_it_says():
    random = np.random.default_rng(0)
    for size in np.geomspace(1e-3, 1e5, 200):
        mean, margin = random.normal() * size, abs(random.normal()) * size / 30 + 1e-4
        shown = [part.replace("−", "-") for part in formats.estimate(mean, margin).split(" ± ")]
        unit = 10.0 ** -len(shown[1].partition(".")[2])
        assert abs(float(shown[0]) - mean) <= unit / 2 * 1.0000001
        assert float(shown[0]) != 0
        assert abs(float(shown[1]) - margin) <= unit / 2 * 1.0000001
        assert unit <= margin / 9  # two digits of the margin


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (12.3456, "12.35"), (123456.7, "123457"), (2.5e-5, "2.500e−05"), (math.inf, "inf")],
)
def test_number(value: float, expected: str):
    assert formats.number(value) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.0, "< 0.0001"), (9.9e-5, "< 0.0001"), (0.00123, "0.0012"), (1.0, "1.0"), (math.nan, "–")],
)
def test_p_value_is_never_zero(p: float, expected: str):
    assert formats.p_value(p) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0 µs"),
        (4.5e-6, "4.50 µs"),
        (0.0312, "31.2 ms"),
        (0.4216, "0.42 s"),
        (41.24, "41.2 s"),
        (185.0, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7800.0, "2 h 10 min"),
    ],
)
def test_duration(seconds: float, expected: str):
    assert formats.duration(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (512, "512 B"), (1536, "1.50 KiB"), (1010 * 2**10, "1010 KiB"), (29.75 * 2**20, "29.8 MiB")],
)
def test_memory(size: float, expected: str):
    assert formats.memory(size) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.000142, "+0.00014"), (-0.000142, "−0.00014"), (0.0, "+0.00"), (0.004, "+0.0040"), (0.006, "+0.01")],
)
def test_what_is_not_zero_is_not_shown_as_zero(value: float, expected: str):
    assert formats.fixed(value, 0.3, sign=True) == expected
    assert formats.interval(value, 1.0, 0.3) == f"[{expected.removeprefix('+')}, 1.00]"


def test_an_interval_shares_the_digits_of_its_difference():
    assert formats.fixed(0.60909, 0.0101, sign=True) == "+0.609"
    assert formats.interval(0.59882, 0.61911, 0.0101) == "[0.599, 0.619]"
    assert formats.interval(math.nan, math.nan, math.nan) == "–"
