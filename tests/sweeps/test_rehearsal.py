"""A claim tried beforehand: refused for what no numbers put right, told of what they hardly do."""

import functools
import sys
from pathlib import Path

import pytest

import fdl
from fdl.sweeps.population import groups_of
from fdl.sweeps.rehearsal import rehearse
from fdl.sweeps.run import assemble
from tests.toy import Config, experiment

SPACE = fdl.grid(Config(steps=20), lr=(0.01, 0.05), seeds=5)
LOSS, TRAIN = "test/loss", "train/loss"


def heard(claim) -> list[str]:
    said: list[str] = []
    groups = groups_of(experiment, SPACE.trials, folder=None)
    rehearse(claim, groups, functools.partial(assemble, SPACE, seconds=0.0), say=said.append)
    return said


@pytest.mark.parametrize("claim", [
    lambda result: fdl.compare(result, metric=LOSS, arms="lr", better="lower").verdict,
    lambda result: _true(result.frame[LOSS].max() < 0),
    lambda result: _true((result.frame[LOSS] > 50).all() and (result.frame[TRAIN] < 1).all()),
    lambda result: result.frame[result.frame[LOSS] < -10].iloc[0],
    lambda result: next(value for value in result.frame[LOSS] if value == 0),
    lambda result: 1 / float(result.frame[LOSS].std()) and 1 / int(result.frame[LOSS].std()),
    lambda result: result.where(status="failed"),
])  # fmt: skip
def test_what_some_numbers_put_right_is_neither_refused_nor_spoken_of(claim):
    assert heard(claim) == []


def _true(holds: bool) -> None:
    assert holds


@pytest.mark.parametrize(("claim", "expected"), [
    (lambda result: result.last().iloc[10], "IndexError: single positional indexer is out-of-bounds"),
    (lambda result: len(result.failures) / len(result.failures), "ZeroDivisionError"),
    (lambda result: _true(len(result.frame) == 21), "AssertionError"),
    (lambda result: sys.exit(3), "SystemExit: 3; expected an error"),
    (lambda result: Path("/absent.csv").read_text(), "No such file"),
    (lambda result: _says(), "only three seeds"),
])  # fmt: skip
def test_what_very_different_numbers_do_not_put_right_is_said(claim, expected):
    (line,) = heard(claim)
    assert "claim(result) fails on each of 32 made-up results" in line and expected in line


def _says() -> None:
    raise ValueError("only three seeds")


@pytest.mark.parametrize(("claim", "expected"), [
    (lambda result: result.frame["test/los"], "KeyError"),
    (lambda result: result.where(lr=3), "no run has lr=3"),
    (lambda result: result.last().mean_, "AttributeError"),
])  # fmt: skip
def test_what_no_number_puts_right_is_refused(claim, expected):
    with pytest.raises(ValueError, match=f"{expected}.*tried before training, on made-up numbers"):
        heard(claim)
