"""What reading a sweep costs: each trial and each row is looked at once."""

import cProfile
import functools
import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from fdl import rng, serialization
from fdl.parallel.plan import Plan
from fdl.serialization import digest, essence, fingerprint, to_json
from fdl.sweeps import grid, in_process, population, program_of, sweep
from fdl.sweeps.assembled import assemble
from fdl.sweeps.loading import so_far
from fdl.sweeps.population import groups_of, identified
from fdl.sweeps.programs import work_of
from fdl.sweeps.units import Trained, Unit
from tests.toy import Config, experiment

SPACE = grid(Config(), lr=(0.01, 0.02, 0.05), seeds=4)


def test_a_fingerprint_is_computed_once_a_trial(tmp_path, monkeypatch):
    program = program_of(experiment, SPACE)
    (group,) = [identified(one, program) for one in groups_of(experiment, SPACE.trials, folder=tmp_path)]
    asked = []

    def counted(config: Any) -> dict[str, Any]:
        asked.append(config)
        return to_json(config)

    monkeypatch.setattr(serialization, "to_json", counted)
    unit = Unit(group.trials, Plan(12, "vmap", "scan"), "")
    for _ in range(3):
        population.stored_units(group)
        population.read_unit(group, unit)
    assert len(asked) == len(SPACE.trials)


@pytest.mark.parametrize("identity", [None, {}, {"b": 1, "a": {"versions": {}, "digest": "é", "x": [1.5]}}])
def test_a_fingerprint_is_the_digest_of_all_that_decides_a_run(identity):
    whole = {"config": to_json(Config()), "seed": 3, "identity": essence(identity)}
    assert fingerprint(Config(), seed=3, identity=identity) == digest(whole)


def test_rows_are_read_once_however_many_trials_there_are():
    class Rows(list):
        read = 0

        def __iter__(self):
            for row in super().__iter__():
                Rows.read += 1
                yield row

    trials = list(SPACE.trials)
    rows = Rows(
        {"member": member, "step": step, "test/loss": member + step / 100}
        for step in (10, 20)
        for member in range(len(trials))
    )
    ends = [{"status": "finished"} for _ in trials]
    empty = {} if "parts" not in Trained._fields else {"parts": []}
    result = assemble(SPACE, [Trained(Unit(trials, None, ""), rows, ends, {}, **empty)], seconds=1.0)  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert Rows.read == len(rows)
    assert result.frame["step"].tolist() == [10, 20] * len(trials)
    expected = [member + step / 100 for member in range(len(trials)) for step in (10, 20)]
    assert result.frame["test/loss"].tolist() == expected


def test_root_keys_are_made_in_one_operation_with_the_bits_of_each(monkeypatch):
    """One by one they are as many operands of a program that stacks them."""
    seeds = [0, 7, 2**31, 2**32 - 1]
    one_by_one = [jax.random.key_data(jax.random.key(seed)).tolist() for seed in seeds]
    assert jax.random.key_data(rng.roots(seeds)).tolist() == one_by_one
    (group,) = groups_of(experiment, grid(Config(), lr=(0.01, 0.02), seeds=50).trials, folder=None)
    made, real = [], jax.random.key

    def counted(seed: Any) -> Any:
        made.append(seed)
        return real(seed)

    monkeypatch.setattr(jax.random, "key", counted)
    assert work_of(group, group.trials).keys.shape == (100,)
    assert len(made) == 1


def test_what_is_held_does_not_grow_with_the_runs_that_are_on_disk(plans, tmp_path, monkeypatch):
    held = []

    def watched(*given: Any, **options: Any) -> Iterator[Trained]:
        for unit in population.train(*given, **options):
            yield unit
            del unit
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])

    monkeypatch.setattr(in_process, "train", watched)
    members, units = 300, 4
    space = grid(Config(), seeds=members * units)
    tracemalloc.start()
    try:
        result = sweep(experiment, space, members=members, workdir=tmp_path / "runs")
    finally:
        tracemalloc.stop()
    assert len(result.frame) == 4 * members * units
    rows = 4 * members * (units - 2)
    assert (held[-1] - held[1]) / rows < 100  # bytes; a row in memory has some 400


@pytest.mark.medium
def test_what_fdl_does_and_holds_grows_as_the_arms_do_and_no_faster(plans, tmp_path):
    """By function calls and bytes, which no other process on the machine changes."""
    short = functools.partial(experiment, every=8)

    def spent(arms: int) -> tuple[int, int]:
        """Calls of a sweep, and of the same command again, and bytes held at most while it is read."""
        rates, place = tuple(np.linspace(0.01, 0.02, arms).tolist()), tmp_path / f"{arms}"
        with cProfile.Profile() as profile:
            for _ in range(2):
                sweep(short, grid(Config(steps=8), lr=rates, seeds=1), members=30, workdir=place)
        gc.collect()
        tracemalloc.start()
        try:
            found = so_far(place, grid(Config(steps=8), lr=rates, seeds=1), {})
            held = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found and len(found.frame) == arms
        return sum(one.callcount for one in profile.getstats()), held

    spent(30)  # compiles
    calls, held = zip(*map(spent, (60, 120, 240)), strict=True)
    for one, two, three in (calls, held):
        assert (three - two) / (two - one) < 2.5  # 2 where all grows as the arms do, 4 as their square
    assert (held[2] - held[1]) / 120 < 5000  # bytes an arm, of one evaluation; 3,200 when written
