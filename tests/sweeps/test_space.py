"""Sweeps are lists of trials."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np
import pytest
import scipy.stats

import fdl
from fdl.sweeps import Sweep, Trial, ablate, choice, grid, log_uniform, sample, uniform, zip_
from tests.toy import Config


def arms(space):
    return list(dict.fromkeys(trial.arm for trial in space.trials))


def test_a_grid_is_every_combination():
    space = grid(Config(), lr=(0.1, 0.2), power=(1, 2, 3), seeds=2)
    assert len(space.trials) == 12
    assert arms(space)[:2] == ["lr=0.1 power=1", "lr=0.1 power=2"]
    assert {(t.config.lr, t.config.power, t.seed) for t in space.trials} == {
        (lr, power, seed) for lr in (0.1, 0.2) for power in (1, 2, 3) for seed in (0, 1)
    }


def test_a_zip_pairs_values():
    space = zip_(Config(), lr=(0.1, 0.2), power=(1, 2))
    assert [(t.config.lr, t.config.power) for t in space.trials] == [(0.1, 1), (0.2, 2)]


def test_no_field_is_the_base():
    assert [trial.config for trial in grid(Config(), seeds=(5,)).trials] == [Config()]
    assert grid(Config(), seeds=(5,)).trials[0].seed == 5


def test_samples_follow_their_distributions():
    space = sample(
        Config(),
        n=2000,
        lr=log_uniform(1e-4, 1.0),
        noise=uniform(1.0, 3.0),
        power=choice(1, 2),
        steps=uniform(1, 9),
    )
    configs = [trial.config for trial in space.trials]
    logs = [np.log(config.lr) for config in configs]
    assert scipy.stats.kstest(logs, scipy.stats.uniform(np.log(1e-4), -np.log(1e-4)).cdf).pvalue > 1e-3
    assert scipy.stats.kstest([c.noise for c in configs], scipy.stats.uniform(1, 2).cdf).pvalue > 1e-3
    assert scipy.stats.binomtest(sum(c.power == 1 for c in configs), 2000).pvalue > 1e-3
    assert {type(c.steps) for c in configs} == {int} and {c.steps for c in configs} == set(range(1, 10))
    assert abs(np.corrcoef(logs, [c.noise for c in configs])[0, 1]) < 0.1, "each field has its own stream"


def test_samples_are_seeded_and_extend():
    draw = lambda n, seed: [t.config for t in sample(Config(), n=n, draw_seed=seed, lr=uniform(0, 1)).trials]  # noqa: E731
    assert draw(5, 0) == draw(9, 0)[:5] and draw(5, 0) != draw(5, 1)
    assert draw(1, 0)[0].lr == pytest.approx(0.5265859172049854), "the same on every Python version"


def test_ablations_take_away_and_add_by_name():
    space = ablate(
        Config(lr=0.1, noise=0.2, power=3), rate={"lr": 0.0}, noise={"noise": 0.0}, power={"power": 1}
    )
    configs = {trial.arm: trial.config for trial in space.trials}
    assert list(configs) == [
        "full", "full - rate", "full - noise", "full - power",
        "none + rate", "none + noise", "none + power", "none",
    ]  # fmt: skip
    assert configs["full - rate"] == Config(lr=0.0, noise=0.2, power=3)
    assert configs["none + rate"] == Config(lr=0.1, noise=0.0, power=1)
    assert configs["none"] == Config(lr=0.0, noise=0.0, power=1)


def test_sweeps_add_up_and_what_both_hold_is_run_once():
    both = grid(Config(), lr=(0.1, 0.2), seeds=2) + grid(Config(), lr=(0.2, 0.3), seeds=3)
    assert [(t.arm, t.seed) for t in both.trials] == [
        ("lr=0.1", 0), ("lr=0.1", 1), ("lr=0.2", 0), ("lr=0.2", 1), ("lr=0.2", 2),
        ("lr=0.3", 0), ("lr=0.3", 1), ("lr=0.3", 2),
    ]  # fmt: skip
    assert len(both.with_seeds(5).trials) == 15


def test_one_config_has_one_name():
    both = grid(Config(), lr=(0.1,)) + grid(Config(lr=0.1), power=(1,), seeds=2)
    assert [(t.arm, t.seed) for t in both.trials] == [("lr=0.1", 0), ("lr=0.1", 1)]


@pytest.mark.parametrize(("make", "words"), [
    (lambda: grid(Config(), rl=(1,)), "did you mean 'lr'"),
    (lambda: grid(Config(), lr=0.1), "tuple or list"),  # pyright: ignore
    (lambda: grid(Config(), link="ab"), "tuple or list"),
    (lambda: grid(Config(), lr=("x",)), "Config.lr is 'x'"),
    (lambda: grid(Config(), lr=(-1.0,)), "at least 0"),
    (lambda: grid(Config(), seeds=0), "seeds is 0"),
    (lambda: grid(Config(), seeds=(-1,)), "seeds is"),
    (lambda: grid(Config(), seeds=(0, True)), "seeds is or has True"),
    (lambda: grid(Config(), seeds=(0.0,)), "seeds is or has 0.0"),  # pyright: ignore
    (lambda: grid(Config(), seeds=(0, 2**32)), "4294967296 would be the same run as 0.*to 4294967295"),
    (lambda: grid(Config(), seeds=(2**63 + 5,)), "would be the same run as 5"),
    (lambda: grid(Config()).with_seeds((2**32,)), "the same run as 0"),
    (lambda: Sweep((Trial("run", Config(), 2**64),)), "the same run as 0"),
    (lambda: zip_(Config(), lr=(1.0, 2.0), power=(1,)), "different numbers"),
    (lambda: sample(Config(), n=0, lr=uniform(0, 1)), "n is 0"),
    (lambda: sample(Config(), n=3.0, lr=uniform(0, 1)), r"n is 3.0 \(float\); expected a whole number"),  # pyright: ignore
    (lambda: sample(Config(), n=3, lr=(0.1, 0.2)), "expected fdl.uniform"),  # pyright: ignore
    (lambda: grid(Config, lr=(0.1,)), "expected an instance of a config class"),
    (lambda: ablate(3, x={"lr": 1}), "expected an instance of a config class"),
    (lambda: log_uniform(0.0, 1.0), "low is 0.0; expected above 0"),
    (lambda: uniform(0.9, 0.1), "expected low <= high"),
    (lambda: uniform(0.1, float("nan")), r"high is nan \(float\); expected a number"),
    (lambda: ablate(Config(), x="lr"), "x='lr': expected values of fields"),  # pyright: ignore
    (lambda: choice(), "at least one"),
    (lambda: ablate(Config(), x={"rl": 1}), "did you mean 'lr'"),
    (lambda: grid(Config(), lr=(0.1,)) + grid(Config(power=2), lr=(0.1,)), "both called 'lr=0.1'"),
])  # fmt: skip
def test_bad_spaces_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_names_of_arms_never_collide_by_rounding():
    space = sample(Config(), n=1000, lr=uniform(0.1, 0.9)) + sample(
        Config(), n=1000, draw_seed=1, lr=uniform(0.1, 0.9)
    )
    assert len(set(arms(space))) == len({trial.config for trial in space.trials}) == 2000
    near = grid(Config(), lr=(0.1234561,)) + grid(Config(), lr=(0.1234562,))
    assert arms(near) == ["lr=0.1234561", "lr=0.1234562"]
    assert arms(near.with_fields(lr=0.5)) == ["lr=0.5"]
    assert arms(grid(Config(), lr=(0.1234561,))) == ["lr=0.123456"]


@dataclasses.dataclass(frozen=True)
class Net:
    depth: int = 1
    gain: float = 2.0


@fdl.config
class Nested:
    net: Net = Net()
    lr: float = 0.1


def test_fields_of_a_dataclass_inside_are_set_by_path():
    space = grid(Nested(), **{"net.depth": (1, 2)}, seeds=1)
    assert arms(space) == ["net.depth=1", "net.depth=2"]
    assert [trial.config.net for trial in space.trials] == [Net(1), Net(2)]
    other = space.with_fields(**{"net.gain": 3, "lr": 0.2})
    assert [trial.config for trial in other.trials] == [Nested(Net(1, 3.0), 0.2), Nested(Net(2, 3.0), 0.2)]
    assert arms(other) == ["net.depth=1 net.gain=3 lr=0.2", "net.depth=2 net.gain=3 lr=0.2"]
    whole = grid(Nested(), net=(Net(1), Net(2)))
    assert arms(whole) == ["net=Net(depth=1, gain=2.0)", "net=Net(depth=2, gain=2.0)"]
    assert arms(whole.with_fields(**{"net.gain": 3})) == [
        "net=Net(depth=1, gain=3.0)",
        "net=Net(depth=2, gain=3.0)",
    ]
    assert len({jax.tree.structure(trial.config) for trial in space.trials}) == 2, "each is its own program"
    drawn = sample(Nested(), n=3, seeds=1, draw_seed=0, **{"net.depth": uniform(2, 9)})
    assert {type(trial.config.net.depth) for trial in drawn.trials} == {int}
    for path, words in {
        "net.dept": "did you mean 'depth'",
        "lr.x": "has no field 'x'",
        "nets.a": "did you mean",
    }.items():
        with pytest.raises(ValueError, match=words):
            grid(Nested(), **{path: (1,)})


def test_a_value_that_python_calls_equal_is_a_change():
    one = grid(Mixed(), clip=(1,)).with_fields(clip=True)
    assert arms(one) == ["clip=True"] and one.trials[0].config.clip is True


@fdl.config
class Mixed:
    clip: int | float | bool | None = None
    make: Callable = np.tanh


def test_values_that_python_calls_equal_are_arms_of_their_own():
    space = grid(Mixed(), clip=(1, True, 1.0, None)) + grid(Mixed(), clip=(2, 0.1 + 0.2, 0.3))
    assert arms(space) == [
        "clip=1", "clip=True", "clip=1.0", "clip=None", "clip=2", "clip=0.30000000000000004", "clip=0.3",
    ]  # fmt: skip
    assert len({jax.tree.structure(trial.config) for trial in space.trials}) == 7


def test_two_functions_of_one_name_are_refused():
    def tanh(x):
        return x

    for make in (
        lambda: grid(Mixed(), make=(np.tanh, tanh)),
        lambda: zip_(Mixed(), make=(np.tanh, tanh), clip=(1, 2)),
        lambda: grid(Mixed(clip=1), make=(np.tanh,)) + grid(Mixed(clip=2), make=(tanh,), clip=(2,)),
        lambda: grid(Mixed(), make=(lambda x: x, lambda x: -x)),
    ):
        with pytest.raises(ValueError, match="two values of 'make' are both called"):
            make()
    given = [functools.partial(np.clip, a_min=low) for low in (0, 1)]
    assert arms(grid(Mixed(), make=given)) == ["make=clip(a_min=0)", "make=clip(a_min=1)"]


@pytest.mark.parametrize("seeds", [np.arange(3), (0, 2**32 - 1), np.int64(3)])
def test_seeds_may_be_numpys(seeds):
    found = [trial.seed for trial in grid(Config(), seeds=seeds).trials]
    assert found == list(range(3) if np.ndim(seeds) == 0 else np.asarray(seeds).tolist())
    assert {type(seed) for seed in found} == {int}
    keys = {tuple(jax.random.key_data(jax.random.key(seed)).tolist()) for seed in found}
    assert len(keys) == len(found)


def test_a_field_may_be_called_as_an_argument():
    @fdl.config
    class Named:
        config: int = 1
        n: int = 2

    assert [trial.config.config for trial in grid(Named(), config=(3, 4)).trials] == [3, 4]
    assert [trial.config.config for trial in zip_(Named(), config=(3, 4)).trials] == [3, 4]
