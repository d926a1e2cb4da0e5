"""Looking at members changes no bit of a run, on any devices, and comes again after a crash."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import fdl
from fdl import inspection, rng
from fdl.inspection import Inspection
from fdl.sweeps import stored
from fdl.train import Progress, fit
from fdl.train.identity import of_experiment
from tests.toy import Config, experiment
from tests.train.test_checkpoint import OFTEN, Stop, crash_at
from tests.train.test_run import KEY, same

pytestmark = pytest.mark.medium


def words(numbers: np.ndarray) -> str:
    return " ".join(map(str, numbers))


def told(values: jax.Array) -> inspection.Text:
    """Floats, bit for bit."""
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    return inspection.Text(bits, lambda bits: words(np.asarray(bits).view(np.float32)))


def looking(config: Config, *, every: int = 10) -> fdl.Experiment:
    def inspect(state: dict, key: jax.Array) -> dict[str, Any]:
        return {
            "lr": told(jnp.float32(config.lr)[None]),
            "noise": told(jax.random.normal(key, (2,))),
            "weights": told(state["weights"]),
            "seen/here": inspection.Histogram(state["weights"]),
        }

    return experiment(config, every=every)._replace(inspect=inspect)


def numbers(one: Inspection) -> np.ndarray:
    return np.array(one.read().split(), np.float32)


def files(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if "inspections" in str(path) and path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def test_what_is_shown_is_the_evaluated_state_and_the_run_is_the_same(tmp_path):
    plain = fit(experiment(Config()), KEY)
    fitted = fit(looking(Config()), KEY)
    same(plain.state, fitted.state)
    assert plain.rows == fitted.rows and plain.inspections == ()
    shown = {(one.step, one.name): one for one in fitted.inspections}
    assert len(shown) == len(fitted.inspections) == 4 * 4
    for step in (10, 20, 30, 40):
        expected = fit(experiment(Config(steps=step)), KEY).state["weights"]
        np.testing.assert_array_equal(numbers(shown[step, "weights"]), expected)
        noise = jax.random.normal(rng.stream(KEY, "inspect"), (2,))
        np.testing.assert_array_equal(numbers(shown[step, "noise"]), noise)
    on_disk = fit(looking(Config()), KEY, directory=tmp_path)
    assert [one.read() for one in on_disk.inspections] == [one.read() for one in fitted.inspections]
    assert (tmp_path / "inspections/weights/step-000000040.txt").read_bytes() == shown[40, "weights"].read()
    again = fit(looking(Config()), KEY, directory=tmp_path)
    assert again.inspections == on_disk.inspections, "of a finished run as it was kept"


@pytest.mark.parametrize("step", [8, 36])
def test_after_a_crash_the_same_files_come(tmp_path, step):
    fit(looking(Config()), KEY, directory=tmp_path / "whole", saving=OFTEN)
    with pytest.raises(Stop):
        fit(looking(Config()), KEY, directory=tmp_path / "crashed", saving=OFTEN, progress=crash_at(step))
    lines = tmp_path / "crashed/inspections.jsonl"
    late = {"member": 0, "step": 40, "name": "lr", "kind": "text", "suffix": "txt", "words": "", "size": 1}
    with lines.open("a") as file:  # as of a run that got further than its last checkpoint
        file.write(json.dumps({**late, "file": "lr/late.txt"}) + "\n")
    for path in (lines, tmp_path / "crashed/inspections/lr/step-000000010.txt"):  # as kill -9 in a write does
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.1234.partial").write_text("half")
    fitted = fit(looking(Config()), KEY, directory=tmp_path / "crashed", saving=OFTEN)
    assert files(tmp_path / "crashed") == files(tmp_path / "whole") and len(fitted.inspections) == 16
    assert not list(tmp_path.rglob("*.partial"))


SPACE = fdl.grid(Config(), lr=(0.01, 0.05, 0.02), power=(1, 2), seeds=2)


def test_a_sweep_looks_at_the_first_seed_of_the_first_arms(tmp_path):
    plain = fdl.sweep(experiment, SPACE)
    result = fdl.sweep(looking, SPACE, workdir=tmp_path, inspect=4)
    pd.testing.assert_frame_equal(plain.frame, result.frame, check_exact=True)
    arms = list(dict.fromkeys(trial.arm for trial in SPACE.trials))
    assert {(one.arm, one.seed) for one in result.inspections} == {(arm, 0) for arm in arms[:4]}
    assert len(result.inspections) == 4 * 4 * 4
    for one in result.inspections:
        if one.name == "lr":
            assert numbers(one) == np.float32(str(one.arm).split()[0].partition("=")[2])
    assert stored(looking, SPACE, workdir=tmp_path).inspections == result.inspections

    best = result.best("lr", by="test/loss", better="lower")
    assert {one.arm for one in best.inspections} == set(best.frame["arm"]) & set(arms[:4])
    assert {one.arm for one in result.where(power=1).inspections} <= {arm for arm in arms if "power=1" in arm}
    assert result.where(seed=1).inspections == ()
    assert {one.arm for one in result.where(lr=0.01).inspections} == set(arms[:2])
    both = result.where(lr=0.01) + result.where(lr=0.05) + result.where(lr=0.01)
    assert set(both.inspections) == set(result.where(lr=[0.01, 0.05]).inspections)


@pytest.mark.skipif(len(jax.devices()) < 2, reason="needs two devices")
def test_members_on_several_devices_are_shown_as_on_one():
    space = fdl.grid(Config(steps=20), lr=(0.01, 0.05))
    split, one = (fdl.sweep(looking, space, mesh={"population": n}) for n in (2, 1))
    plain = fdl.sweep(experiment, space, mesh={"population": 2})
    pd.testing.assert_frame_equal(plain.frame, split.frame, check_exact=True)
    assert len(one.inspections) == len(split.inspections) == 2 * 2 * 4
    for a, b in zip(one.inspections, split.inspections, strict=True):
        assert a[:4] == b[:4] and (a.arm, a.seed) == (b.arm, b.seed)
        if a.kind == "text":
            np.testing.assert_allclose(numbers(a), numbers(b), rtol=2e-5)


@pytest.mark.skipif(len(jax.devices()) < 2, reason="needs two devices")
@pytest.mark.parametrize("mesh", [{"data": 2}, {"fsdp": 2}])
def test_a_member_that_is_split_over_devices_is_shown_whole(mesh):
    fitted = fit(looking(Config(steps=20)), KEY, mesh=mesh)
    assert fitted.rows == fit(experiment(Config(steps=20)), KEY, mesh=mesh).rows
    shown = {one.name: one for one in fitted.inspections}
    np.testing.assert_array_equal(numbers(shown["weights"]), fitted.state["weights"])
    np.testing.assert_array_equal(
        numbers(shown["noise"]), jax.random.normal(rng.stream(KEY, "inspect"), (2,))
    )


def test_runs_that_ended_are_not_looked_at():
    space = fdl.grid(Config(link=jnp.positive), lr=(0.001, 1e30), seeds=1)
    result = fdl.sweep(looking, space)
    assert result.failures["lr"].tolist() == [1e30]
    steps = {one.step for one in result.inspections if one.arm == "lr=1e+30"}
    assert steps == set(result.frame[result.frame["lr"] == 1e30]["step"])
    assert {one.step for one in result.inspections if one.arm == "lr=0.001"} == {10, 20, 30, 40}


def test_a_mistake_in_what_draws_is_said_once_and_ends_no_run(tmp_path):
    def broken(data: Any) -> Any:
        raise ZeroDivisionError("mine\nand more")

    def build(config):
        inspect = lambda state, key: {  # noqa: E731
            "bad": inspection.Figure(state["weights"], broken),
            "good": told(state["weights"]),
        }
        return experiment(config)._replace(inspect=inspect)

    lines = []
    fitted = fit(build(Config()), KEY, directory=tmp_path, progress=Progress(say=lines.append))
    assert fitted.rows == fit(experiment(Config()), KEY).rows
    assert [(one.name, one.step) for one in fitted.inspections] == [("good", n) for n in (10, 20, 30, 40)]
    said = "inspect(...)['bad'] is left out from now on: ZeroDivisionError: mine and more"
    assert [line for line in lines if "mine" in line] == [said]


def test_what_cannot_be_drawn_of_one_run_is_drawn_of_the_others():
    """As limits of axes by weights that are infinite."""

    def show(bits: Any) -> str:
        weights = np.asarray(bits).view(np.float32)
        if not (np.abs(weights) < 1e9).all():
            raise OverflowError("too large for the axes")
        return words(weights)

    def build(config: Config) -> fdl.Experiment:
        bits = lambda state: jax.lax.bitcast_convert_type(state["weights"], jnp.int32)  # noqa: E731
        return experiment(config)._replace(
            inspect=lambda state, key: {"weights": inspection.Text(bits(state), show)}
        )

    lines = []
    space = fdl.grid(Config(link=jnp.tanh), lr=(1e20, 0.001), seeds=1)
    result = fdl.sweep(build, space, progress=Progress(say=lines.append))
    assert [(one.arm, one.step) for one in result.inspections] == [("lr=0.001", n) for n in (10, 20, 30, 40)]
    said = "inspect(...)['weights'] of lr=1e+20 seed=0 is left out from now on: OverflowError: too large for"
    (line,) = [line for line in lines if "left out" in line]
    assert line.startswith(said)


def test_a_directory_of_before_there_were_inspections_is_still_known():
    found = of_experiment(experiment(Config()))
    assert not {"inspect", "log_every"} & found["values"]["experiment"].keys()
    assert "inspect" in of_experiment(looking(Config()))["values"]["experiment"]
