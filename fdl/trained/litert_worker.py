"""Converting one StableHLO program to LiteRT, in an environment of its own, where the converter is.

python litert_worker.py FOLDER, which holds `model.mlir`, `names.json` and `rows.npz`. It needs no fdl and no
JAX. It writes `model.tflite`, and `said.npz`, what LiteRT says of the rows; or `refused.txt`, why not.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np


def convert_stablehlo(folder: Path) -> None:
    """Converts what is in the folder."""
    names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    try:
        content = _converted((folder / "model.mlir").read_text(encoding="utf-8"), names)
    except ValueError as error:
        found = re.search(r"error: (.*)", str(error))
        (folder / "refused.txt").write_text(found[1] if found else str(error), encoding="utf-8")
        return
    (folder / "model.tflite").write_bytes(content)
    from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

    with np.load(folder / "rows.npz", allow_pickle=False) as rows:
        said: Any = Interpreter(model_content=content).get_signature_runner()(**rows)
    np.savez(folder / "said.npz", allow_pickle=False, **said)


def _converted(text: str, names: dict[str, list[str]]) -> bytes:
    from litert_converter import converter_api_ext as api  # pyright: ignore[reportMissingImports]
    from litert_converter.mlir import ir, passmanager  # pyright: ignore[reportMissingImports]

    context = ir.Context()
    api.prepare_mlir_context(context)
    with context:
        module = ir.Module.parse(text)
        api.set_signature(module.operation, "serving_default", names["inputs"], names["outputs"])
        api.run_convert_to_tfl_passes(module, passmanager.PassManager(), api.ConvertToTFLConfig())
        try:
            return api.export_flatbuffer_to_bytes(module.operation)
        except ValueError:  # it does not say why: its loops are not made the functions that a file has
            loops = sorted(set(re.findall(r'"(tfl\.(?:while|if))"', str(module))))
            if not loops:
                raise
            raise ValueError(f"error: {' and '.join(loops)}, of a loop, cannot be written") from None


if __name__ == "__main__":
    convert_stablehlo(Path(sys.argv[1]))
