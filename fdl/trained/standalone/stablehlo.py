"""Predictions by the program beside this file: python predict.py inputs.npz outputs.npz

It needs jax and flatbuffers. The inputs are arrays [N, ...] by the names in model.json.
"""

import hashlib
import json
import pathlib
import sys
from typing import Any

import numpy as np
from jax import export

if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    told = json.loads((here / "model.json").read_text())
    content = (here / "model.stablehlo").read_bytes()
    if hashlib.sha256(content).hexdigest() != told["sha256"]:
        sys.exit("model.stablehlo is damaged, or of another export than model.json")
    given = np.load(sys.argv[1], allow_pickle=False)
    rows = {name: given[name].astype(form["dtype"]) for name, form in told["inputs"].items()}
    outputs: Any = export.deserialize(bytearray(content)).call(rows)
    arrays: Any = {name: np.asarray(one) for name, one in outputs.items()}
    np.savez(sys.argv[2], **arrays)
