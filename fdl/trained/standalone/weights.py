"""The weights beside this file, as a table: python weights.py

It needs numpy alone. NumPy has no bfloat16: such numbers become float32, which holds them exactly.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
DTYPES |= {"I8": "i1", "U8": "u1", "BOOL": "?"}


def tensors_of(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file: the header's length, the header, the arrays' bytes."""
    begin = 8 + int.from_bytes(content[:8], "little")
    arrays = {}
    for name, one in json.loads(content[8:begin]).items():
        first, last = one["data_offsets"]
        array = np.frombuffer(content[begin + first : begin + last], DTYPES[one["dtype"]]).reshape(
            one["shape"]
        )
        arrays[name] = (array.astype("<u4") << 16).view("<f4") if one["dtype"] == "BF16" else array
    return arrays


if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    told = json.loads((here / "model.json").read_text())
    content = (here / "model.safetensors").read_bytes()
    if hashlib.sha256(content).hexdigest() != told["sha256"]:
        sys.exit("model.safetensors is damaged, or of another export than model.json")
    for name, array in tensors_of(content).items():
        print(f"{name}  {array.dtype}{list(array.shape)}  norm {np.linalg.norm(array.astype('f8')):.4g}")
