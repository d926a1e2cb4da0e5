"""A trained run as a LiteRT file, by Google's converter from StableHLO: in an environment that uv makes."""

import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fdl.trained import converting, litert_worker
from fdl.trained.exporting import STANDALONE, Artifact, described, exported, prediction_program, used_rows
from fdl.trained.run import TrainedRun

CONVERTER = ("litert-converter==0.5.0", "ai-edge-litert==2.3.0")


def as_litert(run: TrainedRun, *, batch: int = 1) -> Artifact:
    """A run's predictions as a LiteRT file, preparation and parameters in it, for so many rows at a time.

    The converter, which needs no TensorFlow, runs in an environment of its own, which `uv` makes: the first
    time it fetches some hundred megabytes. What LiteRT says of a few rows must be what the run says.

    Args:
      run: what predicts.
      batch: rows at a time: LiteRT lacks some operations of any number of rows.

    Raises:
      ValueError: the run predicts nothing, or has an operation that cannot be converted; or the converted net
        says something else.
      OSError: uv is not there, or cannot make the environment.
    """
    rows = used_rows(run)
    given = {name: converting.some_rows(one, np.random.default_rng(0), batch) for name, one in rows.items()}
    sized = {name: jax.ShapeDtypeStruct(one.shape, one.dtype) for name, one in given.items()}
    made = exported(prediction_program(run), sized, "", platforms=("cpu",))
    outputs = jax.tree.unflatten(made.out_tree, made.out_avals)
    names = {"inputs": sorted(given), "outputs": sorted(outputs)}  # in the order in which trees are flattened
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "model.mlir").write_text(made.mlir_module(), encoding="utf-8")
        (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
        columns: Any = given
        np.savez(folder / "rows.npz", allow_pickle=False, **columns)
        _convert(folder)
        if (folder / "refused.txt").exists():
            why = (folder / "refused.txt").read_text(encoding="utf-8")
            raise ValueError(f"the prediction cannot be converted to LiteRT: {why}")
        with np.load(folder / "said.npz", allow_pickle=False) as said:
            converting.check_agrees(run.predict(given), said)
        content = (folder / "model.tflite").read_bytes()
    source = (STANDALONE / "run_litert.py").read_text(encoding="utf-8")
    return Artifact("model.tflite", content, described(run, rows, outputs, batch), ("predict.py", source))


def _convert(folder: Path) -> None:
    converting.run_apart("LiteRT", CONVERTER, [str(Path(litert_worker.__file__))], folder)
