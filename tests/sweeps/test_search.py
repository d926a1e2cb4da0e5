"""Searches: what is asked is trained once, a trial is one number, and others judge than those that chose."""

import functools
import json
import os
from pathlib import Path

import numpy as np
import optuna
import pytest

import fdl
from fdl.cli import main
from fdl.experiment import Best
from fdl.sweeps import asking, check, programs, twins
from fdl.train import Progress, autotune
from fdl.train.folder import held, identity_in
from tests.searched import SEARCH, TOO_MUCH, Config, experiment

pytestmark = pytest.mark.usefixtures("one_program")
GOAL = {"metric": "validation/loss", "better": "lower"}
ASKED = {"trials": 8, "population": 4, "seeds": 2, "judges": 3, "members": 4, "sampler": "random", **GOAL}
RANGE = fdl.space(SEARCH.config, lr=SEARCH.fields["lr"])


@functools.cache
def found() -> fdl.Search:
    """A search among some configs that fail, in memory."""
    return fdl.search(experiment, SEARCH, **ASKED)


def values() -> list[tuple[Config, float | None]]:
    """The value of every trial, from its runs alone."""
    last = found().result.last()
    told = []
    for trial in found().judged.meta["search"]["trials"]:
        config = Config(steps=8, lr=trial["lr"], noise=trial["noise"])
        own = last[(last["lr"] == config.lr) & (last["noise"] == config.noise)]
        told.append((config, float(own["validation/loss"].mean()) if len(own) else None))
    return told


@pytest.mark.medium
def test_several_seeds_are_one_trial_and_a_failed_run_is_none():
    trials = found().judged.meta["search"]["trials"]
    assert [trial["trial"] for trial in trials] == list(range(8))
    assert [trial["validation/loss"] for trial in trials] == [value for _, value in values()]
    assert {trial["validation/loss"] is None for trial in trials if trial["noise"] == TOO_MUCH} == {True}
    assert {trial["validation/loss"] is None for trial in trials if trial["noise"] < TOO_MUCH} == {False}
    assert set(found().result.runs()["seed"]) == {0, 1}


@pytest.mark.medium
def test_the_best_mean_is_chosen_and_judged_by_other_seeds():
    config, _ = min(((c, v) for c, v in values() if v is not None), key=lambda one: one[1])
    assert found().config == config
    judged = found().judged
    assert judged.runs()["seed"].tolist() == [2, 3, 4] and set(judged.runs()["lr"]) == {config.lr}
    alone = fdl.sweep(experiment, fdl.grid(config, seeds=(2, 3, 4)), members=4)
    np.testing.assert_array_equal(judged.last()["test/loss"], alone.last()["test/loss"])
    assert judged.selection and set(judged.selection.candidates.values()) == {8}
    assert judged.meta["configs"].keys() == set(judged.runs()["arm"])


@pytest.mark.medium
def test_populations_after_the_first_trace_nothing(tmp_path, monkeypatch):
    def says(config: Config) -> fdl.Experiment:
        one = experiment(config)
        return one._replace(learner=one.learner._replace(predict=lambda state, batch: {"x": batch["x"]}))

    traced, seen = [], []
    places = ((check, "check"), (twins, "_program"), (programs, "autotune"), (programs, "prediction_of"))
    for module, name in places:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real, **b: traced.append(real) or real(*a, **b))
    progress = Progress(evaluated=lambda _: seen.append(len(traced)))
    fdl.search(says, RANGE, **{**ASKED, "trials": 12}, progress=progress, workdir=tmp_path / "work")
    assert len(seen) == 14  # three populations of two units, and those that judge, evaluated twice each
    assert seen[0] == seen[11] == 4


@pytest.mark.medium
def test_a_config_that_comes_again_is_trained_once():
    space = fdl.space(SEARCH.config, lr=fdl.choice(0.01, 0.1))
    again = fdl.search(experiment, space, **{**ASKED, "trials": 12})
    trials = again.judged.meta["search"]["trials"]
    assert len(trials) == 12 and len({trial["validation/loss"] for trial in trials}) == 2
    assert len(again.result.runs()) == 4


