"""The tables against NumPy and SciPy on the tidy frame."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from fdl.report import tables
from fdl.result import Result
from tests.report.examples import COMPARISON, METRICS, crossed, example, many, single, verdict


def by_name(columns: tuple[tables.Column, ...]) -> dict[str, tuple[str, ...]]:
    return {column.name: column.cells for column in columns}


@pytest.mark.parametrize("result", [crossed(), many()], ids=["crossed", "many"])
def test_means_and_margins_are_numpys(result: Result):
    shown = by_name(tables.results(result))
    finished = result.frame[(result.frame["status"] != "failed") & (result.frame["step"] == 40)]
    for metric in METRICS:
        for cell, arm in zip(shown[metric], dict.fromkeys(result.frame["arm"]), strict=True):
            values = finished.loc[finished["arm"] == arm, metric].to_numpy()
            margin = scipy.stats.sem(values) * scipy.stats.t.ppf(0.975, len(values) - 1)
            mean_text, margin_text = cell.split(" ± ")
            unit = 10.0 ** -len(margin_text.partition(".")[2])
            np.testing.assert_allclose(float(mean_text), np.mean(values), rtol=0, atol=unit * 0.501)
            np.testing.assert_allclose(float(margin_text), margin, rtol=0, atol=unit * 0.501)


def test_columns_of_crossed_fields():
    columns = by_name(tables.results(crossed()))
    assert [*columns] == ["depth", "skip", "runs", "failed", "test/accuracy", "test/loss", *METRICS[1::-1]]
    assert columns["depth"] == ("4", "4", "16", "16", "64", "64")
    assert columns["skip"] == ("False", "True") * 3
    assert columns["runs"] == ("6", "6", "6", "6", "4", "6")
    assert columns["failed"] == ("0", "0", "0", "0", "2", "0")


def test_names_stay_where_the_fields_do_not_say_them():
    columns = by_name(tables.results(many()))
    assert [*columns][:5] == ["arm", "norm", "rate", "kind", "runs"]
    assert columns["norm"][:2] == ("batch", "None")
    assert "failed" not in columns
    assert [*by_name(tables.results(single()))][:2] == ["arm", "runs"]


def test_a_float_field_is_said_by_the_name_that_a_sweep_gives_it():
    rates = {f"lr={lr:.6g}": {"lr": lr} for lr in (3e-5, 1e-3, 0.1)}
    assert by_name(tables.results(example(rates, seeds=2)))["lr"] == ("3e-05", "0.001", "0.1")
    assert "arm" not in by_name(tables.results(example(rates, seeds=2)))


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (("train/loss", "test/loss", "validation/loss"), ("test/loss",)),
        (("validation/accuracy", "test/loss"), ("test/loss", "validation/accuracy")),
        (("train/loss", "train/accuracy"), ("train/loss", "train/accuracy")),
        (("train/loss", "validation/accuracy"), ("validation/accuracy",)),
    ],
)
def test_main_metrics(present: tuple[str, ...], expected: tuple[str, ...]):
    result = single()
    frame = result.frame.drop(columns=list(METRICS)).assign(**dict.fromkeys(present, 0.5))
    assert tables.main_metrics(dataclasses.replace(result, frame=frame)) == expected


def test_comparisons():
    heading, columns = tables.comparisons(verdict())
    cells = {name: column[0] for name, column in by_name(columns).items()}
    assert heading == "Differences in test/accuracy against skip=False"
    assert cells == {
        "arm": "skip=True",
        "pairs": "14",
        "dropped": "2",
        "arm mean": "0.951",
        "baseline mean": "0.342",
        "difference": "+0.609",
        "95 % interval": "[0.599, 0.619]",
        "90 % interval": "[0.600, 0.617]",
        "p": "0.00012",
        "p (Holm)": "0.00024",
        "effect size": "31.2",
        "detectable": "0.0088",
        "seeds needed": "5",
    }


def test_comparisons_of_several_metrics_and_baselines():
    other = COMPARISON._replace(
        metric="test/loss", baseline="skip=None", dropped=0, status="REFUTED", seeds_needed=1_000_000
    )
    heading, columns = tables.comparisons(verdict(COMPARISON, other))
    cells = by_name(columns)
    assert heading == "Differences in several metrics"
    assert cells["metric"] == ("test/accuracy", "test/loss")
    assert cells["baseline"] == ("skip=False", "skip=None")
    assert cells["seeds needed"] == ("5", "≥ 1000000")
    assert cells["says"] == ("supported", "refuted")
    _, columns = tables.comparisons(verdict(other))
    assert not {"dropped", "failed", "baseline failed"} & {*by_name(columns)}
    _, columns = tables.comparisons(verdict(other._replace(failed=3)))
    assert by_name(columns)["failed"] == ("3",)


def test_configs_are_split_into_what_is_shared_and_what_differs():
    configs = crossed().meta["configs"]
    assert by_name(tables.shared_config(configs)) == {"field": ("lr",), "value": ("0.001",)}
    assert [*by_name(tables.arm_configs(configs, configs))] == ["arm", "depth", "skip"]
    one = {"base": {"lr": 0.1}}
    assert tables.arm_configs(one, one) == ()
    assert by_name(tables.shared_config(one))["field"] == ("lr",)


def test_programs_leave_out_what_no_program_tells():
    rows = [{"arms": ["a", "b", "c", "d"], "members": 3}, {"arms": ["e"], "members": 1}]
    assert by_name(tables.programs(rows)) == {"arms": ("a to d (4 arms)", "e"), "members": ("3", "1")}
    assert tables.programs([]) == ()


def test_missing_values_are_counted_beside_the_mean_of_the_others():
    result = single()
    frame = pd.concat([result.frame.assign(seed=seed) for seed in range(3)])
    metric = result.metrics[0]
    frame.loc[frame["seed"] == 1, metric] = np.nan
    columns = by_name(tables.results(dataclasses.replace(result, frame=frame)))
    assert columns[metric][0].endswith(" (1 missing)")
    assert "missing" not in columns[result.metrics[1]][0]
