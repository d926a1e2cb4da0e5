"""Searches by several metrics: the Pareto front, and fresh seeds that judge it."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import fdl
from fdl.cli import main
from fdl.sweeps.goal import pareto_front
from tests.searched import SEARCH, TOO_MUCH, weighed

pytestmark = pytest.mark.usefixtures("one_program")
BETTER: dict[str, Any] = {"validation/loss": "lower", "validation/size": "higher"}
ASKED = {"trials": 8, "population": 8, "judges": 3, "members": 4, "sampler": "nsgaii"}


@pytest.mark.parametrize("sides", [("lower", "higher"), ("higher", "higher", "lower"), ("lower",)])
def test_the_front_is_that_of_optuna(sides):
    values = np.random.default_rng(0).integers(0, 99, (40, len(sides))).astype(float)
    study = optuna.create_study(directions=["maximize" if one == "higher" else "minimize" for one in sides])
    for row in values:
        study.add_trial(optuna.trial.create_trial(values=row.tolist()))
    wanted = {trial.number for trial in study.best_trials}
    found = pareto_front({number: tuple(row) for number, row in enumerate(values)}, sides)
    if len(sides) > 1:
        assert set(found) == wanted and 1 < len(found) < 40
    assert values[found[0], 0] == (max if sides[0] == "higher" else min)(values[:, 0])


@functools.cache
def found() -> fdl.Search:
    space = fdl.space(SEARCH.config, lr=fdl.uniform(0.05, 0.5), noise=fdl.choice(0.0, 0.5, TOO_MUCH))
    return fdl.search(weighed, space, metric=list(BETTER), better=list(BETTER.values()), **ASKED)


@pytest.mark.medium
def test_no_config_of_the_front_is_beaten_and_all_others_are():
    last = found().result.last().dropna(subset=list(BETTER)).set_index("arm")[list(BETTER)]
    told = found().judged.meta["search"]["trials"]
    assert len(told) == 8 and any(trial["validation/size"] is None for trial in told)  # it failed
    rows = {str(arm): row.to_numpy(float) * (1, -1) for arm, row in last.iterrows()}
    beaten = {
        arm: any((other <= row).all() and (other < row).any() for other in rows.values())
        for arm, row in rows.items()
    }
    assert {arm for arm, lost in beaten.items() if not lost} == set(found().front)
    assert 0 < len(found().front) < len(rows) and found().config is None


@pytest.mark.medium
def test_the_whole_front_is_judged_by_fresh_seeds():
    judged = found().judged
    runs = judged.runs()
    assert {arm: set(part) for arm, part in runs.groupby("arm")["seed"]} == {
        arm: {1, 2, 3} for arm in found().front
    }
    for arm, config in found().front.items():
        own = runs[runs["arm"] == arm]
        assert set(own["lr"]) == {config.lr} and set(own["noise"]) == {config.noise}
    config = next(iter(found().front.values()))
    alone = fdl.sweep(weighed, fdl.grid(config, seeds=(1, 2, 3)), members=4).last()
    first = judged.last()[judged.last()["arm"] == next(iter(found().front))]
    np.testing.assert_array_equal(first["test/size"], alone["test/size"])
    assert judged.selection and judged.selection.by == tuple(BETTER)
    assert set(judged.selection.candidates.values()) == {len(found().result.runs())}


@pytest.mark.medium
def test_a_command_reports_the_front_with_its_figure(tmp_path, capsys):
    file = tmp_path / "file.py"
    file.write_text(
        "import fdl\nfrom tests.searched import SEARCH, TOO_MUCH, Config\n"
        "from tests.searched import weighed as experiment\n"
        "noise = fdl.choice(0.0, 0.5, TOO_MUCH)\n"
        "SEARCH = fdl.space(SEARCH.config, lr=fdl.uniform(0.05, 0.5), noise=noise)\n"
    )
    words = f"search {file} --trials 8 --population 8 --judges 3 --members 4 --sampler nsgaii"
    words += f" --json --metric {','.join(BETTER)} --better lower,higher --workdir {tmp_path}/work"
    assert main(words.split()) == 0
    out, shown = capsys.readouterr()
    assert {arm["arm"]: arm["runs"] for arm in json.loads(out)["arms"]} == dict.fromkeys(found().front, 3)
    told = (
        f"The front: {len(found().front)} of 8 trials by validation/loss, lower being better and validation"
    )
    assert told in " ".join(shown.split())
    (page,) = (tmp_path / "work").rglob("report.html")
    assert 'alt="The front: ' in page.read_text()
    assert Path(page.parent / "figures" / "search-front.png").exists()