@pytest.mark.medium
def test_the_same_command_only_reads_and_more_trials_go_on(tmp_path, monkeypatch, capsys):
    words = f"search {Path(experiment.__code__.co_filename)} --population 4 --seeds 2 --members 4 --judges 3"
    words += f" --sampler random --metric validation/loss --better lower --json --workdir {tmp_path}/work"

    def run(trials: int) -> tuple[dict, str]:
        assert main([*words.split(), "--trials", str(trials)]) == 0
        out, error = capsys.readouterr()
        return json.loads(out), error

    first, shown = run(4)
    (arm,) = first["arms"]
    assert arm["runs"] == 3 and "The best 4 of 4 trials by validation/loss, lower being better" in shown
    (database,) = (tmp_path / "work" / "searches").glob("*/trials.db")
    kept = optuna.load_study(study_name=None, storage=f"sqlite:///{database}").get_trials()
    assert [trial.number for trial in kept] == [0, 1, 2, 3]
    units = {path: path.read_bytes() for path in (tmp_path / "work" / "units").rglob("*.json*")}
    with monkeypatch.context() as patched:
        patched.setattr(autotune, "compile_program", None)  # nothing is trained
        again, _ = run(4)
        database.unlink()  # the same trials are asked again, and their runs are there
        assert run(4)[0] == again == first
    more, shown = run(8)
    assert all(path.read_bytes() == content for path, content in units.items())
    pages = [page.read_text() for page in (tmp_path / "work").rglob("report.html")]
    assert sum("The best 8 of 8 trials by validation/loss" in page for page in pages) == 1 < len(pages)
    with pytest.warns(UserWarning, match="is of a search"):
        fdl.load(tmp_path / "work")
    values = found().judged.meta["search"]["trials"]
    assert "The best 8 of 8 trials" in shown and all(f"{t['lr']:.6g}" in shown for t in values)
    assert more["arms"][0]["arm"] == found().judged.runs()["arm"][0]
    with held(database.parent, identity_in(database.parent) or {}):
        assert main([*words.split(), "--trials", "8"]) == 2
    assert f"is in use by process {os.getpid()} on " in capsys.readouterr().err


@pytest.mark.medium
def test_what_the_space_does_not_allow_is_never_built(tmp_path):
    def refusing(config: Config) -> fdl.Experiment:
        assert config.power == 1
        return experiment(config)

    either = fdl.space(SEARCH.config, lr=SEARCH.fields["lr"], power=fdl.choice(1, 2))
    asks = {**ASKED, "trials": 4, "seeds": 1, "workdir": tmp_path}
    told = fdl.search(refusing, either.where(lambda config: config.power == 1), **asks).judged.meta["search"]
    assert [trial["power"] for trial in told["trials"]] == [1] * 4 and told["refused"] > 0
    fewer = either.where(lambda config: config.power == 1 and config.lr > 0.01)
    assert (
        min(one["lr"] for one in fdl.search(refusing, fewer, **asks).judged.meta["search"]["trials"]) > 0.01
    )
    assert len(list((tmp_path / "searches").iterdir())) == 2  # other constraints, another search


