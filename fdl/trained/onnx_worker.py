"""Converting one run to ONNX, in an environment of its own, where the converter's versions are.

python -m fdl.trained.onnx_worker FOLDER, which holds `request.json`, `state.safetensors` and `rows.npz`. It
writes `model.onnx`, and `said.npz`, what ONNX Runtime says of the rows.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import lax

from fdl.experiment_file import load_file
from fdl.pretrained.safetensors import parse_safetensors
from fdl.serialization import from_json
from fdl.train.check import built
from fdl.train.key_words import of_words
from fdl.train.prediction import says


def convert(folder: Path) -> None:
    """Converts what the folder asks for."""
    # ONNX has one form of an operation: that for any platform, not the one tuned for the CPU of today.
    lax.platform_dependent = lambda *args, default=None, **of: (default or of["cpu"])(*args)
    asked = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    file = load_file(Path(asked["file"]))
    experiment = built(file.experiment, from_json(file.config, asked["config"]))
    content = np.frombuffer((folder / "state.safetensors").read_bytes(), np.uint8)
    state = _state(experiment.learner.init, parse_safetensors(content, "state.safetensors"))
    with np.load(folder / "rows.npz", allow_pickle=False) as rows:
        given = {name: rows[name] for name in asked["inputs"]}
    outputs = says(experiment)

    def program(*columns: jax.Array) -> tuple[jax.Array, ...]:
        said = outputs(state, dict(zip(given, columns, strict=True)))
        return tuple(said[name] for name in asked["outputs"])

    content = _converted(program, given, asked["outputs"])
    (folder / "model.onnx").write_bytes(content)
    from onnxruntime import InferenceSession  # pyright: ignore[reportMissingImports]

    said = InferenceSession(content).run(asked["outputs"], given)
    arrays: Any = dict(zip(asked["outputs"], said, strict=True))
    np.savez(folder / "said.npz", allow_pickle=False, **arrays)


def _converted(program: Any, given: dict[str, np.ndarray], outputs: list[str]) -> bytes:
    from jax2onnx import to_onnx  # pyright: ignore[reportMissingImports]

    forms = [jax.ShapeDtypeStruct(("B", *one.shape[1:]), one.dtype) for one in given.values()]  # pyright: ignore
    made: Any = to_onnx(program, forms, model_name="fdl", input_names=list(given), output_names=outputs)
    return made.SerializeToString()


def _state(init: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The state, whose leaves are the arrays by their number."""
    leaves, form = jax.tree.flatten(jax.eval_shape(init, jax.random.key(0)))
    return jax.tree.unflatten(
        form, [of_words(jax.numpy.asarray(arrays[f"{i:06}"]), leaf) for i, leaf in enumerate(leaves)]
    )


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
