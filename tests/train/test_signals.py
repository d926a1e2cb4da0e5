"""A signal that comes when a run has nothing left to do but to save is no less heard."""

import signal

import pytest

import fdl
from fdl.train import Interrupted, Progress, saver
from fdl.train.resume import ROWS
from fdl.train.signals import caught
from tests.toy import Config, experiment

pytestmark = pytest.mark.usefixtures("heeded")


def test_one_that_comes_at_the_very_end_is_heard_there():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="the same command goes on from there"), caught() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGTERM)
        assert asked()
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_the_body_raises_comes_first():
    with pytest.raises(ValueError, match="the disk is full"), caught():
        signal.raise_signal(signal.SIGTERM)
        raise ValueError("the disk is full")


@pytest.mark.medium
@pytest.mark.parametrize("moment", ["the last evaluation", "the last save"])
def test_nothing_is_trained_after_one_that_came_in_the_end_of_a_unit(tmp_path, monkeypatch, moment):
    """Two units, one after the other: with the signal lost, the second would be trained."""
    space, said = fdl.grid(Config(), power=(1, 2)), []
    undisturbed = fdl.sweep(experiment, space)
    save = saver.Saver.save

    def ask() -> None:
        if not said:
            said.append("asked")
            signal.raise_signal(signal.SIGTERM)

    def saved(self, due, step, *more):
        if moment == "the last save" and step == 40:
            ask()
        return save(self, due, step, *more)

    def evaluated(rows) -> None:
        if moment == "the last evaluation" and rows[0]["step"] == 40:
            ask()

    monkeypatch.setattr(saver.Saver, "save", saved)
    with pytest.raises(Interrupted):
        fdl.sweep(experiment, space, workdir=tmp_path, progress=Progress(evaluated=evaluated))
    assert len(list((tmp_path / "units").glob(f"*/{ROWS}"))) == 1
    assert fdl.sweep(experiment, space, workdir=tmp_path).frame.equals(undisturbed.frame)
