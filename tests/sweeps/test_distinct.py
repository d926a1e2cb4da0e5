"""Sweeps some of whose arms are the same: what is trained, what is stored, what is said."""

import json

import pytest

import fdl
from fdl.parallel.plan import Overrides
from fdl.report import tables
from fdl.sweeps import grid, stored, sweep
from fdl.sweeps.check import checked_groups
from fdl.sweeps.distinct import decided
from fdl.sweeps.executor import DECIDE
from fdl.sweeps.forecasting import forecast
from fdl.sweeps.loading import so_far
from tests.sweeps.test_executors import here
from tests.sweeps.traps import Config, experiment

BOTH = grid(Config(), label=("a", "b"), seeds=2)
A, B = (grid(Config(), label=(label,), seeds=2) for label in "ab")


pytestmark = [pytest.mark.medium, pytest.mark.usefixtures("plans")]


def rows(result, arm="label=b"):
    frame = result.where(arm=arm).frame
    return frame[["seed", "step", *result.metrics]].reset_index(drop=True)


@pytest.fixture(scope="module")
def alone():
    """The rows of the second arm where nothing else is there, trained as two members."""
    return rows(sweep(experiment, B, members=2))


def test_the_rows_are_those_that_training_gives(compiled, alone):
    result = sweep(experiment, BOTH, members=2)
    assert rows(result).equals(alone) and rows(result, "label=a").equals(alone)
    assert len(compiled) == 1 and [one["runs"] for one in result.meta["programs"]] == [[2]]
    assert result.same == {"label=b": "label=a"}


def test_a_directory_gives_them_to_whoever_asks(tmp_path, compiled, alone):
    whole = sweep(experiment, BOTH, workdir=tmp_path, members=2)
    told = json.loads((tmp_path / "twins.json").read_text())["runs"]
    assert [one["arm"] for one in told.values()] == ["label=b"] * 2
    more = grid(Config(), label=("b", "c"), seeds=2)
    results = [sweep(experiment, space, workdir=tmp_path, members=2) for space in (BOTH, B, more)]
    results += [stored(experiment, BOTH, workdir=tmp_path), fdl.load(tmp_path)]
    results += [one for one in [so_far(tmp_path, BOTH, {})] if one]
    assert all(rows(result).equals(alone) for result in (whole, *results))
    assert [result.same.get("label=b") for result in results] == ["label=a"] * 6
    assert results[2].same == {"label=b": "label=a", "label=c": "label=a"}
    run = fdl.load(tmp_path).run(arm="label=b", seed=1, experiment=experiment)
    assert run.config == Config(label="b") and not run.changed and run.seed == 1
    assert run.evaluate("test")["loss"] == pytest.approx(alone["test/loss"].iloc[-1])
    assert len(compiled) == 1
    path = tmp_path / "twins.json"
    path.write_text(path.read_text().replace('"label=b"', '"label=c"'))
    with pytest.raises(ValueError, match=r"twins\.json is damaged.*remove it and repeat"):
        stored(experiment, BOTH, workdir=tmp_path)


def test_a_run_that_was_trained_keeps_its_numbers(tmp_path, compiled):
    sweep(experiment, B, workdir=tmp_path, members=2)
    assert sweep(experiment, BOTH, workdir=tmp_path, members=2).same == {"label=a": "label=b"}
    assert len(compiled) == 1


def test_what_another_did_not_finish_is_trained(tmp_path, compiled, alone):
    """As after a kill: what is there of the other run is no result yet, and that run is not asked for."""
    sweep(experiment, BOTH, workdir=tmp_path, members=2)
    (done,) = tmp_path.glob("units/*/done.json")
    done.unlink()
    assert rows(sweep(experiment, B, workdir=tmp_path, members=2)).equals(alone)
    result = sweep(experiment, BOTH, workdir=tmp_path, members=2)
    assert result.same == {} and rows(result).equals(alone) and rows(result, "label=a").equals(alone)
    assert json.loads((tmp_path / "twins.json").read_text())["runs"] == {}


def test_a_worker_decides_where_others_train(tmp_path, compiled, alone):
    """It has the devices; what trains them may be another program on those of the leading process."""
    given: list[str] = []
    for space in (BOTH, BOTH, B):
        result = sweep(experiment, space, workdir=tmp_path, executor=here(given, workers=1), members=2)
        assert rows(result).equals(alone) and result.same == {"label=b": "label=a"}
    assert given[0] == DECIDE and len(given) == 2 and len(compiled) == 2


