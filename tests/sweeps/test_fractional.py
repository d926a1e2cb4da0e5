"""Fractions of factorial designs have the words of the published ones, and are balanced."""

import itertools

import numpy as np
import pytest

import fdl
from fdl.sweeps.fractional import _aberration, _words


@fdl.config
class Config:
    a: bool = True
    b: bool = True
    c: bool = True
    d: bool = True
    e: bool = True
    size: int = 1


BOTH = (False, True)
# Box, Hunter and Hunter 2005, table 6.22: fields, log2 of the fraction, words by their length from 1 on.
PUBLISHED = {
    (3, 1): [0, 0, 1],
    (4, 1): [0, 0, 0, 1],
    (5, 1): [0, 0, 0, 0, 1],
    (5, 2): [0, 0, 2, 1],
    (6, 2): [0, 0, 0, 3],
    (7, 2): [0, 0, 0, 1, 2],
    (7, 4): [0, 0, 7, 7, 0, 0, 1],
    (8, 4): [0, 0, 0, 14, 0, 0, 0, 1],
}


@pytest.mark.parametrize("design", PUBLISHED)
def test_words_are_those_of_the_published_designs(design):
    assert _aberration(_words(*design)) == PUBLISHED[design]


@pytest.mark.parametrize("fraction", [2, 4])
def test_each_field_and_each_pair_is_balanced(fraction):
    names = "abcde"[: 5 if fraction == 2 else 4 + 1]
    design = fdl.fractional_factorial(Config(), fraction=fraction, seeds=2, **dict.fromkeys(names, BOTH))
    assert len(design.trials) == 2 * 2 ** len(names) // fraction
    signs = np.array([[2 * getattr(trial.config, name) - 1 for name in names] for trial in design.trials])
    assert not signs.sum(0).any()
    assert all(not (signs[:, i] * signs[:, j]).sum() for i, j in itertools.combinations(range(len(names)), 2))
    whole = fdl.grid(Config(), seeds=2, **dict.fromkeys(names, BOTH))
    assert [trial for trial in whole.trials if trial in design.trials] == list(design.trials)


BAD = {
    "three values": ({"a": BOTH, "b": BOTH, "size": (1, 2, 3)}, 2, "size has 3 values; a fraction"),
    "no power of two": ({"a": BOTH, "b": BOTH, "c": BOTH}, 3, "fraction is 3; expected 2, 4, 8"),
    "all of it": ({"a": BOTH, "b": BOTH, "c": BOTH}, 1, "fraction is 1; expected 2, 4, 8"),
    "too small": ({"a": BOTH, "b": BOTH}, 2, "one in 2 combinations of 2 fields cannot tell"),
    "an unknown field": ({"a": BOTH, "b": BOTH, "x": BOTH}, 2, "x"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_fraction_is_refused(case):
    fields, fraction, expected = BAD[case]
    with pytest.raises(ValueError, match=expected):
        fdl.fractional_factorial(Config(), fraction=fraction, **fields)
