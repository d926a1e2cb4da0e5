"""Sweeps: what is trained, once, and what its directory holds."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import fdl
from fdl.parallel.plan import Plan
from fdl.sweeps import Progress, forecast, grid, program_of, stored, sweep, zip_
from fdl.train import Saving, choose, early_stopping
from tests.driver import in_use
from tests.toy import Config, arrays, experiment

SPACE = grid(Config(), lr=(0.01, 0.05), power=(1, 2), seeds=3)


@pytest.fixture
def compiled(monkeypatch):
    """The populations that are compiled, in order."""
    done, real = [], choose.compile_program

    def counting(build, members, arrays, plan):
        done.append(plan)
        return real(build, members, arrays, plan)

    monkeypatch.setattr(choose, "compile_program", counting)
    return done


def test_a_sweep_gives_a_row_per_run_and_evaluation():
    result = sweep(experiment, SPACE)
    assert len(result.frame) == 12 * 4 and set(result.frame["status"]) == {"finished"}
    assert list(result.frame.columns) == [
        "arm", "lr", "noise", "steps", "power", "link", "seed", "step", "train/loss", "test/loss", "status",
    ]  # fmt: skip
    assert result.frame["link"].unique().tolist() == ["tanh"]
    assert not result.frame.isna().any().any() and result.failures.empty


def test_members_agree_with_single_runs():
    result = sweep(experiment, SPACE)
    for (arm, seed), rows in result.frame.groupby(["arm", "seed"]):
        trial = next(t for t in SPACE.trials if t.arm == arm and t.seed == seed)
        alone = fdl.train.fit(experiment(trial.config), jax.random.key(seed)).rows
        np.testing.assert_allclose(rows["test/loss"], [row["test/loss"] for row in alone], rtol=2e-5)


def test_a_group_is_compiled_once(plans, compiled):
    """2 structures, 2 learning rates, 3 seeds: 2 programs, and none again with more seeds or rates."""
    sweep(experiment, SPACE)
    assert len(compiled) == 2
    sweep(experiment, grid(Config(), lr=(0.01, 0.02, 0.05, 0.1), power=(1, 2, 3), seeds=5))
    assert len(compiled) == 2 + 3


def test_xla_compiles_a_group_no_more_often_when_it_has_more_members(plans):
    """Counted by JAX itself, not by our own books."""

    def compilations(seeds):
        events = []

        def listen(event: str, duration_secs: float, **_: Any) -> None:
            events.append(event)

        jax.clear_caches()
        jax.monitoring.register_event_duration_secs_listener(listen)
        sweep(experiment, grid(Config(), lr=(0.01, 0.05), power=(1, 2), seeds=seeds))
        jax.monitoring.unregister_event_duration_listener(listen)
        return sum("backend_compile" in name for name in events)

    assert compilations(2) == compilations(4) > 0


def test_the_same_sweep_again_does_nothing_and_is_the_same(tmp_path, compiled):
    first = sweep(experiment, SPACE, workdir=tmp_path)
    begun = len(compiled)
    lines = []
    again = sweep(experiment, SPACE, workdir=tmp_path, progress=Progress(say=lines.append))
    assert len(compiled) == begun and lines[-1] == "all of them are finished already"
    pd.testing.assert_frame_equal(first.frame, again.frame, check_exact=True)


def test_twice_from_scratch_is_bit_identical(tmp_path):
    frames = [sweep(experiment, SPACE, workdir=tmp_path / name).frame for name in "ab"]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_on_disk_and_in_memory_are_the_same(tmp_path):
    pd.testing.assert_frame_equal(
        sweep(experiment, SPACE).frame, sweep(experiment, SPACE, workdir=tmp_path).frame, check_exact=True
    )


def test_more_seeds_and_arms_train_only_those(tmp_path):
    first = sweep(experiment, SPACE, workdir=tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.glob("units/*/*.json*")}
    wider = sweep(experiment, SPACE.with_seeds(5) + grid(Config(), lr=(0.1,), seeds=5), workdir=tmp_path)
    assert len(wider.last()) == 5 * 5
    old = wider.frame[(wider.frame["seed"] < 3) & (wider.frame["lr"] < 0.1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(old, first.frame, check_exact=True)
    assert all(path.read_bytes() == content for path, content in files.items())
    trained = [
        json.loads(p.read_text())["members"] for p in tmp_path.glob("units/*/unit.json") if p not in files
    ]
    fresh = {(m["config"]["lr"], m["config"]["power"], m["seed"]) for members in trained for m in members}
    rates = {(lr, power, seed) for lr in (0.01, 0.05) for power in (1, 2) for seed in (3, 4)}
    assert fresh == rates | {(0.1, 1, seed) for seed in range(5)}


@pytest.mark.parametrize("members", [1, 2, 5])
def test_members_in_a_program_can_be_given(tmp_path, members):
    whole = sweep(experiment, SPACE)
    parts = sweep(experiment, SPACE, members=members, workdir=tmp_path)
    units = [json.loads(path.read_text()) for path in tmp_path.glob("units/*/unit.json")]
    assert all(len(unit["members"]) <= members for unit in units)
    assert sum(len(unit["members"]) for unit in units) == 12
    np.testing.assert_allclose(parts.frame["test/loss"], whole.frame["test/loss"], rtol=2e-5)


def test_a_program_that_does_not_fit_gets_fewer_members(plans, monkeypatch):
    from fdl.train import choose

    monkeypatch.setattr(choose, "candidates", lambda count, *_, **__: [choose.Plan(count, "vmap", "scan", 1)])
    (whole,) = forecast(experiment, grid(Config(), lr=(0.01, 0.05), seeds=8))
    assert whole.plan.members == 16
    monkeypatch.setattr(choose, "device_memory", lambda: int(whole.memory_bytes * 0.9))
    (less,) = forecast(experiment, grid(Config(), lr=(0.01, 0.051), seeds=8))
    assert 1 <= less.plan.members < 16 and less.memory_bytes <= 0.8 * 0.9 * whole.memory_bytes


def test_the_plan_is_remembered_and_the_stored_one_is_used(plans, tmp_path, monkeypatch):
    from fdl.train import choose

    sweep(experiment, SPACE, workdir=tmp_path)
    assert len(list((plans / "plans").iterdir())) == 2
    monkeypatch.setattr(choose, "_seconds_per_step", lambda *_: pytest.fail("measured again"))
    sweep(experiment, SPACE, workdir=tmp_path / "other")
    for unit in tmp_path.glob("units/*"):
        (unit / "done.json").unlink()
    for plan in (plans / "plans").iterdir():
        plan.unlink()
    sweep(experiment, SPACE, workdir=tmp_path)  # resumes with the stored plan: measures nothing


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
from fdl.sweeps import Progress, grid, sweep
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


def test_failed_members_are_listed_and_sink_no_other():
    space = grid(Config(link=jax.numpy.positive), lr=(0.001, 1e30), seeds=3)
    result = sweep(experiment, space)
    assert result.failures["lr"].tolist() == [1e30] * 3
    assert result.failures["metric"].tolist() == ["train/loss"] * 3 and (result.failures["step"] < 10).all()
    healthy = sweep(experiment, grid(Config(link=jax.numpy.positive), lr=(0.001,), seeds=3))
    np.testing.assert_allclose(
        result.frame["test/loss"].dropna(), healthy.frame["test/loss"].dropna(), rtol=2e-5
    )
    assert result.table().set_index("arm").loc["lr=1e+30", "failed"] == 3


def test_early_stopping_ends_each_member_by_itself():
    def build(config):
        stop = early_stopping("test/loss", patience=0, at_least=0.02)
        return experiment(config, every=5)._replace(stop=stop)

    result = sweep(build, grid(Config(), lr=(0.002, 0.05), seeds=4))
    last = result.last()
    assert "stopped" in set(last["status"]) and last["step"].nunique() > 1
    for (arm, seed), rows in result.frame.groupby(["arm", "seed"]):
        lr = float(rows["lr"].iloc[0])
        alone = fdl.train.fit(build(Config(lr=lr)), jax.random.key(seed))
        assert [row["step"] for row in alone.rows] == rows["step"].tolist(), arm


@pytest.mark.parametrize(("field", "build"), [
    ("lr", lambda c: experiment(c, every=5 if c.lr > 0 else 10)),
    ("noise", lambda c: experiment(c, every=int(c.noise * 1000))),
    ("lr", lambda c: experiment(c)._replace(steps=int(c.lr * 1000))),
])  # fmt: skip
def test_a_traced_value_in_python_control_flow_names_the_field(field, build):
    with pytest.raises(ValueError, match=rf"Config\.{field}:.*static"):
        sweep(build, SPACE)


def test_a_traced_value_in_the_step_names_the_field():
    def build(config):
        good = experiment(config)

        def step(state, batch, key):
            return good.learner.step(state, batch, key) if config.noise < 1 else (state, {"loss": 0.0})

        return good._replace(learner=good.learner._replace(step=step))

    with pytest.raises(ValueError, match=r"Config\.noise:.*fdl\.static"):
        sweep(build, SPACE)


def test_a_field_that_is_a_column_is_refused():
    @fdl.config
    class Bad:
        seed: int = 0

    with pytest.raises(ValueError, match="'seed'"):
        sweep(lambda config: experiment(Config()), grid(Bad()))


LABELS = arrays()


def test_a_directory_of_another_experiment_is_refused(tmp_path):
    one = grid(Config(steps=5), seeds=1)
    first = sweep(functools.partial(experiment, every=5), one, workdir=tmp_path)
    with pytest.raises(ValueError, match=r"every: 5 -> 4\).*--restart"):
        sweep(functools.partial(experiment, every=4), one, workdir=tmp_path)
    again = sweep(functools.partial(experiment, every=5), one, workdir=tmp_path)
    pd.testing.assert_frame_equal(first.frame, again.frame, check_exact=True)


def test_other_data_under_the_same_code_is_refused(tmp_path):
    one = grid(Config(steps=5), seeds=1)
    path = tmp_path / "labels.npy"
    np.save(path, LABELS["y"])

    def build(config):
        built = experiment(config)
        return built._replace(train=built.train._replace(arrays={**LABELS, "y": np.load(path)}))

    sweep(build, one, workdir=tmp_path / "here")
    np.save(path, LABELS["y"][::-1])
    with pytest.raises(ValueError, match=r"data\.train\.arrays\.y: 'float32\[96\] \w+' -> 'float32\[96\]"):
        sweep(build, one, workdir=tmp_path / "here")
    moved = sweep(build, one, workdir=tmp_path / "here", restart=True)
    assert (tmp_path / "here.1" / "identity.json").exists() and len(moved.last()) == 1


def test_a_directory_in_use_is_refused_until_its_process_ends(tmp_path):
    with in_use(tmp_path, program_of(experiment, SPACE)), pytest.raises(ValueError, match="in use"):
        sweep(experiment, SPACE, workdir=tmp_path)
    with in_use(tmp_path, program_of(experiment, SPACE)), pytest.raises(ValueError, match="in use"):
        sweep(experiment, SPACE, workdir=tmp_path, restart=True)
    assert len(sweep(experiment, SPACE, workdir=tmp_path).last()) == 12


def test_stored_reads_and_trains_nothing(tmp_path, compiled):
    with pytest.raises(ValueError, match="no finished run"):
        stored(experiment, SPACE, workdir=tmp_path)
    result = sweep(experiment, SPACE, workdir=tmp_path)
    begun = len(compiled)
    again = stored(experiment, SPACE, workdir=tmp_path)
    pd.testing.assert_frame_equal(result.frame, again.frame, check_exact=True)
    assert len(compiled) == begun


@fdl.config
class Mixed:
    kind: int | float | bool | None = None
    made: Callable | None = None
    widths: tuple[Any, ...] = ()


def mixed(config):
    """Trains otherwise for each of None, 1, 1.0 and True."""
    power = ("None", "1", "1.0", "True").index(repr(config.kind)) + 1
    return experiment(Config(power=power, steps=4), every=4)


def test_values_that_python_or_pandas_calls_equal_are_trained_and_kept_apart(tmp_path):
    space = zip_(Mixed(), kind=(None, 1, 1.0, True), made=(jax.numpy.tanh, None, None, None), widths=[
        (1,), (True,), (1.0,), ()
    ])  # fmt: skip
    trained, read = sweep(mixed, space, workdir=tmp_path), stored(mixed, space, workdir=tmp_path)
    pd.testing.assert_frame_equal(trained.frame, read.frame, check_exact=True)
    for result in (trained, read):
        assert [repr(value) for value in result.frame["kind"]] == ["None", "1", "1.0", "True"]
        assert list(result.frame["widths"]) == ["(1,)", "(True,)", "(1.0,)", "()"]
        assert result.frame["test/loss"].nunique() == 4
        assert [result.where(kind=value).frame["arm"].item() for value in (None, 1, 1.0, True)] == list(
            result.frame["arm"]
        )
        assert result.where(made=None).frame["kind"].tolist() == [1, 1.0, True]
        assert result.where(made=jax.numpy.tanh, widths=(1,)).frame["kind"].tolist() == [None]
        assert set(result.table()["kind"].map(repr)) == {"None", "1", "1.0", "True"}


def test_the_best_value_is_chosen_on_one_metric_and_failures_are_never_chosen():
    frame = pd.DataFrame({
        "arm": ["a", "a", "b", "b", "c", "c"], "lr": [1.0, 1.0, 2.0, 2.0, 3.0, 3.0], "opt": "x",
        "seed": [0, 1] * 3, "step": 5, "validation/loss": [3.0, 3.0, 1.0, 1.0, 0.0, np.nan],
        "test/loss": [1.0, 1.0, 9.0, 9.0, 0.0, np.nan], "status": ["finished"] * 5 + ["failed"],
    })  # fmt: skip
    lost = pd.DataFrame({"arm": ["c"], "lr": [3.0], "opt": ["x"], "seed": [1], "step": [1], "metric": ["m"]})
    result = fdl.Result(frame, ("lr", "opt"), lost, {})
    assert result.best("lr", by="validation/loss", better="lower").frame["arm"].unique().tolist() == ["b"]
    with pytest.raises(ValueError, match="no metric 'loss'"):
        result.best("lr", by="loss")
    with pytest.raises(ValueError, match="no field 'rl'"):
        result.best("rl", by="test/loss")


def test_results_select_by_column():
    result = sweep(experiment, SPACE)
    assert len(result.where(lr=0.05, power=[1, 2]).last()) == 6
    assert len(result.where(link=jax.numpy.tanh).last()) == 12
    with pytest.raises(ValueError, match="no column"):
        result.where(rl=1)
    with pytest.raises(ValueError, match=r"no run has lr=7.*0\.01"):
        result.where(lr=7)


def test_forecast_trains_nothing():
    programs = forecast(experiment, SPACE)
    assert [program.trials for program in programs] == [6, 6]
    assert all(program.memory_bytes > 0 and program.train_seconds > 0 for program in programs)


def test_configs_that_differ_only_in_traced_fields_share_a_program():
    assert len({jax.tree.structure(t.config) for t in SPACE.trials}) == 2
    assert dataclasses.replace(Config(), lr=0.3) in {t.config for t in grid(Config(), lr=(0.3,)).trials}


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


def test_a_plan_that_cannot_be_compiled_is_left_out(plans, monkeypatch):
    compile_for = choose.compile_for
    lines = []

    def refusing(work, plan):
        if plan.population > 1:
            raise NotImplementedError("not on several devices\n" + "jaxpr\n" * 1000)
        return compile_for(work, plan)

    monkeypatch.setattr(choose, "compile_for", refusing)
    monkeypatch.setattr(
        choose, "plans_for", lambda *_, **__: [Plan(2, "map", "scan", 2), Plan(2, "map", "scan")]
    )
    space = grid(Config(steps=10), lr=(0.01, 0.02))
    assert len(sweep(experiment, space, progress=Progress(lines.append)).last()) == 2
    assert any("cannot be compiled (not on several devices): 2 members" in line for line in lines)
    monkeypatch.setattr(choose, "plans_for", lambda *_, **__: [Plan(2, "map", "scan", 2)])
    with pytest.raises(ValueError, match=r"compiles under no plan: not on several devices$"):
        sweep(experiment, grid(Config(steps=11), lr=(0.01, 0.02)))


def with_data(change):
    """The toy with another array of inputs, made by `change(config)`."""

    def build(config):
        one = experiment(config)
        return one._replace(train=one.train._replace(arrays={**one.train.arrays, "x": change(config)}))

    return build


def test_data_may_be_made_by_jax_and_loaded_once(plans):
    loads, calls = [], []

    @functools.cache
    def load(power):
        loads.append(power)
        return np.asarray(jax.jit(jax.random.normal, static_argnums=1)(jax.random.key(power), (96, 5)))

    def made(config):
        calls.append(config)
        return load(config.power)

    sweep(with_data(made), grid(Config(steps=10), lr=(0.01, 0.02)))
    assert loads == [1] and len(calls) <= 8


def test_a_traced_field_that_goes_to_numpy_is_one_line():
    with pytest.raises(
        ValueError, match=r"Config.noise: a traced value .* goes to NumPy; declare it `fdl.static"
    ):
        sweep(with_data(lambda config: np.full((96, 5), np.asarray(config.noise))), grid(Config(), seeds=2))
