"""Files of weights as the format's description has them, written without the library that reads them."""

import json

import numpy as np

CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64"}
CODES |= {"int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL"}


def safetensors(tensors, entries=None):
    """The bytes of a file; `entries` are laid over what the header has."""
    header, end = {}, 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": CODES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [end, end + array.nbytes],
        }
        end += array.nbytes
    text = json.dumps({"__metadata__": {"format": "np"}} | header | (entries or {})).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values())


def write(folder, tensors, config, suffix=".safetensors"):
    """Weights and their config in a folder."""
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / f"model{suffix}"
    if suffix == ".npz":
        np.savez(path, **tensors)
    else:
        path.write_bytes(safetensors(tensors))
    return path