def test_a_member_that_is_split_over_devices_is_no_other(plans):
    """What is split may read what is not read whole, as the devices' number."""
    groups = checked_groups(experiment, BOTH, None)
    assert len(decided(groups, Overrides(), lambda _: None).groups) == 1
    assert len(decided(groups, Overrides(mesh={"data": 2}), lambda _: None).groups) == 2


def test_a_plan_counts_them_once(compiled):
    said: list[str] = []
    (one,) = forecast(experiment, BOTH, say=said.append)
    assert one.trials == 2 and one.arms == ["label=a"]
    assert said[0] == (
        "label=b had no effect: the same program and inputs as label=a, which is trained for both"
    )


@pytest.fixture(scope="module")
def result():
    return sweep(experiment, grid(Config(), label=("a", "b"), lr=(0.1, 0.2), seeds=2), members=4)


@pytest.mark.parametrize(("criterion", "status", "why"), [
    ({}, "REFUTED", "the claim is of more than 0"),
    ({"at_least": 0.5, "better": "lower"}, "REFUTED", "the claim is of at least 0.5"),
    ({"equivalent": 0.01}, "SUPPORTED", "0 lies within ±0.01"),
    ({"anytime": True}, "REFUTED", "the claim is of more than 0"),
])  # fmt: skip
def test_a_comparison_says_that_it_had_no_effect(result, criterion, status, why):
    found = fdl.compare(result.where(lr=0.1), metric="test/loss", arms="label", **criterion)
    (one,) = found.comparisons
    assert one.same and (one.difference, one.low, one.high) == (0.0, 0.0, 0.0)
    assert found.verdict.status == one.status == status and found.verdict.p == 0.0
    said = "label=b had no effect: the same program and inputs as label=a, trained once (test/loss "
    assert (
        found.verdict.sentence.startswith(said) and f"difference exactly 0): {why}." in found.verdict.sentence
    )
    assert "can miss a collapse" not in found.verdict.sentence


@pytest.mark.parametrize(("arms", "settings"), [("label", "lr"), ("lr", "label")])
def test_a_gain_on_the_same_program_or_in_the_same_setting_is_no_estimate(result, arms, settings):
    asked = {"metric": "test/loss", "arms": arms, "settings": settings}
    found = fdl.difference_in_differences(result, **asked, equivalent=0.01)
    (one,) = found.comparisons
    assert one.same and found.verdict.status == "SUPPORTED" and (one.difference, one.low) == (0.0, 0.0)
    assert "by construction, of the same programs" in found.verdict.sentence
    assert "label=b lr=0.1 had no effect: the same program and inputs as" in found.verdict.sentence
    assert fdl.difference_in_differences(result, **asked).verdict.status == "REFUTED"


def test_a_rate_and_an_effect_of_what_had_none_say_so(result):
    rates = fdl.compare_rates(result, metric="test/loss", threshold=9.0, better="lower", at_least=0.5)
    assert "label=b lr=0.2 had no effect: the same program" in rates.verdict.sentence
    with pytest.raises(ValueError, match=r"label=b lr=0\.1 had no effect.*would count twice"):
        fdl.factorial_effects(result, metric="test/loss")
    effect, other = (
        fdl.factorial_effects(result.where(label=label), metric="test/loss").effects[0] for label in "ab"
    )
    assert effect == other and effect.name == "lr"


def test_beside_arms_that_have_an_effect_it_is_said_too(result):
    found = fdl.compare(result, metric="test/loss", arms="arm", better="lower")
    assert [one.same for one in found.comparisons] == [False, True, False]
    assert result.same == {"label=b lr=0.1": "label=a lr=0.1", "label=b lr=0.2": "label=a lr=0.2"}
    assert not any(
        one.same for one in fdl.compare(result, metric="test/loss", arms="lr", by="label").comparisons
    )
    shown = tables.results(result)
    (column,) = (column for column in shown if column.name == "same as")
    assert column.cells == ("", "", "label=a lr=0.1", "label=a lr=0.2")
    assert tables.caption(result).endswith(
        "label=b lr=0.2 had no effect: the same program and inputs as label=a lr=0.2"
    )


def test_joined_results_keep_what_holds_of_both(result):
    a, b = result.where(label="a"), result.where(label="b")
    assert (a + b).same == {}  # the first may be of another directory
    one, other = result.where(seed=0), result.where(seed=1)
    assert (one + other).same == result.same
    assert (result.where(lr=0.1) + result.where(lr=0.2)).same == result.same
