"""The page `docs/howto/inside.md`, on a run that was trained."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pytest

import fdl
from fdl import analysis, data, models, tasks
from tests.test_docs import blocks

PAGE = Path(__file__).parents[2] / "docs/howto/inside.md"


@fdl.config
class Config:
    lr: float = fdl.traced(1e-2, low=0.0)


def experiment(config: Config) -> fdl.Experiment:
    model = models.MLP(widths=(32, 32), outputs=10)
    return tasks.classification(model, data.digits(), optax.adam(config.lr), steps=200)


@pytest.mark.slow
def test_the_page_runs_and_says_what_it_should_of_two_trained_nets(tmp_path):
    fdl.sweep(experiment, fdl.grid(Config(), lr=(1e-2,), seeds=2), workdir=tmp_path)
    values: dict[str, Any] = {}
    known: dict[str, Any] = {"experiment": experiment}
    for block in blocks(PAGE):
        text = block.text.replace('"runs/first/0123456789abcdef"', repr(str(tmp_path)))
        text = text.replace(".run(", ".run(experiment=experiment, ")  # it has no file of its own
        for line in ast.parse(text).body:
            if isinstance(line, ast.Expr):
                values[ast.unparse(line)] = eval(ast.unparse(line), known)
            else:
                exec(compile(ast.Module([line], []), str(PAGE), "exec"), known)

    def of(start: str) -> list[Any]:
        return [value for call, value in values.items() if call.startswith(start)]

    assert of("probe.accuracy")[0] > 0.8
    assert 1 < of("analysis.effective_rank")[0] < 32 and of("analysis.dead_units")[0] < 1
    assert of("analysis.neural_collapse")[0].nc4 < 0.2
    similar = of("analysis.between_layers")[0]
    assert 0.5 < similar[-1, -1] <= 1 and similar.shape == (len(known["layers"]),) * 2
    assert np.isfinite([*of("unbiased"), *of("analysis.cka"), *of("analysis.rsa")]).all()
    found, unit = of("analysis.maximise_activation")[0], known["unit"]
    before, after = (
        unit(analysis.activations(known["model"].apply, known["run"].variables, x))
        for x in (8 * known["start"] / np.linalg.norm(known["start"], axis=1, keepdims=True), found)
    )
    assert (after > before + 1).all()
    assert of("analysis.gradient_norms")[0]["all"] < 1 and not of("analysis.gradient_noise_scale")[0] < 0
    (largest, residual), slices = of("(ends.values")[0], of("analysis.loss_slice")[0]
    assert largest > 100 * residual and 0 < of("analysis.negative_share")[0].high < 1
    assert np.argmin(slices) == 12  # the run itself, in the middle
    line, curve = of("analysis.barrier")
    assert line > 0.1 > curve
