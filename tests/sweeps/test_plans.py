"""Sweeps: how many members a program has, on which devices, and what is measured for it."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from fdl.parallel.plan import Plan
from fdl.sweeps import forecast, grid, sweep
from fdl.train import Progress, Saving, autotune
from fdl.train.timing import Measured, Timing, times_interval
from tests.sweeps.test_run import SPACE, whole
from tests.toy import Config, experiment


@pytest.mark.medium
@pytest.mark.parametrize("members", [1, 2, 5])
def test_members_in_a_program_can_be_given(tmp_path, members):
    parts = sweep(experiment, SPACE, members=members, workdir=tmp_path)
    units = [json.loads(path.read_text()) for path in tmp_path.glob("units/*/unit.json")]
    assert all(len(unit["members"]) <= members for unit in units)
    assert sum(len(unit["members"]) for unit in units) == 12
    np.testing.assert_allclose(parts.frame["test/loss"], whole().frame["test/loss"], rtol=2e-5)


@pytest.mark.medium
def test_a_program_that_does_not_fit_gets_fewer_members(plans, monkeypatch):
    from fdl.train import autotune

    monkeypatch.setattr(
        autotune, "candidates", lambda count, *_, **__: [autotune.Plan(count, "vmap", "scan", 1)]
    )
    (whole,) = forecast(experiment, grid(Config(), lr=(0.01, 0.05), seeds=8))
    assert whole.plan.members == 16
    monkeypatch.setattr(autotune, "device_memory", lambda: int(whole.memory_bytes * 0.9))
    (less,) = forecast(experiment, grid(Config(), lr=(0.01, 0.051), seeds=8))
    assert 1 <= less.plan.members < 16 and less.memory_bytes <= 0.8 * 0.9 * whole.memory_bytes


@pytest.mark.medium
def test_the_plan_is_remembered_and_the_stored_one_is_used(plans, tmp_path, monkeypatch):
    from fdl.train import autotune

    sweep(experiment, SPACE, workdir=tmp_path)
    assert len(list((plans / "plans").iterdir())) == 2
    monkeypatch.setattr(autotune, "_seconds_per_step", lambda *_: pytest.fail("measured again"))
    sweep(experiment, SPACE, workdir=tmp_path / "other")
    for unit in tmp_path.glob("units/*"):
        (unit / "done.json").unlink()
    for plan in (plans / "plans").iterdir():
        plan.unlink()
    sweep(experiment, SPACE, workdir=tmp_path)  # resumes with the stored plan: measures nothing


@pytest.mark.medium
def test_a_sweep_goes_on_with_fewer_devices(tmp_path):
    if len(jax.devices()) < 2:
        pytest.skip("needs 2 devices to begin with")
    space = grid(Config(), lr=(0.01, 0.05), seeds=3)
    undisturbed = sweep(experiment, space)

    class Stop(Exception):
        pass

    def crash(done, total, live):
        if done >= total // 2:
            raise Stop

    with pytest.raises(Stop):
        sweep(experiment, space, workdir=tmp_path, saving=Saving(steps=5), progress=Progress(step=crash))
    assert not list(tmp_path.glob("units/*/done.json")) and list(tmp_path.glob("units/*/checkpoints/*0"))
    code = f"""
from fdl.parallel.plan import Plan
from fdl.train import Progress
from fdl.sweeps import grid, sweep
from tests.toy import Config, arrays, experiment
space = grid(Config(), lr=(0.01, 0.05), seeds=3)
result = sweep(experiment, space, workdir={str(tmp_path)!r}, progress=Progress(say=print))
result.frame.to_parquet({str(tmp_path / "frame.parquet")!r})
"""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert out.returncode == 0, out.stderr
    assert "begun on 2 devices, going on with 1" in out.stdout
    frame = pd.read_parquet(tmp_path / "frame.parquet")
    np.testing.assert_allclose(frame["test/loss"], undisturbed.frame["test/loss"], rtol=1e-5)


@pytest.mark.medium
def test_forecast_trains_nothing():
    programs = forecast(experiment, SPACE)
    assert [program.trials for program in programs] == [6, 6]
    assert all(program.memory_bytes > 0 and program.train_seconds > 0 for program in programs)
    assert all(program.train_low < program.train_seconds < program.train_high for program in programs)


@pytest.mark.medium
def test_a_forecast_is_the_trials_times_as_often_as_the_sweep_takes_them(monkeypatch):
    steps = []

    def timed(work, program):
        steps.append(work.steps)
        return Timing(Measured(0.5, 0.25, 0.75), Measured(3.0, 2.0, 4.0), 100.0)

    monkeypatch.setattr("fdl.sweeps.forecasting.timed", timed)
    (one,) = forecast(experiment, grid(Config(steps=25), lr=(0.01, 0.02), seeds=3), members=4)
    assert steps == [25]  # evaluated after 10, 20 and 25 steps; two units of at most 4 of the 6 runs
    assert (one.train_seconds, one.train_low, one.train_high) == (43.0, 2 * 12.25, 2 * 30.75)
    assert one.compile_seconds > 100
    expected = [one.plan.devices * (one.compile_seconds + each) for each in (43.0, 24.5, 61.5)]
    np.testing.assert_allclose(one.device_seconds, expected)


def test_the_interval_of_a_trials_times_is_students():
    seconds = [0.1, 0.11, 0.13, 0.1]
    found = times_interval(seconds)
    low, high = scipy.stats.t.interval(0.975, 3, loc=np.mean(seconds), scale=scipy.stats.sem(seconds))
    np.testing.assert_allclose(found, (np.mean(seconds), low, high), rtol=1e-12)
    assert times_interval([0.1, 5.0]).low == 0.0


@pytest.mark.medium
def test_a_step_may_call_back_to_python_whatever_the_plan(plans):
    def build(config):
        one = experiment(config)

        def step(state, batch, key):
            state, metrics = one.learner.step(state, batch, key)
            shape = jax.ShapeDtypeStruct((), jnp.float32)
            double = jax.pure_callback(lambda x: 2 * x, shape, metrics["loss"], vmap_method="sequential")
            return state, {**metrics, "double": double}

        return one._replace(learner=one.learner._replace(step=step))

    result = sweep(build, grid(Config(steps=10), lr=(0.01, 0.02)))
    assert "2 devices" in result.meta["programs"][0]["plan"]
    np.testing.assert_allclose(result.last()["train/double"], 2 * result.last()["train/loss"], rtol=1e-6)


@pytest.mark.medium
def test_a_plan_that_cannot_be_compiled_is_left_out(plans, monkeypatch):
    compile_for = autotune.compile_for
    lines = []

    def refusing(work, plan):
        if plan.population > 1:
            raise NotImplementedError("not on several devices\n" + "jaxpr\n" * 1000)
        return compile_for(work, plan)

    monkeypatch.setattr(autotune, "compile_for", refusing)
    monkeypatch.setattr(
        autotune, "plans_for", lambda *_, **__: [Plan(2, "map", "scan", 2), Plan(2, "map", "scan")]
    )
    space = grid(Config(steps=10), lr=(0.01, 0.02))
    assert len(sweep(experiment, space, progress=Progress(lines.append)).last()) == 2
    assert any("cannot be compiled (not on several devices): 2 members" in line for line in lines)
    monkeypatch.setattr(autotune, "plans_for", lambda *_, **__: [Plan(2, "map", "scan", 2)])
    with pytest.raises(ValueError, match=r"compiles under no plan: not on several devices$"):
        sweep(experiment, grid(Config(steps=11), lr=(0.01, 0.02)))
