"""Arms that are one program with the same inputs, and those that only look so."""

import pytest

import fdl
from fdl.sweeps.population import groups_of
from fdl.sweeps.twins import run_of, twins_in
from tests.sweeps.traps import Config, experiment


def trained(space: fdl.sweeps.Sweep) -> dict[str, str]:
    """By the name of every arm that is not trained that of the one that is."""
    groups = groups_of(experiment, space.trials, folder=None)
    arms = {run_of(trial): trial.arm for trial in space.trials}
    return {arms[run]: of.arm for run, of in twins_in(groups).items()}


@pytest.mark.parametrize("fields", [
    {"unread": (0.0, 1.0)},
    {"label": ("a", "b")},
    {"warm": (2.0, 3.0)},
    {"variant": (0, 1)},
    {"trap": ("host",), "unread": (0.0, 1.0), "label": ("a",)},
    {"trap": ("host",), "label": ("a", "b")},
    {"lr": (0.1, 0.1 + 1e-12)},  # one number in float32, as which the program gets it
])  # fmt: skip
def test_an_arm_that_changes_nothing_is_the_same(fields):
    space = fdl.grid(Config(), **fields, seeds=2)
    first, second = dict.fromkeys(trial.arm for trial in space.trials)
    assert trained(space) == {second: first}


@pytest.mark.parametrize("fields", [
    {"lr": (0.1, 0.10000001)},  # the next number in float32
    {"warmed": (False, True)},
    *({"trap": (trap,), "variant": (0, 1)} for trap in (
        "other field", "schedule", "key", "callback", "vmap", "constant", "evaluation", "inspect", "data",
        "host", "steps", "log",
    )),
])  # fmt: skip
def test_an_arm_that_changes_something_is_trained(fields):
    assert trained(fdl.grid(Config(), **fields, seeds=1)) == {}


def test_a_field_that_a_flag_turns_on_counts_where_it_is_on():
    space = fdl.grid(Config(), warmed=(False, True), warm=(2.0, 3.0))
    assert trained(space) == {"warmed=False warm=3": "warmed=False warm=2"}


def test_a_seed_is_an_input():
    one, other = (fdl.grid(Config(), unread=(value,), seeds=(seed,)) for value, seed in ((0.0, 0), (1.0, 1)))
    assert trained(one + other) == {}
