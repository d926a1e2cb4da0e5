"""What a search asks of Optuna's samplers: the same trials whichever process asks, and values that fit."""

import contextlib
import functools
import importlib.util

import optuna
import pytest

import fdl
from fdl.sweeps.asking import Asking, asked, check_sampler, check_storage, opened_study, tell
from fdl.sweeps.drawn import values_in


@fdl.config
class Net:
    depth: int = fdl.static(2, low=1)


@fdl.config
class Config:
    lr: float = fdl.traced(0.1, low=0.0)
    width: int = 4
    optimizer: str = "adam"
    momentum: float = 0.0
    net: Net = Net()


FLAT = fdl.space(Config(), lr=fdl.log_uniform(1e-4, 1.0), momentum=fdl.uniform(0.0, 0.9))
MIXED = fdl.space(
    Config(),
    lr=fdl.log_uniform(1e-4, 1.0),
    width=fdl.log_uniform(1.5, 64),
    optimizer=fdl.choice("adam", "sgd"),
    momentum=fdl.uniform(0.5, 0.9).when(optimizer="sgd"),
    **{"net.depth": fdl.choice(1, 2, 8)},
)
SAMPLERS = ("tpe", "cmaes", "nsgaii", "qmc", "random", pytest.param("gp", marks=pytest.mark.slow))
POPULATION, TRIALS = 4, 20
FEWER = {"gp": 16}
"""Where a search of `TRIALS` takes long: 10 drawn by chance, as Optuna's begin, and 6 by the model."""


def value(row):
    return None if row[0] > 0.5 else [abs(row[0] - 0.01) + abs(row[1] - 0.6)]


def count(sampler):
    """How many trials a search has here."""
    return FEWER.get(sampler, TRIALS)


def trials(sampler, space, *, journal=None, draw_seed=0, sides=("lower",), value=value):
    """The trials of a whole search; with a journal it is opened again before every step."""
    rows, following = [], 0
    with contextlib.ExitStack() as stack:

        def asking():
            if journal or not rows:
                study = stack.enter_context(opened_study("search", journal, None, sides))
                made.append(Asking(study, space, sampler, draw_seed, POPULATION))
            return made[-1]

        made = []
        for start in range(0, count(sampler), POPULATION):
            batch = []
            for _ in range(POPULATION):
                number, row = asked(asking(), following)
                batch, rows, following = [*batch, number], [*rows, row], number + 1
            for number, row in zip(batch, rows[start:], strict=True):
                tell(asking(), number, value(row))
    return rows


@functools.cache
def plain(sampler):
    """The trials of a search that one process makes in memory, in a space without constraints."""
    return trials(sampler, FLAT)


def needed(sampler):
    if sampler == "gp":
        pytest.importorskip("torch")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_trials_are_the_same_from_one_process_and_from_many(sampler, tmp_path):
    needed(sampler)
    one = plain(sampler)
    assert trials(sampler, FLAT, journal=str(tmp_path / "journal")) == one
    assert trials(sampler, FLAT, draw_seed=1) != one
    if sampler != "nsgaii":  # whose children may be like a parent
        assert len(set(map(tuple, one))) == count(
            sampler
        )  # the liar: no trial is asked twice before it is told


NARROW = FLAT.where(lambda config: config.lr < 0.03).where(lambda config: config.momentum < 0.6)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_a_space_does_not_allow_is_asked_again_and_no_trial(sampler, tmp_path):
    needed(sampler)
    journal = str(tmp_path / "journal")
    rows = trials(sampler, NARROW, journal=journal)
    assert len(rows) == count(sampler) and all(lr < 0.03 and momentum < 0.6 for lr, momentum in rows)
    assert trials(sampler, NARROW) == rows
    assert trials(sampler, FLAT.where(lambda config: True)) == plain(sampler)
    with opened_study("search", journal, None, ["lower"]) as study:
        kept = study.get_trials()
    refused = [trial for trial in kept if trial.constraints]
    assert len(kept) == count(sampler) + len(refused) > count(sampler)
    assert {trial.state.name for trial in refused} == {"PRUNED"}
    for trial in kept:
        allowed = trial.params["lr"] < 0.03 and trial.params["momentum"] < 0.6
        assert trial.constraints == ({} if allowed else {"allowed": 1.0})


