"""A trained run as files that need no fdl: its program of predictions, or its weights."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import numpy as np
from jax.errors import InconclusiveDimensionOperation
from jax.interpreters import partial_eval

from fdl import tree
from fdl.pretrained.safetensors import safetensors_of
from fdl.storage import write_atomically
from fdl.text import version_of
from fdl.train.prediction import says
from fdl.train.stored_prediction import PLATFORMS
from fdl.train.user_errors import told
from fdl.trained.run import TrainedRun

STANDALONE = Path(__file__).with_name("standalone")
"""The programs that use what is exported."""


class Artifact(NamedTuple):
    """What is written of a run.

    Attributes:
      name: of the file.
      content: its bytes.
      told: JSON-able: what it takes and gives.
      program: the name and the text of a Python program that uses it.
    """

    name: str
    content: bytes
    told: Mapping[str, Any]
    program: tuple[str, str]


def as_stablehlo(run: TrainedRun, *, batch: int | None = None) -> Artifact:
    """A run's predictions as one StableHLO program, by `jax.export`: preparation, parameters and all.

    Google keeps such programs readable by JAX for six months; for longer keep the weights and the source too.

    Args:
      run: what predicts.
      batch: rows at a time; None for any number.

    Raises:
      ValueError: the learner predicts nothing, it is not known of which rows, something of it cannot be
        exported.
    """
    rows, program = used_rows(run), prediction_program(run)
    size = jax.export.symbolic_shape("N")[0] if batch is None else batch
    sized = {name: jax.ShapeDtypeStruct((size, *one.shape[1:]), one.dtype) for name, one in rows.items()}
    instead = "" if batch else "; with a fixed number of rows (batch=64, --batch 64) it may be"
    made = exported(program, sized, instead)
    content = bytes(made.serialize())
    outputs = jax.tree.unflatten(made.out_tree, made.out_avals)
    told = {**described(run, rows, outputs, batch), "platforms": list(PLATFORMS)}
    source = (STANDALONE / "stablehlo.py").read_text(encoding="utf-8")
    return Artifact("model.stablehlo", content, told, ("predict.py", source))


def as_safetensors(run: TrainedRun) -> Artifact:
    """A run's variables as a safetensors file, named by their paths, as `params.Dense_0.kernel`.

    Raises:
      ValueError: the state is not one of learning by gradients, or has a dtype that the format lacks.
    """
    leaves = tree.named_leaves(jax.device_get(run.variables))
    arrays = {path.replace("/", "."): np.asarray(leaf) for path, leaf in leaves.items()}
    told = {
        "arrays": {name: {"shape": list(one.shape), "dtype": one.dtype.name} for name, one in arrays.items()},
        "preparation": "none: what the rows go through before the model is the experiment's prepare",
    }
    source = (STANDALONE / "weights.py").read_text(encoding="utf-8")
    return Artifact("model.safetensors", safetensors_of(arrays), told, ("weights.py", source))


def write_artifact(artifact: Artifact, run: TrainedRun, folder: Path) -> list[Path]:
    """Writes an artifact, `model.json` and the program that uses it; what was written.

    Raises:
      ValueError: the folder holds something that no export wrote.
      OSError: it cannot be written.
    """
    check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name, source = artifact.program
    description = {
        **artifact.told,
        "file": artifact.name,
        "sha256": hashlib.sha256(artifact.content).hexdigest(),
        "trained": {"arm": run.arm, "seed": run.seed, "step": run.step, "changed": list(run.changed)},
        "versions": {name: version_of(name) for name in ("fdl", "jax")},
    }
    files = {
        artifact.name: artifact.content,
        name: source.encode(),
        "model.json": json.dumps(description, indent=1).encode() + b"\n",
    }
    for file, content in files.items():
        write_atomically(folder / file, content)
    return [folder / file for file in files]


def check_free(folder: Path) -> None:
    """Raises `ValueError` unless the folder is empty, not there, or of an earlier export."""
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / "model.json").exists()
    ):
        raise ValueError(f"{folder} holds something else; give a new folder")


def used_rows(run: TrainedRun) -> dict[str, jax.ShapeDtypeStruct]:
    """The form of the arrays, of one row, on which what a run says depends: targets are none of them.

    Raises:
      ValueError: the run predicts nothing, or it is not known of which rows.
    """
    inputs = run.experiment.inputs
    if inputs is None:
        raise ValueError(
            "the experiment does not say what its rows are, from which a program is exported; make it with "
            "Experiment(inputs=...), as all of fdl.tasks do"
        )
    nested = [name for name, one in inputs.row.items() if not hasattr(one, "shape")]
    if nested:
        raise ValueError(f"the input {nested[0]!r} is made of several arrays; expected one array a name")
    rows = {name: jax.ShapeDtypeStruct((1, *one.shape), one.dtype) for name, one in inputs.row.items()}
    program = prediction_program(run)
    with told("the prediction"):
        jaxpr = jax.make_jaxpr(program)(rows).jaxpr
    used = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[1]
    names = jax.tree.leaves({name: name for name in rows})  # in the order in which a tree is flattened
    found = {name: rows[name] for name, needed in zip(names, used, strict=True) if needed}
    try:
        jax.eval_shape(program, found)
    except Exception:  # another one is asked for its shape alone, so all are given
        return rows
    return found


def described(
    run: TrainedRun, rows: Mapping[str, Any], outputs: Mapping[str, Any], batch: int | None = None
) -> dict[str, Any]:
    """What a program of predictions takes and gives; JSON-able."""
    return {
        "inputs": {name: _form(one, batch) for name, one in rows.items()},
        "outputs": {name: _form(one, batch) for name, one in outputs.items()},
        "preparation": "in the program: rows go in as the data set has them",
        "classes": list(run.experiment.inputs.classes) if run.experiment.inputs else [],
    }


def prediction_program(run: TrainedRun) -> Callable[[Any], Mapping[str, jax.Array]]:
    """What a run says of rows as the data set has them, its state a constant."""
    outputs = says(run.experiment)
    return lambda rows: outputs(run.state, rows)


def exported(
    program: Callable[..., Any], rows: Any, instead: str, *, platforms: Sequence[str] = PLATFORMS
) -> jax.export.Exported:
    """The program for rows of these shapes; raises `ValueError` with the operation that has no place in an
    exported program, and what may be done instead."""
    try:
        return jax.export.export(jax.jit(program), platforms=platforms)(rows)
    except (NotImplementedError, TypeError, ValueError, InconclusiveDimensionOperation) as error:
        why = str(error).strip().splitlines()[0]
        raise ValueError(f"the prediction cannot be exported: {why}{instead}") from error


def _form(one: Any, batch: int | None) -> dict[str, Any]:
    return {"shape": [batch or "N", *one.shape[1:]], "dtype": np.dtype(one.dtype).name}
