"""Trained runs, loaded and used: their states, what they predict, how they measure."""

from fdl.public import public as _public
from fdl.trained.ensemble import Ensemble as Ensemble
from fdl.trained.loading import Loaded as Loaded
from fdl.trained.loading import load as load
from fdl.trained.run import TrainedRun as TrainedRun


def __dir__() -> list[str]:
    return _public(globals())
