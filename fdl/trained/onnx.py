"""A trained run as an ONNX file, by jax2onnx, which needs an older Orbax: in an environment that uv makes."""

import importlib.metadata
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

import fdl
from fdl.pretrained.safetensors import safetensors_of
from fdl.serialization import to_json
from fdl.train.key_words import words
from fdl.trained import converting
from fdl.trained.exporting import STANDALONE, Artifact, described, used_rows
from fdl.trained.run import TrainedRun

CONVERTER = ("jax2onnx==0.17.1", "onnxruntime>=1.22", "jax==0.10.1", "jaxlib==0.10.1")
"""jax2onnx 0.17.1 fails for some nets with jax 0.12."""
_ROWS = 4


def as_onnx(run: TrainedRun) -> Artifact:
    """A run's predictions as an ONNX file, preparation and parameters in it, for any number of rows.

    The converter runs in an environment of its own, which `uv` makes: the first time it fetches some hundred
    megabytes. What ONNX Runtime says of a few rows must be what the run says.

    Args:
      run: what predicts; its experiment is made again from its file.

    Raises:
      ValueError: the run predicts nothing, is not of a file, or has an operation that cannot be converted; or
        the converted net says something else.
      OSError: uv is not there, or cannot make the environment.
    """
    if run.file is None:
        raise ValueError(
            "ONNX is converted from the experiment's file; load the run with experiment= that file"
        )
    rows = used_rows(run)
    given = {name: converting.some_rows(one, np.random.default_rng(0), _ROWS) for name, one in rows.items()}
    wanted = run.predict(given)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        asked = {"file": str(run.file), "config": to_json(run.config)}
        asked |= {"inputs": list(given), "outputs": list(wanted)}
        (folder / "request.json").write_text(json.dumps(asked), encoding="utf-8")
        leaves = jax.device_get(jax.tree.map(words, jax.tree.leaves(run.state)))
        (folder / "state.safetensors").write_bytes(
            safetensors_of({f"{i:06}": leaf for i, leaf in enumerate(leaves)})
        )
        columns: Any = given
        np.savez(folder / "rows.npz", allow_pickle=False, **columns)
        _convert(folder)
        with np.load(folder / "said.npz", allow_pickle=False) as said:
            converting.check_agrees(wanted, {name: said[name] for name in wanted})
        content = (folder / "model.onnx").read_bytes()
    source = (STANDALONE / "run_onnx.py").read_text(encoding="utf-8")
    return Artifact("model.onnx", content, described(run, rows, wanted), ("predict.py", source))


def _convert(folder: Path) -> None:
    code = folder / "code"  # alone on the path: its neighbours are another environment's
    shutil.copytree(Path(fdl.__file__).parent, code / "fdl", ignore=shutil.ignore_patterns("__pycache__"))
    apart = ("jax", "jaxlib", "orbax-checkpoint")
    needed = [
        one.split(";")[0].strip() for one in importlib.metadata.requires("fdl") or () if "extra ==" not in one
    ]
    needed = [one for one in needed if not one.startswith(apart)]
    worker = ["-m", "fdl.trained.onnx_worker"]
    converting.run_apart("ONNX", CONVERTER, worker, folder, needed=needed, path=code)
