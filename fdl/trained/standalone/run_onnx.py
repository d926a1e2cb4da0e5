"""Predictions by the net beside this file: python predict.py inputs.npz outputs.npz

It needs onnxruntime and numpy. The inputs are arrays [N, ...] by the names in model.json.
"""

import hashlib
import json
import pathlib
import sys
from typing import Any

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingImports]

if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    told = json.loads((here / "model.json").read_text())
    content = (here / "model.onnx").read_bytes()
    if hashlib.sha256(content).hexdigest() != told["sha256"]:
        sys.exit("model.onnx is damaged, or of another export than model.json")
    given = np.load(sys.argv[1], allow_pickle=False)
    rows = {name: given[name].astype(form["dtype"]) for name, form in told["inputs"].items()}
    outputs = onnxruntime.InferenceSession(content).run(list(told["outputs"]), rows)
    arrays: Any = dict(zip(told["outputs"], outputs, strict=True))
    np.savez(sys.argv[2], **arrays)
