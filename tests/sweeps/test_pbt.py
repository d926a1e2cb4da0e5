"""Population-based training: who copies whom on frozen curves, what a copy goes on as, what is told of it."""

import dataclasses
import functools
import itertools
import json
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdl
from fdl.cli import main
from fdl.lineage import ancestry
from fdl.parallel.plan import plan_from
from fdl.rng import roots
from fdl.sweeps import scheduled, stored, sweep
from fdl.sweeps.racing import Ran, race
from fdl.train.program import compile_program, stack_members
from fdl.train.run import arrays_of
from tests.searched import experiment
from tests.sweeps.frozen import curves_of
from tests.sweeps.test_scheduled import LOSS, ONE_DEVICE, Killed
from tests.test_docs import ROOT, blocks
from tests.toy import Config

pytestmark = [pytest.mark.usefixtures("one_program"), pytest.mark.medium]

PAGE = ROOT / "docs/howto/schedulers.md"
DRAWN: dict[str, Any] = {"lr": fdl.log_uniform(1e-3, 0.3), "noise": fdl.uniform(0.0, 0.3)}
SPACE = fdl.sample(Config(steps=20), n=6, seeds=2, **DRAWN)
PBT = fdl.pbt(every=4, quantile=0.34, **LOSS, **DRAWN)


@functools.cache
def whole() -> fdl.Result:
    return sweep(experiment, SPACE, scheduler=PBT, **ONE_DEVICE)


def frozen(losses: np.ndarray):
    """Trains nothing: of each arm the curves are known. The legs that were asked for, and `train`."""
    legs: list[Any] = []

    def train(asked, start, until):
        legs.append((start, until, asked))
        arms = [int(leg.trial.arm.partition("=")[2]) for leg in asked]
        return [
            Ran([{"step": until, LOSS["metric"]: losses[arm, until - 1]}], {"status": "", "step": until},
                (f"u{until}", place))
            for place, arm in enumerate(arms)
        ]  # fmt: skip

    return legs, train


@fdl.config
class Bounded:
    arm: int = 0
    lr: float = fdl.traced(0.1, low=0.01, high=0.3)
    decay: float = 0.5


@pytest.mark.parametrize("sign", [1, -1], ids=["lower", "higher"])
def test_the_worst_copies_the_best_on_frozen_curves(sign):
    """One of five each, one factor, nothing drawn anew: Jaderberg et al. 2017 in ten lines of NumPy."""
    losses = np.random.default_rng(3).random((5, 12))
    configs = [Bounded(arm=0, lr=0.05 * (arm + 1)) for arm in range(5)]
    space = fdl.Sweep(tuple(fdl.Trial(f"arm={arm}", one, 0) for arm, one in enumerate(configs)))
    goal = {**LOSS, "better": "lower" if sign == 1 else "higher"}
    scheduler = fdl.pbt(every=2, factors=(1.3,), resample=0.0, lr=fdl.uniform(0, 1), **goal)
    legs, train = frozen(losses)
    found = race(space.trials, scheduler, range(1, 13), train)
    lr, expected = [one.lr for one in configs], [[(0, None, one.lr)] for one in configs]
    for rung in range(2, 12, 2):
        order = np.argsort(sign * losses[:, rung - 1])
        lr[order[-1]] = min(1.3 * lr[order[0]], 0.3)
        expected[order[-1]].append((rung, order[0], lr[order[-1]]))
    assert [[(t.step, t.copied, t.config.lr) for t in turns] for turns in found.turns] == expected
    assert len({giver for turns in expected for _, giver, _ in turns}) > 3
    for start, until, asked in legs[1:]:
        for arm, leg in enumerate(asked):
            now = [turn for turn in expected[arm] if turn[0] < until][-1]
            source = now[1] if now[0] == start else arm
            assert leg.state == (f"u{start}", source) and leg.trial.config.lr == now[2]


