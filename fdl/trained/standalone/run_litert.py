"""Predictions by the net beside this file: python predict.py inputs.npz outputs.npz

It needs ai-edge-litert and numpy. The inputs are arrays [N, ...] by the names in model.json.
"""

import hashlib
import json
import pathlib
import sys
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    told = json.loads((here / "model.json").read_text())
    content = (here / "model.tflite").read_bytes()
    if hashlib.sha256(content).hexdigest() != told["sha256"]:
        sys.exit("model.tflite is damaged, or of another export than model.json")
    given = np.load(sys.argv[1], allow_pickle=False)
    rows = {name: given[name].astype(form["dtype"]) for name, form in told["inputs"].items()}
    (size,) = {len(one) for one in rows.values()}
    batch = next(iter(told["inputs"].values()))["shape"][0]
    net, parts = Interpreter(model_content=content).get_signature_runner(), []
    for start in range(0, size, batch):
        at = np.minimum(np.arange(start, start + batch), size - 1)  # the last batch is filled up
        parts.append(net(**{name: one[at] for name, one in rows.items()}))
    arrays: Any = {name: np.concatenate([one[name] for one in parts])[:size] for name in told["outputs"]}
    np.savez(sys.argv[2], **arrays)
