"""Sweeps: what is trained, once, and what its directory holds."""

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import fdl
from fdl.sweeps import grid, stored, sweep, zip_
from fdl.train import Progress, early_stopping, fit, scan
from tests.toy import Config, experiment

SPACE = grid(Config(), lr=(0.01, 0.05), power=(1, 2), seeds=3)


@functools.cache
def whole() -> fdl.Result:
    """The sweep of `SPACE`, in memory."""
    return sweep(experiment, SPACE)


@pytest.mark.medium
def test_a_sweep_gives_a_row_per_run_and_evaluation():
    result = whole()
    assert len(result.frame) == 12 * 4 and set(result.frame["status"]) == {"finished"}
    assert list(result.frame.columns) == [
        "arm", "lr", "noise", "steps", "power", "link", "seed", "step", "train/loss", "test/loss", "status",
    ]  # fmt: skip
    assert result.frame["link"].unique().tolist() == ["tanh"]
    assert not result.frame.isna().any().any() and result.failures.empty


@pytest.mark.medium
def test_members_agree_with_single_runs():
    @functools.partial(jax.jit, static_argnums=0)
    def alone(power, lr, key):
        one = experiment(dataclasses.replace(Config(power=power), lr=lr))
        return scan(one, key)[1].metrics["test/loss"]

    for (power, lr, seed), rows in whole().frame.groupby(["power", "lr", "seed"]):
        np.testing.assert_allclose(rows["test/loss"], alone(int(power), lr, jax.random.key(seed)), rtol=2e-5)


@pytest.mark.medium
def test_a_group_is_compiled_once(plans, compiled):
    """2 structures, 2 learning rates, 3 seeds: 2 programs, and none again with more seeds or rates."""
    sweep(experiment, SPACE)
    assert len(compiled) == 2
    sweep(experiment, grid(Config(), lr=(0.01, 0.02, 0.05, 0.1), power=(1, 2, 3), seeds=5))
    assert len(compiled) == 2 + 3


@pytest.mark.medium
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


@pytest.mark.medium
def test_the_same_sweep_again_does_nothing_and_is_the_same(tmp_path, compiled):
    first = sweep(experiment, SPACE, workdir=tmp_path)
    begun = len(compiled)
    lines = []
    again = sweep(experiment, SPACE, workdir=tmp_path, progress=Progress(say=lines.append))
    assert len(compiled) == begun and lines[-1] == "all of them are finished already"
    pd.testing.assert_frame_equal(first.frame, again.frame, check_exact=True)


@pytest.mark.medium
def test_twice_from_scratch_is_bit_identical():
    pd.testing.assert_frame_equal(sweep(experiment, SPACE).frame, whole().frame, check_exact=True)


@pytest.mark.medium
def test_evaluations_are_told_and_a_mistake_in_what_looks_on_costs_no_run():
    told, lines = [], []
    frame = sweep(experiment, SPACE, progress=Progress(evaluated=told.extend)).frame
    expected = frame[list(told[0])].to_dict("records")
    order = lambda row: (row["arm"], row["seed"], row["step"])  # noqa: E731
    assert sorted(told, key=order) == sorted(expected, key=order)

    def broken(rows):
        rows[0].clear()
        raise KeyError("mine")

    again = sweep(experiment, SPACE, progress=Progress(lines.append, evaluated=broken)).frame
    pd.testing.assert_frame_equal(frame, again, check_exact=True)
    assert [line for line in lines if "mine" in line] == [
        "progress.evaluated is not called again: KeyError: 'mine'"
    ]
    rows = []
    fitted = fit(experiment(Config()), jax.random.key(0), progress=Progress(evaluated=rows.extend))
    assert rows == fitted.rows


@pytest.mark.medium
def test_on_disk_and_in_memory_are_the_same(tmp_path):
    pd.testing.assert_frame_equal(
        whole().frame, sweep(experiment, SPACE, workdir=tmp_path).frame, check_exact=True
    )


@pytest.mark.medium
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


@pytest.mark.medium
def test_progress_counts_what_is_asked_and_not_what_was_trained_with_it(tmp_path):
    told = []
    sweep(experiment, grid(Config(steps=4), lr=(0.01, 0.02, 0.03)), workdir=tmp_path, members=3)
    progress = Progress(step=lambda done, total, _: told.append((done, total)))
    two = grid(Config(steps=4), lr=(0.01, 0.04))
    sweep(experiment, two, workdir=tmp_path, members=1, progress=progress)
    assert {total for _, total in told} == {8} and told[-1] == (8, 8)
    assert all(4 <= done <= 8 for done, _ in told)  # that of 0.01 was there


@pytest.mark.medium
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


@pytest.mark.medium
def test_early_stopping_ends_each_member_by_itself():
    def build(config):
        stop = early_stopping("test/loss", patience=0, at_least=0.02)
        return experiment(config, every=5)._replace(stop=stop)

    result = sweep(build, grid(Config(), lr=(0.002, 0.05), seeds=4))
    last = result.last()
    assert "stopped" in set(last["status"]) and last["step"].nunique() > 1
    alone = jax.jit(lambda lr, key: scan(build(dataclasses.replace(Config(), lr=lr)), key)[1])
    for (lr, seed), rows in result.frame.groupby(["lr", "seed"]):
        single = alone(lr, jax.random.key(seed))
        assert single.step[single.valid].tolist() == rows["step"].tolist(), (lr, seed)


@pytest.mark.medium
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


@pytest.mark.medium
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


@pytest.mark.medium
def test_results_select_by_column():
    result = whole()
    assert len(result.where(lr=0.05, power=[1, 2]).last()) == 6
    assert len(result.where(link=jax.numpy.tanh).last()) == 12
    with pytest.raises(ValueError, match="no column"):
        result.where(rl=1)
    with pytest.raises(ValueError, match=r"no run has lr=7.*0\.01"):
        result.where(lr=7)


def test_configs_that_differ_only_in_traced_fields_share_a_program():
    assert len({jax.tree.structure(t.config) for t in SPACE.trials}) == 2
    assert dataclasses.replace(Config(), lr=0.3) in {t.config for t in grid(Config(), lr=(0.3,)).trials}