def test_what_is_explored_is_as_likely_as_it_says():
    values, count = np.arange(10.0)[:, None], 800
    known = fdl.Curves(values, (2,), tuple(range(10)), (2, 4))
    configs = [Bounded(lr=0.02 + arm / 50) for arm in range(10)]
    drawn = {"lr": fdl.log_uniform(0.25, 0.26), "decay": fdl.uniform(7, 8)}
    decide = fdl.pbt(every=2, quantile=0.3, resample=0.2, **drawn, **LOSS).decide
    givers, moves, fresh = Counter(), Counter(), 0
    for number in range(count):
        going = decide(known, configs, jax.random.fold_in(jax.random.key(5), number))
        assert [one.arm for one in going] == list(range(10))
        assert all(one == fdl.Next(one.arm) for one in going[:7])
        for one in going[7:]:
            assert one.copy is not None
            givers[one.copy] += 1
            anew = [0.25 <= one.config.lr <= 0.26, 7 <= one.config.decay <= 8]
            fresh += sum(anew)
            moves[one.config.lr / configs[one.copy].lr] += not anew[0]
    assert set(givers) == {0, 1, 2} and all(abs(n / count - 1) < 0.1 for n in givers.values())
    assert abs(fresh / count / 6 - 0.2) < 0.02
    kinds = {round(move, 9) for move, n in moves.items() if n}
    assert kinds == {0.8, 1.2}
    more = sum(n for move, n in moves.items() if move > 1)
    assert abs(more / sum(moves.values()) - 0.5) < 0.04


def test_arms_that_copy_each_other_swap_their_states_and_not_their_configs():
    swap = lambda *_: [fdl.Next(0, copy=1), fdl.Next(1, copy=0), fdl.Next(2, copy=2)]  # noqa: E731
    space = fdl.zip_(Bounded(), decay=(0, 1, 2), seeds=2)
    legs, train = frozen(curves_of(0, 3, 8))
    found = race(space.trials, fdl.Scheduler(**LOSS, rungs=(4,), decide=swap), (4, 8), train)
    assert [leg.state[1] for leg in legs[1][2]] == [2, 3, 0, 1, 4, 5]
    assert [leg.trial for leg in legs[1][2]] == list(space.trials)
    assert [[turn.copied for turn in turns] for turns in found.turns] == [[None, 1], [None, 0], [None]]


def test_a_copy_goes_on_as_a_run_of_that_state_and_config_bit_for_bit(tmp_path):
    space = fdl.grid(Config(steps=20), lr=(0.01, 0.05), seeds=2)
    turned = dataclasses.replace(space.trials[0].config, lr=0.2, noise=0.1)
    decide = lambda *_: [fdl.Next(0, turned, copy=1), fdl.Next(1)]  # noqa: E731
    scheduler = fdl.Scheduler(**LOSS, rungs=(8,), decide=decide)
    result = sweep(experiment, space, scheduler=scheduler, members=4, workdir=tmp_path, **ONE_DEVICE)
    said = result.frame.set_index(["arm", "seed", "step"])

    configs = [trial.config for trial in space.trials]
    members = stack_members(configs, roots([0, 1, 0, 1]), pad_to=4)
    [stored_plan] = tmp_path.glob("schedules/*/plan-0.json")
    plan = plan_from(json.loads(stored_plan.read_text())["plan"])
    program = compile_program(experiment, members, arrays_of(experiment(configs[0])), plan)

    def until(members, carry, steps):
        for start, end in itertools.pairwise(steps):
            carry, _ = program.advance(members, carry, start, end)
            carry, rows = program.evaluate(members, carry)
            for place, trial in enumerate(space.trials):
                arm = f"from {trial.arm}" if trial.arm == "lr=0.01" else trial.arm
                for name, values in rows.metrics.items():
                    assert said.loc[(arm, trial.seed, end), name] == np.asarray(values)[place], (end, name)
        return carry

    carry = until(members, program.init(members), (0, 4, 8))
    carry = jax.tree.map(lambda leaf: leaf[jnp.array([2, 3, 2, 3])], carry)
    until(
        stack_members([turned, turned, *configs[2:]], roots([0, 1, 0, 1]), pad_to=4), carry, (8, 12, 16, 20)
    )


