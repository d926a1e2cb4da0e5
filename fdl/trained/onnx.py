"""A trained run as an ONNX file, by jax2onnx, which needs an older Orbax: in an environment that uv makes."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

import fdl
from fdl.pretrained.safetensors import safetensors_of
from fdl.serialization import to_json
from fdl.train.key_words import words
from fdl.trained.exporting import STANDALONE, Artifact, described, used_rows
from fdl.trained.run import TrainedRun

CONVERTER = ("jax2onnx==0.17.1", "onnxruntime>=1.22", "jax==0.10.1", "jaxlib==0.10.1")
"""jax2onnx 0.17.1 fails for some nets with jax 0.12."""
_TOLERANCE = 1e-4
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
    given = {name: _some(one, np.random.default_rng(0)) for name, one in rows.items()}
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
            _check_same(wanted, {name: said[name] for name in wanted})
        content = (folder / "model.onnx").read_bytes()
    source = (STANDALONE / "run_onnx.py").read_text(encoding="utf-8")
    return Artifact("model.onnx", content, described(run, rows, wanted), ("predict.py", source))


def _some(form: jax.ShapeDtypeStruct, rng: np.random.Generator) -> np.ndarray:
    """Rows to compare by: numbers of any kind; of integers, which may be tokens, only 0 and 1."""
    shape = (_ROWS, *form.shape[1:])
    floats = np.issubdtype(form.dtype, np.floating)
    return (rng.normal(size=shape) if floats else rng.integers(0, 2, shape)).astype(form.dtype)


def _convert(folder: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise OSError("ONNX is converted in an environment that uv makes, and there is no uv; pip install uv")
    code = folder / "code"  # alone on the path: its neighbours are another environment's
    shutil.copytree(Path(fdl.__file__).parent, code / "fdl", ignore=shutil.ignore_patterns("__pycache__"))
    apart = ("jax", "jaxlib", "orbax-checkpoint")
    needed = [
        one.split(";")[0].strip() for one in importlib.metadata.requires("fdl") or () if "extra ==" not in one
    ]
    needed = [one for one in needed if not one.startswith(apart)]
    packages = [word for one in (*CONVERTER, *needed) for word in ("--with", one)]
    command = [uv, "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable, *packages]
    command += ["python", "-m", "fdl.trained.onnx_worker", str(folder)]
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "XLA_FLAGS")}
    env |= {"PYTHONPATH": str(code), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        why = lines[-1] if lines else f"exit code {done.returncode}"
        kind = ValueError if "Traceback" in done.stderr else OSError
        raise kind(f"the prediction cannot be converted to ONNX by {', '.join(CONVERTER)}: {why}")


def _check_same(wanted: Any, said: Any) -> None:
    """Raises `ValueError` where ONNX Runtime says something else."""
    for name, ours in wanted.items():
        theirs, exact = said[name], not np.issubdtype(ours.dtype, np.floating)
        if ours.shape != theirs.shape or not np.allclose(
            theirs,
            ours,
            rtol=0 if exact else _TOLERANCE,
            atol=0 if exact else _TOLERANCE * np.abs(ours).max(),
        ):
            raise ValueError(f"the converted net says another {name!r} than the run; nothing is written")