def test_a_space_that_allows_nothing_ends_in_one_line(monkeypatch):
    with pytest.raises(ValueError, match="allow none of 1000 configs drawn from the space"):
        FLAT.where(lambda config: config.lr > 2)
    with pytest.raises(ValueError, match=r"a constraint is 1.0 for Config.*; expected True or False"):
        FLAT.where(lambda config: 1.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the constraint is 3; expected a function"):
        FLAT.where(3)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr("fdl.sweeps.asking.TRIES", 5)
    nothing = FLAT._replace(constraints=(lambda config: False,))
    with opened_study("search", None, None, ["lower"]) as study:
        with pytest.raises(ValueError, match="none of 5 configs in a row that random asked for"):
            asked(Asking(study, nothing, "random", 0, POPULATION), 0)
        assert len(study.get_trials()) == 5


def test_another_process_that_asks_too_ends_in_one_line(monkeypatch):
    with opened_study("search", None, None, ["lower"]) as study:
        ask = study.ask
        monkeypatch.setattr(study, "ask", lambda: (ask(), ask())[1])
        with pytest.raises(ValueError, match="another process asks for trials of this search"):
            asked(Asking(study, FLAT, "random", 0, POPULATION), 0)


def loss_and_size(row):
    return None if row[0] > 0.5 else [abs(row[0] - 0.01), row[1]]


@pytest.mark.parametrize("sampler", [one for one in SAMPLERS if one != "cmaes"])
def test_several_metrics_are_asked_alike_from_many_processes(sampler, tmp_path):
    needed(sampler)
    told = {"sides": ("lower", "higher"), "value": loss_and_size}
    one = trials(sampler, FLAT, **told)
    assert trials(sampler, FLAT, journal=str(tmp_path / "journal"), **told) == one
    opposite = trials(sampler, FLAT, **{**told, "sides": ("higher", "lower")})
    assert (opposite == one) == (sampler in ("qmc", "random"))  # which learn nothing


def test_a_generation_of_nsgaii_is_a_population_also_where_runs_fail_or_are_not_allowed():
    with opened_study("search", None, None, ["lower"]) as study:
        asking, following = Asking(study, NARROW, "nsgaii", 0, POPULATION), 0
        for start in range(0, TRIALS, POPULATION):
            batch = []
            for trial in range(start, start + POPULATION):
                number, row = asked(asking, following)
                batch, following = [*batch, (number, None if trial % 3 else [row[0]])], number + 1
            for number, values in batch:
                tell(asking, number, values)
        kept = [trial for trial in study.get_trials() if not trial.constraints]
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in kept]
    assert generations == [number // POPULATION for number in range(TRIALS)]


def test_a_sampler_learns_from_what_it_is_told():
    late = {sampler: plain(sampler)[-POPULATION:] for sampler in ("tpe", "random")}
    worst = {name: max((value(row) or [9.0])[0] for row in rows) for name, rows in late.items()}
    assert worst["tpe"] < worst["random"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_values_are_of_the_space_and_count_where_their_condition_holds(sampler):
    needed(sampler)
    rows = trials(sampler, MIXED)
    assert {row[2] for row in rows} == {"adam", "sgd"}
    for lr, width, optimizer, momentum, depth in rows:
        assert 1e-4 <= lr <= 1.0 and isinstance(width, int) and 2 <= width <= 64 and depth in (1, 2, 8)
        assert 0.5 <= momentum <= 0.9 if optimizer == "sgd" else momentum == 0.0


def test_a_trial_that_was_asked_in_part_is_asked_to_its_end(tmp_path, monkeypatch):
    whole = trials("tpe", FLAT)[0]
    with opened_study("search", None, tmp_path, ["lower"]) as study:
        asking = Asking(study, FLAT, "tpe", 0, POPULATION)
        with monkeypatch.context() as patched:
            draw, left = optuna.trial.Trial.suggest_float, [1]

            def once(*words, **more):
                if not left:
                    raise KeyboardInterrupt
                left.pop()
                return draw(*words, **more)

            patched.setattr(optuna.trial.Trial, "suggest_float", once)
            with pytest.raises(KeyboardInterrupt):
                asked(asking, 0)
        (trial,) = study.get_trials()
        assert list(trial.params) == ["lr"]
    with opened_study("search", None, tmp_path, ["lower"]) as study:
        assert asked(Asking(study, FLAT, "tpe", 0, POPULATION), 0) == (0, whole)
        assert len(study.get_trials()) == 1


def test_what_is_told_is_what_optuna_keeps(tmp_path):
    with opened_study("search", str(tmp_path / "journal"), tmp_path, ["higher"]) as study:
        asking = Asking(study, FLAT, "random", 0, POPULATION)
        for number, told in enumerate(([0.25], None)):
            asked(asking, number)
            tell(asking, number, told)
            tell(asking, number, [3.0])  # told already
        kept = study.get_trials()
    assert [trial.value for trial in kept] == [0.25, None]
    assert kept[1].state == optuna.trial.TrialState.PRUNED
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert (tmp_path / "journal").exists() and not (tmp_path / "trials.db").exists()


def test_a_sample_keeps_to_conditions_too():
    drawn = fdl.sample(Config(), n=30, optimizer=MIXED.fields["optimizer"], momentum=MIXED.fields["momentum"])
    configs = [trial.config for trial in drawn.trials]
    assert {config.momentum for config in configs if config.optimizer == "adam"} == {0.0}
    assert min(config.momentum for config in configs if config.optimizer == "sgd") >= 0.5


def test_values_follow_the_order_of_the_space():
    assert values_in(MIXED, {"lr": 1, "width": 2, "optimizer": "adam", "net.depth": 3}.__getitem__) == [
        *(1, 2, "adam", 0.0, 3)
    ]


SPACES = {
    "no field": (dict, "no fields to search"),
    "another field": (lambda: {"rate": fdl.uniform(0, 1)}, "no field 'rate'"),
    "no distribution": (lambda: {"lr": (0.1, 0.2)}, "expected fdl.uniform"),
    "out of bounds": (lambda: {"lr": fdl.uniform(-1.0, 1.0)}, "lr"),
    "another type": (lambda: {"optimizer": fdl.choice("adam", 3)}, "optimizer"),
    "no whole number": (lambda: {"width": fdl.uniform(2.2, 2.8)}, "there is none from 2.2 to 2.8"),
    "a value twice": (lambda: {"width": fdl.choice(2, 3, 2)}, "has 2 twice"),
    "a condition that comes later": (
        lambda: {"momentum": MIXED.fields["momentum"], "optimizer": fdl.choice("adam", "sgd")},
        "'optimizer'; name that before it",
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_bad_space_is_one_line(name):
    fields, says = SPACES[name]
    with pytest.raises(ValueError, match=says) as error:
        fdl.space(Config(), **fields())
    assert "\n" not in str(error.value)


def test_what_is_not_installed_is_named(monkeypatch):
    found = importlib.util.find_spec
    for library, says in {"optuna": r"fdl\[search\]", "cmaes": "cmaes needs cmaes: pip install"}.items():
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name, lacking=library: None if name == lacking else found(name)
        )
        with pytest.raises(ValueError, match=says):
            check_sampler("cmaes", 4, several=False)


def test_what_a_sampler_cannot_do_is_one_line():
    with pytest.raises(ValueError, match="cmaes knows one metric alone"):
        check_sampler("cmaes", 4, several=True)
    with pytest.raises(ValueError, match="population is 1; the sampler nsgaii"):
        check_sampler("nsgaii", 1, several=False)


def test_a_storage_that_cannot_be_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="give a workdir too"):
        check_storage("sqlite:///x", None)
    with pytest.raises(ValueError, match="a folder that is there"):
        check_storage(str(tmp_path / "nowhere" / "journal"), tmp_path)
    with (
        pytest.raises(ValueError, match="storage cannot be opened"),
        opened_study("search", "nothing://x", tmp_path, ["lower"]),
    ):
        pass