def test_a_result_tells_what_was_in_force():
    result = whole()
    born = {f"from {t.arm}": t.config for t in SPACE.trials}
    assert set(result.lineages) <= set(born) and len(result.lineages) > 3
    for (arm, step), rows in result.frame.groupby(["arm", "step"]):
        past = [one for one in result.lineages.get(arm, ()) if one.step < step]
        if past:
            assert set(rows["lr"]) == {past[-1].fields["lr"]} and set(rows["steps"]) == {20}
    for arm, changes in result.lineages.items():
        assert changes[0].fields["lr"] == born[arm].lr and changes[0][:2] == (0, None)
        told = result.table().set_index("arm").loc[arm, "lr"]
        values = [one.fields["lr"] for one in changes]
        assert told.startswith(f"{values[0]:.6g} → ") and told.endswith(f" → {values[-1]:.6g}")
        assert result.meta["configs"][arm]["lr"] == told
        past = ancestry(result.lineages, arm, 20)
        assert past[0].start == 0 and past[-1][1:3] == (20, arm)
        assert all(a.until == b.start for a, b in itertools.pairwise(past))
    rungs = result.meta["schedule"]["rungs"]
    copied = [sum(c.step == r["step"] for own in result.lineages.values() for c in own) for r in rungs]
    assert copied == [one["copied"] for one in rungs] == [2] * 4
    assert not result.stopped and len(result.last()) == 12


@pytest.mark.parametrize(
    "use",
    [
        lambda result: result.best("lr", by=LOSS["metric"], better="lower"),
        lambda result: result.where(noise=0.1),
        lambda result: fdl.compare(result, metric="test/loss", better="lower"),
        lambda result: fdl.compare(result, metric="test/loss", arms="lr", better="lower"),
        lambda result: result + result,
        lambda result: fdl.factorial_effects(result, metric="test/loss"),
    ],
    ids=["best", "where", "compare", "compare by a field", "join", "effects"],
)
def test_what_takes_arms_for_runs_of_one_config_refuses_them(use):
    with pytest.raises(ValueError, match=r"a scheduler changed|or changed"):
        use(whole())


def test_a_comparison_of_the_arms_that_stayed_is_not_conclusive():
    decide = lambda *_: [fdl.Next(0), fdl.Next(1), fdl.Next(2, copy=1)]  # noqa: E731
    space = fdl.grid(Config(steps=20), lr=(0.01, 0.05, 0.1), seeds=2)
    result = sweep(experiment, space, scheduler=PBT._replace(rungs=(8,), decide=decide), **ONE_DEVICE)
    kept = result.where(arm=["lr=0.01", "lr=0.05"])
    verdict = fdl.compare(kept, metric="test/loss", better="lower").verdict
    assert verdict.status == "INCONCLUSIVE" and "a scheduler changed 1 other arm" in verdict.sentence


@pytest.mark.parametrize("unit", [1, 3])
def test_one_that_was_killed_has_the_same_lineage_and_bits(tmp_path, monkeypatch, unit):
    number, real = itertools.count(), scheduled.train_unit

    def dying(*arguments, **options):
        if next(number) == unit:
            raise Killed
        return real(*arguments, **options)

    run = functools.partial(sweep, experiment, SPACE, scheduler=PBT, workdir=tmp_path, **ONE_DEVICE)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(scheduled, "train_unit", dying)
        run()
    again = run()
    assert again.frame.equals(whole().frame) and again.lineages == whole().lineages
    read = stored(experiment, SPACE, workdir=tmp_path, scheduler=PBT)
    assert read.frame.equals(again.frame) and read.lineages == again.lineages
    if unit == 1:  # a run of the config that an arm ended with is another one, and trained
        last = [replaced[-1].fields["lr"] for replaced in again.lineages.values()]
        plain = sweep(experiment, fdl.grid(Config(steps=20), lr=last[:1]), workdir=tmp_path, **ONE_DEVICE)
        assert not plain.lineages and plain.meta["programs"][0]["steps"] == 20
        assert fdl.load(tmp_path / "units").runs()["lr"].tolist() == last[:1]


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path, capsys):
    """As it is written, but shorter; and its scheduler of one's own copies the best."""
    file, follow = (block for block in blocks(PAGE) if block.title or "def follow" in block.text)
    text = file.text.replace("steps: int = 1000", "steps: int = 150").replace("n=16", "n=5")
    (tmp_path / file.title).write_text(text)
    assert main(["sweep", str(tmp_path / file.title), "--workdir", str(tmp_path / "run")]) == 0
    assert "of the best arm by validation/loss" in " ".join(capsys.readouterr().out.split())
    names: dict[str, Any] = {"fdl": fdl}
    exec(follow.text, names)
    space = fdl.zip_(Bounded(), decay=(0, 1, 2))
    _, train = frozen(np.array([[3.0, 3], [1, 1], [2, 2]]))
    found = race(space.trials, fdl.Scheduler(**LOSS, rungs=(1,), decide=names["follow"]), (1, 2), train)
    assert [turns[-1].copied for turns in found.turns] == [1, None, 1]
