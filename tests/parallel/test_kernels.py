"""oneDNN's kernels for a CPU: XLA's numbers to rounding, the same bits twice, and a choice of the plan's."""

import json
import warnings
from typing import Any

import jax
import numpy as np
import optax
import pytest

import fdl
from fdl import data, models, tasks
from fdl.parallel import in_place, kernels
from fdl.parallel.plan import Plan
from fdl.sweeps import programs
from fdl.train import autotune, program, runtime
from fdl.train.loop import execute
from fdl.train.program import compile_program, stack_members
from fdl.train.rows import metric_names
from fdl.train.run import arrays_of
from tests.toy import Config, experiment

STEPS = 5


def test_a_step_by_onednn_is_that_of_xla_and_twice_the_same():
    if not kernels.has_onednn():
        pytest.skip("this jaxlib computes nothing by oneDNN")
    dice = np.random.default_rng(0)
    part = {"x": dice.standard_normal((64, 16, 16, 3), np.float32), "y": dice.integers(0, 10, 64, np.int32)}
    splits, model = data.Splits(part, part, part), models.lenet5(padding=2)
    task = tasks.classification(model, splits, optax.sgd(0.1), steps=STEPS, batch_size=32)
    keys = jax.vmap(jax.random.key)(np.arange(2))
    members = stack_members([(), ()], keys, pad_to=2)

    def state(by: Any, across: Any) -> list[np.ndarray]:
        plan = Plan(2, across, "scan", kernels=by)
        made = compile_program(lambda _: task, members, arrays_of(task), plan)
        assert (made.onednn_calls > 0) == (by == "onednn")
        return [
            np.asarray(leaf)
            for leaf in jax.tree.leaves(execute(made, members, [STEPS], metric_names(task)).carry)
        ]

    for across in ("map", "vmap"):
        by_xla, once, again = (state(by, across) for by in ("xla", "onednn", "onednn"))
        for one, other, same in zip(by_xla, once, again, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(other, same)


@pytest.fixture
def faster(monkeypatch):
    """A jaxlib whose oneDNN makes every program faster; here it is the same program."""
    monkeypatch.setattr(kernels, "_OPTIONS", {"xla": {}, "onednn": {}})
    monkeypatch.setattr(program, "onednn_calls", lambda compiled: 1)
    seconds = {"xla": 1.0, "onednn": 0.5}
    monkeypatch.setattr(autotune, "_seconds_per_step", lambda work, made: seconds[made.plan.kernels])
    with_it(monkeypatch, True)
    return monkeypatch


def with_it(monkeypatch, there):
    for module in (autotune, programs):
        monkeypatch.setattr(module, "has_onednn", lambda: there)


def test_it_is_measured_last_remembered_stored_and_gone_on_with(plans, tmp_path, faster):
    space, said = fdl.grid(Config(), lr=(0.01,), seeds=2), []
    progress = fdl.train.Progress(say=said.append)
    fdl.sweep(experiment, space, workdir=tmp_path / "one", progress=progress)
    assert any("oneDNN" in one for one in said)
    (unit,) = (tmp_path / "one").glob("units/*")
    assert json.loads((unit / "unit.json").read_text())["plan"]["kernels"] == "onednn"
    faster.setattr(autotune, "_seconds_per_step", lambda *_: pytest.fail("measured again"))
    fdl.sweep(experiment, space, workdir=tmp_path / "two")
    (unit / "done.json").unlink()
    with_it(faster, False)
    said.clear()
    fdl.sweep(experiment, space, workdir=tmp_path / "one", progress=progress)
    assert any("oneDNN's kernels, which there are not here" in one for one in said)


def test_what_is_remembered_of_a_jaxlib_that_has_it_is_measured_again_without(plans, tmp_path, faster):
    space = fdl.grid(Config(), lr=(0.01,), seeds=2)
    fdl.sweep(experiment, space, workdir=tmp_path / "one")
    with_it(faster, False)
    fdl.sweep(experiment, space, workdir=tmp_path / "two")
    (unit,) = (tmp_path / "two").glob("units/*")
    assert json.loads((unit / "unit.json").read_text())["plan"]["kernels"] == "xla"


def test_where_no_kernel_is_its_own_the_program_is_xlas(plans, tmp_path, faster):
    faster.setattr(program, "onednn_calls", lambda compiled: 0)
    fdl.sweep(experiment, fdl.grid(Config(), lr=(0.01,), seeds=2), workdir=tmp_path)
    (unit,) = tmp_path.glob("units/*")
    assert json.loads((unit / "unit.json").read_text())["plan"]["kernels"] == "xla"


@pytest.mark.parametrize(
    ("why", "said"), [("MemoryError: std::bad_alloc", False), ("no space is left", True)]
)
def test_that_jaxlib_cannot_write_what_calls_onednn_is_nothing_to_say(monkeypatch, capsys, why, said):
    monkeypatch.setattr(runtime, "CHECKED", ("",))
    runtime._say_unusable.cache_clear()
    runtime._show(
        lambda *_: pytest.fail("shown"), f"Error writing persistent compilation cache entry for 'f': {why}"
    )
    assert ("cannot be used" in capsys.readouterr().err) == said


@pytest.mark.parametrize(
    ("shape", "environment", "told"),
    [((3, 4, 4), {}, 1), ((4, 4), {}, 0), ((3, 4, 4), {"NPROC": "16", "OPENBLAS_NUM_THREADS": "1"}, 0)],
    ids=["a batch", "one matrix", "a batch with threads"],
)
def test_batches_that_lapack_decomposes_are_warned_of(monkeypatch, shape, environment, told):
    for name in ("NPROC", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
        if name in environment:
            monkeypatch.setenv(name, environment[name])
    lowered = jax.jit(jax.numpy.linalg.svd).lower(jax.ShapeDtypeStruct(shape, "f4"))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        in_place.compiled_rightly(lowered, "cpu", {})
    assert sum("NPROC=16" in str(one.message) for one in heard) == told
