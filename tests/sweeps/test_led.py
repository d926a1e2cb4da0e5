"""Searches whose populations a scheduler leads: who is stopped, what the sampler is told, what is chosen."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import fdl
from fdl.cli import main
from fdl.sweeps import asking, led
from fdl.sweeps.asking import Asking, asked, opened_study, tell
from fdl.train import autotune
from tests.searched import SEARCH, TOO_MUCH, experiment
from tests.toy import Config

pytestmark = pytest.mark.usefixtures("one_program")
LOSS: dict[str, Any] = {"metric": "validation/loss", "better": "lower"}
STEPS, POPULATION, TRIALS = 16, 4, 12
ASHA = fdl.asha(first=4, factor=2, population=POPULATION, run_on=0.25, **LOSS)
HALVING = fdl.successive_halving(first=4, factor=2, run_on=0.0, **LOSS)
SPACE = fdl.space(Config(steps=STEPS), lr=SEARCH.fields["lr"], noise=fdl.choice(0.0, 0.01, TOO_MUCH))
HOW: dict[str, Any] = {"population": POPULATION, "seeds": 2, "judges": 2, "mesh": {"population": 1}}


@functools.cache
def found(scheduler: fdl.Scheduler = ASHA) -> fdl.Search:
    return fdl.search(experiment, SPACE, trials=TRIALS, scheduler=scheduler, sampler="random", **HOW)


def told(search: fdl.Search) -> list[dict[str, Any]]:
    return search.judged.meta["search"]["trials"]


@functools.cache
def curves() -> dict[int, np.ndarray]:
    """Of each trial the means over seeds every 4 steps, without a scheduler; inf if one fails."""
    values = {}
    configs = [Config(steps=STEPS, lr=one["lr"], noise=one["noise"]) for one in told(found())]
    result = fdl.sweep(experiment, fdl.zip_(
        configs[0],
        lr=[config.lr for config in configs],
        noise=[config.noise for config in configs],
        seeds=2,
    ), mesh={"population": 1})  # fmt: skip
    for number, config in enumerate(configs):
        own = result.frame[(result.frame["lr"] == config.lr) & (result.frame["status"] == "finished")]
        means = own.groupby("step")[LOSS["metric"]].mean().to_numpy()
        values[number] = means if len(own) == 2 * STEPS // 4 else np.full(4, np.inf)
    return values


@pytest.mark.medium
def test_asha_holds_a_population_against_all_earlier_ones():
    """The rule of Li et al. 2020 on the curves of all trials: among the best half of those at the rung."""
    expected: dict[int, Any] = {}
    there: dict[int, list[float]] = {0: [], 1: []}
    for start in range(0, TRIALS, POPULATION):
        racing = list(range(start, start + POPULATION))
        for rung in there:
            there[rung] += [curves()[i][rung] for i in racing if np.isfinite(curves()[i][rung])]
            best = sorted(there[rung])[: max(1, len(there[rung]) // 2)]
            left = [i for i in racing if curves()[i][rung] > best[-1] or not np.isfinite(curves()[i][rung])]
            expected |= dict.fromkeys(left, 4 * 2**rung)
            racing = [i for i in racing if i not in left]
    left = found().judged.meta["schedule"]["left"]
    assert {int(arm.partition(":")[0]): one["step"] for arm, one in left.items()} == expected
    assert 4 in expected.values() and 8 in expected.values() and len(expected) < TRIALS


@pytest.mark.medium
def test_halving_takes_each_population_by_itself():
    rungs = found(HALVING).judged.meta["schedule"]["rungs"]
    assert [(one["population"], one["step"], one["arms"]) for one in rungs] == [
        (population, step, arms) for population in range(3) for step, arms in ((4, 4), (8, 2))
    ]


@pytest.mark.medium
def test_what_was_stopped_has_no_value_and_is_not_chosen():
    search, finals = found(), {number: own[-1] for number, own in curves().items()}
    ended = {
        one["trial"]: one["validation/loss"] for one in told(search) if one["validation/loss"] is not None
    }
    assert {one["trial"] for one in told(search) if one["stopped at"] is None} == set(ended) != set(finals)
    for number, value in ended.items():
        np.testing.assert_allclose(value, finals[number], rtol=2e-4)
    best = min(ended, key=lambda number: ended[number])
    assert search.config.lr == told(search)[best]["lr"]
    judged = search.judged
    assert not judged.stopped and judged.runs()["seed"].tolist() == [2, 3]
    assert judged.selection and set(judged.selection.candidates.values()) == {TRIALS}
    assert len(search.result.stopped) == TRIALS - len(ended)


@pytest.mark.medium
def test_what_it_saved_is_of_all_populations():
    result, saved = found().result, found().judged.meta["schedule"]["saved"]
    ends = result.frame[result.frame["status"] != "failed"].groupby(["arm", "seed"])["step"].max()
    assert saved["steps"] == ends.sum() + result.failures["step"].sum() < saved["steps_of_all"]
    assert saved["steps_of_all"] == 2 * TRIALS * STEPS
    drawn = sum(rung["ran_on"] for rung in found().judged.meta["schedule"]["rungs"])
    assert drawn == found().judged.meta["schedule"]["lost"]["ran_on"] > 0


def test_the_sampler_is_told_the_value_at_the_rung(tmp_path):
    with opened_study("search", str(tmp_path / "journal"), tmp_path, ["lower"]) as study:
        asks = Asking(study, SPACE, "random", 0, POPULATION)
        for number, stopped in enumerate(((4, 0.5), (8, 0.75), None)):
            asked(asks, number)
            if number == 1:  # the process died between the two
                optuna.trial.Trial(study, study.get_trials()[1]._trial_id).report(0.75, 8)
            tell(asks, number, None, stopped)
            tell(asks, number, None, (4, 3.0))  # told already
        kept = study.get_trials()
    assert {trial.state for trial in kept} == {optuna.trial.TrialState.PRUNED}
    assert [trial.value for trial in kept] == [0.5, 0.75, None]
    assert [trial.intermediate_values for trial in kept] == [{4: 0.5}, {8: 0.75}, {}]


FILE = """\
import fdl
from tests.searched import SEARCH as OTHER, experiment
from tests.toy import Config
SEARCH = fdl.space(Config(steps=16), lr=OTHER.fields["lr"])
SCHEDULER = fdl.asha(metric="validation/loss", better="lower", first=4, factor=2, population=4, run_on=0.0)
"""


@pytest.mark.slow
def test_the_same_command_only_reads_and_more_trials_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file.py").write_text(FILE)
    words = "search file.py --population 4 --judges 2 --json --mesh population=1 --workdir work"

    def run(trials: int) -> tuple[dict, str]:
        assert main([*words.split(), "--trials", str(trials)]) == 0
        out, error = capsys.readouterr()
        return json.loads(out), " ".join(error.split())

    first, shown = run(8)
    assert "left where the scheduler stopped them" in shown and "steps of all runs were taken" in shown
    (database,) = Path("work").glob("searches/*/trials.db")
    states = [
        t.state.name for t in optuna.load_study(study_name=None, storage=f"sqlite:///{database}").trials
    ]
    assert set(states) == {"COMPLETE", "PRUNED"} and len(states) == 8
    units = {path: path.read_bytes() for path in Path("work").glob("schedules/*/units/*/*.json*")}
    with monkeypatch.context() as patched:
        patched.setattr(autotune, "compile_program", None)  # nothing is trained
        assert run(8)[0] == first
        database.unlink()
        assert run(8)[0] == first
    run(12)
    assert all(path.read_bytes() == content for path, content in units.items())
    assert len(list(Path("work").glob("schedules/*/units/*/done.json"))) > sum(
        path.name == "done.json" for path in units
    )


WRONG = {
    "another metric": (
        {"metric": "validation/other"},
        "the search is by validation/other, lower being better",
    ),
    "another side": ({"better": "higher"}, "give both the same"),
    "a population in part": ({"trials": 10}, "no whole number of populations of 4"),
    "a rung that is not evaluated": (
        {"scheduler": fdl.asha(first=3, **LOSS)},
        "the scheduler has a rung at step 3",
    ),
    "none": ({"scheduler": "asha"}, "scheduler is 'asha'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_line_before_anything_is_compiled_or_written(name, tmp_path, monkeypatch):
    monkeypatch.setattr(autotune, "compile_program", None)
    monkeypatch.setattr(asking, "asked", None)
    changed, says = WRONG[name]
    how = {"trials": 8, "scheduler": ASHA, **HOW, **changed}
    with pytest.raises(ValueError) as error:
        fdl.search(experiment, SPACE, workdir=tmp_path / "work", **how)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.medium
def test_a_scheduler_gets_the_configs_and_the_curves_of_all_trials_in_their_order():
    seen = []

    def decide(known, configs, key):
        seen.append((known.values, [(config.lr, config.noise) for config in configs]))
        return ASHA.decide(known, configs, key)

    fdl.search(
        *(experiment, SPACE), trials=8, scheduler=ASHA._replace(decide=decide), sampler="random", **HOW
    )
    values, configs = seen[-1]
    assert configs == [(one["lr"], one["noise"]) for one in told(found())[:8]]
    sound = np.isfinite(values[:, 0])
    assert sound.tolist() == [np.isfinite(curves()[i][0]) for i in range(8)]
    np.testing.assert_allclose(values[sound, 0], [curves()[i][0] for i in range(8) if sound[i]], rtol=2e-4)


def test_who_runs_on_is_drawn_for_each_population():
    assert len({led.leads(HALVING, [None] * count, ()).draw_seed for count in range(5)}) == 5  # pyright: ignore