WRONG = {
    "metric of test": (
        {"metric": "test/loss"},
        "'test/loss': what chooses may not judge; expected a validation",
    ),
    "metric of train": ({"metric": "train/loss"}, "what chooses may not judge"),
    "metric that is not there": (
        {"metric": "validation/los"},
        "'validation/los'; there are: ",
    ),
    "no metric": ({"metric": None}, "no metric to search by"),
    "no direction": ({"better": None}, "which way is validation/loss better"),
    "another direction": ({"better": "up"}, "better is 'up'"),
    "several metrics, one of them not there": (
        {"metric": ["validation/loss", "validation/b"], "better": "lower"},
        "no metric 'validation/b'; there are: ",
    ),
    "a metric twice": ({"metric": ["validation/loss"] * 2}, "name each once"),
    "one metric, two sides": (
        {"better": ["lower", "higher"]},
        "1 metric (validation/loss), and which way is better is said of 2; say it of each",
    ),
    "several metrics of one": (
        {"metric": ["validation/loss", "validation/b"], "sampler": "cmaes"},
        "cmaes knows one metric alone",
    ),
    "another sampler": ({"sampler": "grid"}, "sampler is 'grid'"),
    "no trial": ({"trials": 0}, "trials is 0"),
    "no seed": ({"seeds": 0}, "seeds is 0"),
    "a storage alone": ({"storage": "journal"}, "give a workdir too"),
    "a sweep": ({"space": fdl.grid(Config())}, "Space"),
    "a value that no experiment takes": (
        {"space": fdl.space(Config(), power=fdl.choice(1, 2)), "experiment": "refusing"},
        "no power of 2",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_line_before_anything_is_compiled_or_written(name, tmp_path, monkeypatch):
    monkeypatch.setattr(autotune, "compile_program", None)
    monkeypatch.setattr(asking, "asked", None)
    changed, says = WRONG[name]
    given = {"space": SEARCH, "experiment": experiment, **ASKED, **changed}
    build, space = given.pop("experiment"), given.pop("space")

    def refusing(config: Config) -> fdl.Experiment:
        if config.power == 2:
            raise ValueError("no power of 2")
        return experiment(config)

    place = {} if "storage" in changed else {"workdir": tmp_path / "work"}
    with pytest.raises(ValueError) as error:
        fdl.search(refusing if build == "refusing" else build, space, **given, **place)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


HEAD = "import fdl\nfrom tests.searched import Config, experiment\n"
SEARCHED = "SEARCH = fdl.space(Config(), lr=fdl.uniform(0.1, 0.2))"
FILES = {
    "no space": ("", "", "the file has no SEARCH"),
    "a sweep": ("SEARCH = fdl.grid(Config())", "", "SEARCH is a Sweep; expected fdl.space(Config(), ...)"),
    "another config": (
        f"Other = Config\n{SEARCHED}\n@fdl.config\nclass Config: pass",
        "",
        "expected Config's",
    ),
    "a field that is searched": (SEARCHED, "--lr 0.1", "lr is given one value and searched"),
    "a grid": (SEARCHED, "--grid.lr 0.1", "--grid.lr"),
    "two metrics": (SEARCHED, "--metric validation/a --best validation/b", "name two metrics"),
    "another side": (SEARCHED, "--metric validation/loss --better lower,up", "better='up' is neither"),
    "a metric of test beside another": (
        SEARCHED,
        "--metric validation/loss,test/loss --better lower,lower",
        "the metric is 'test/loss': what chooses may not judge",
    ),
    "best of test": (SEARCHED, "--best test/loss --better lower", "what chooses may not judge"),
    "a metric of test": (SEARCHED, "--metric test/loss --better lower", "what chooses may not judge"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_command_that_cannot_search_ends_in_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text, words, says = FILES[name]
    Path("file.py").write_text(f"{HEAD}{text}\n")
    assert main(["search", "file.py", *words.split()]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not list(tmp_path.glob("runs"))


@pytest.mark.medium
def test_the_experiment_itself_may_say_by_what():
    def keeps_best(config: Config) -> fdl.Experiment:
        return experiment(config)._replace(best=Best("validation/loss", "lower"))

    asks = {**ASKED, "metric": None, "better": None, "trials": 2}
    search = fdl.search(keeps_best, RANGE, **asks).judged.meta["search"]
    assert search["better"] == {"validation/loss": "lower"}


@pytest.mark.medium
def test_where_every_trial_fails_nothing_is_chosen():
    said: list[str] = []
    space = fdl.space(SEARCH.config, noise=fdl.choice(TOO_MUCH))
    with pytest.raises(ValueError, match="no trial has a finite validation/loss"):
        fdl.search(experiment, space, **ASKED, progress=Progress(say=said.append))
    assert said[-1] == "trials: 8 of 8, none with a finite validation/loss"
