"""What converters have in common: an environment that uv makes, and rows of which both must say the same."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

_TOLERANCE = 1e-4


def some_rows(form: jax.ShapeDtypeStruct, rng: np.random.Generator, rows: int) -> np.ndarray:
    """Rows to compare by: numbers of any kind; of integers, which may be tokens, only 0 and 1."""
    shape = (rows, *form.shape[1:])
    floats = np.issubdtype(form.dtype, np.floating)
    return (rng.normal(size=shape) if floats else rng.integers(0, 2, shape)).astype(form.dtype)


def run_apart(
    kind: str,
    converter: Sequence[str],
    program: Sequence[str],
    folder: Path,
    *,
    needed: Sequence[str] = (),
    path: Path | None = None,
) -> None:
    """Runs `python PROGRAM FOLDER` in an environment of these packages, which uv makes.

    Args:
      kind: what is converted to, as `"ONNX"`.
      converter: the packages that convert, as `pip install` takes them.
      program: what Python runs, as `["-m", "fdl.trained.onnx_worker"]`.
      folder: where it reads and writes.
      needed: other packages, likewise.
      path: where it finds modules beside the packages.

    Raises:
      ValueError: the program fails.
      OSError: uv is not there, or cannot make the environment.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise OSError(
            f"{kind} is converted in an environment that uv makes, and there is no uv; pip install uv"
        )
    command = [uv, "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable]
    command += [word for one in (*converter, *needed) for word in ("--with", one)] + [
        "python",
        *program,
        str(folder),
    ]
    apart = ("VIRTUAL_ENV", "XLA_FLAGS", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in apart}
    env |= {"JAX_PLATFORMS": "cpu", **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        why = lines[-1] if lines else f"exit code {done.returncode}"
        failed = ValueError if "Traceback" in done.stderr else OSError
        raise failed(f"the prediction cannot be converted to {kind} by {', '.join(converter)}: {why}")


def check_agrees(wanted: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    """Raises `ValueError` where the converted net says something else."""
    for name, ours in wanted.items():
        theirs, exact = said[name], not np.issubdtype(ours.dtype, np.floating)
        if ours.shape != theirs.shape or not np.allclose(
            theirs,
            ours,
            rtol=0 if exact else _TOLERANCE,
            atol=0 if exact else _TOLERANCE * np.abs(ours).max(),
        ):
            raise ValueError(f"the converted net says another {name!r} than the run; nothing is written")
