"""`fdl.load`: what the files of directories say is what the sweeps gave, or it is refused."""

import dataclasses
import enum
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import fdl
from fdl import data, tasks
from fdl.cells import cell
from fdl.serialization import cell_of, to_json
from fdl.sweeps import ablate, grid, sweep
from fdl.trained import load


class Kind(enum.Enum):
    PLAIN = 1


@fdl.config
class Inner:
    width: int = 2


@fdl.config
class Config:
    rate: float = fdl.traced(1.0, low=0.0)
    clip: float | None = None
    widths: tuple[int, ...] = (1, 2)
    names: tuple[str, ...] = ("a",)
    link: Callable = jnp.tanh
    kind: Kind = Kind.PLAIN
    inner: Inner = Inner()
    steps: int = fdl.static(4, low=1)


def splits(sign: float = 1.0) -> data.Splits:
    rows = {"x": np.eye(4, dtype=np.float32) * sign, "y": np.array([1, -1, 1, -1], np.float32)}
    return data.Splits(rows, rows, rows)


SPLITS, OTHERS = splits(), splits(-1.0)


def experiment(config: Config) -> fdl.Experiment:
    return tasks.perceptron(SPLITS, steps=config.steps, rate=config.rate, evaluate_every=2)


def twice_as_fast(config: Config) -> fdl.Experiment:
    return tasks.perceptron(SPLITS, steps=config.steps, rate=2 * config.rate, evaluate_every=2)


def on_others(config: Config) -> fdl.Experiment:
    return tasks.perceptron(OTHERS, steps=config.steps, rate=config.rate, evaluate_every=2)


SPACE = grid(Config(), rate=(0.1, 1.0), clip=(None, 2.0), seeds=2)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> tuple[Path, fdl.Result]:
    directory = tmp_path_factory.mktemp("kept")
    return directory, sweep(experiment, SPACE, workdir=directory, members=4)


@pytest.fixture
def here(kept, tmp_path) -> Path:
    return Path(shutil.copytree(kept[0], tmp_path / "here"))


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    by = ["arm", "seed", "step"]
    sort = [frame.sort_values(by).reset_index(drop=True) for frame in (one, other)]
    pd.testing.assert_frame_equal(*sort, check_exact=True)


def test_it_is_what_the_sweep_gave(kept):
    directory, result = kept
    loaded = load(directory)
    same(loaded.frame, result.frame)
    assert loaded.fields == result.fields
    assert {name: loaded.meta[name] for name in ("configs", "versions", "device", "trained")} == {
        name: result.meta[name] for name in ("configs", "versions", "device", "trained")
    }
    assert loaded.frame["arm"].iloc[0] == "rate=0.1 clip=2", "numbers before what is none"
    assert fdl.compare(loaded, metric="test/accuracy", arms="arm", baseline="rate=0.1 clip=2").verdict


def test_values_are_shown_as_of_the_config_itself():
    config = Config(widths=(3, 4), names=("b", "c"), clip=1.5)
    assert {name: cell_of(value) for name, value in to_json(config).items()} == {
        field.name: cell(getattr(config, field.name)) for field in dataclasses.fields(config)
    }


def test_failures_and_logs_come_too(tmp_path):
    def failing(config: Config) -> fdl.Experiment:
        made = experiment(config)

        def step(state: Any, batch: Any, key: Any) -> Any:
            state, values = made.learner.step(state, batch, key)
            return state, {**values, "loss": jnp.where(config.rate > 1.0, jnp.nan, 0.5)}

        return made._replace(learner=made.learner._replace(step=step), log_every=1)

    space = grid(Config(), rate=(0.5, 2.0), seeds=1)
    result, loaded = sweep(failing, space, workdir=tmp_path, members=2), load(tmp_path)
    assert len(result.failures) == 1 and result.log is not None and loaded.log is not None
    pd.testing.assert_frame_equal(loaded.failures, result.failures)
    same(loaded.log, result.log)


def test_a_sweep_that_still_runs_is_shown_so_far(here):
    unit = next(here.glob("units/*/done.json"))
    whole = load(here).frame
    unit.unlink()
    rows = unit.parent / "metrics.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:4]) + '{"member": 0, "st')
    frame = load(here).frame
    running = frame[frame["status"] == "running"]
    # Of two values of `clip`, which nothing reads, both have the rows of one.
    assert len(running) == 2 * 4 and set(running["step"]) == {2}
    rest = frame[frame["status"] != "running"]
    same(rest, whole.merge(rest[["arm", "seed"]].drop_duplicates()))


def test_one_name_for_two_configs_is_told_apart(tmp_path):
    for rate in (0.5, 1.0):
        sweep(experiment, ablate(Config(rate=rate), seeds=1, clip={"clip": 2.0}), workdir=tmp_path)
    assert {"full (rate=0.5)", "full (rate=1)"} < set(load(tmp_path).frame["arm"])


def test_several_directories_are_one_result_where_they_answer_one_question(kept, tmp_path):
    directory, result = kept
    more = grid(Config(), rate=(0.1,), clip=(3.0,), seeds=2)
    same_experiment = sweep(experiment, more, workdir=tmp_path / "more")
    joined = load(directory, tmp_path / "more").frame
    assert len(joined) == len(result.frame) + len(same_experiment.frame)
    sweep(twice_as_fast, more, workdir=tmp_path / "other")
    assert len(load(directory, tmp_path / "other").frame) == len(joined), "other code, on the same data"
    with pytest.raises(ValueError, match=r"other experiments \(.*\) with runs of the same config; load them"):
        load(tmp_path / "more", tmp_path / "other")
    sweep(on_others, more, workdir=tmp_path / "data")
    with pytest.raises(ValueError, match="evaluated on other data; load them one by one"):
        load(directory, tmp_path / "data")


def test_other_experiments_runs_of_one_config_are_not_joined(kept):
    directory, result = kept
    later = grid(Config(), rate=(0.1,), clip=(2.0,), seeds=(2, 3))
    more, other = sweep(experiment, later), sweep(twice_as_fast, later)
    for one in (result, load(directory)):
        assert len((one + more).runs()) == len(result.runs()) + 2
        for both in (lambda one=one: one + other, lambda one=one: other + (one + more).where(clip=2.0)):
            with pytest.raises(ValueError, match=r"runs of .*, but of other experiments .*train one again"):
                both()
        joined = one.where(clip=[None]) + other
        assert joined.meta["identities"]["rate=0.1 clip=2"] == other.meta["identities"]["rate=0.1 clip=2"]


def test_what_is_no_result_is_refused(here, tmp_path):
    with pytest.raises(ValueError, match="nothing holds no runs; expected a work directory"):
        load(tmp_path / "nothing")
    rows = next(here.glob("units/*/metrics.jsonl"))
    rows.write_bytes(rows.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"rows of the .* that were measured; the command that trained it"):
        load(here)
    for unit in here.glob("units/*"):
        (unit / "done.json").unlink()
        (unit / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="no evaluation yet"):
        load(here)
    next(here.glob("units/*/unit.json")).write_text("{}")
    with pytest.raises(ValueError, match=r"unit\.json is damaged"):
        load(here)
