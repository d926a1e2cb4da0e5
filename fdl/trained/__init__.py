"""Trained runs, loaded and used: their states, what they predict, how they measure."""

from fdl.public import public as _public
from fdl.trained.checking import model_card as model_card
from fdl.trained.checks_canaries import canary_card as canary_card
from fdl.trained.ensemble import Ensemble as Ensemble
from fdl.trained.exporting import Artifact as Artifact
from fdl.trained.exporting import as_safetensors as as_safetensors
from fdl.trained.exporting import as_stablehlo as as_stablehlo
from fdl.trained.exporting import write_artifact as write_artifact
from fdl.trained.litert import as_litert as as_litert
from fdl.trained.loading import Loaded as Loaded
from fdl.trained.loading import load as load
from fdl.trained.onnx import as_onnx as as_onnx
from fdl.trained.run import TrainedRun as TrainedRun


def __dir__() -> list[str]:
    return _public(globals())
