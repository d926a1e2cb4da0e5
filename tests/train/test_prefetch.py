"""Data that stays on the host: the numbers of data in memory, read ahead, once for every seed."""

import concurrent.futures
import dataclasses
import functools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

import fdl
from fdl import rng
from fdl.data import Rows, on_host, sequential, shuffled
from fdl.parallel.candidates import candidates
from fdl.train import Interrupted, Progress, Saving, fit, prefetch, scan
from fdl.train.prefetch import AHEAD, Feed
from tests import toy

KEY = jax.random.key(3)


def data() -> dict[str, np.ndarray]:
    return {**toy.arrays(), "row": np.arange(toy.ROWS, dtype=np.uint32)}


def over(rows, config: toy.Config = toy.Config()) -> fdl.Experiment:  # noqa: B008
    """The toy, its training and test data from `rows`."""
    learner = toy.experiment(config).learner

    def evaluate(state, batch, key):
        return learner.evaluate(state, {k: v for k, v in batch.items() if k != "weight"}, key)

    test = sequential(rows, batch_size=32)
    return fdl.Experiment(
        learner._replace(evaluate=evaluate), shuffled(rows, batch_size=toy.BATCH), {"test": test}, 40, 10
    )


def experiment(config: toy.Config) -> fdl.Experiment:
    return over(on_host(data()), config)


@functools.cache
def undisturbed() -> fdl.train.Fitted:
    """The run that nothing happens to; its plan is remembered, so that others of the same measure none."""
    return fit(over(on_host(data())), KEY)


@pytest.mark.medium
def test_host_data_gives_the_numbers_of_data_in_memory():
    memory, host = fit(over(data()), KEY), undisturbed()
    assert memory.state["order"] == host.state["order"]  # the same rows in the same order
    np.testing.assert_allclose(host.state["weights"], memory.state["weights"], rtol=1e-5, atol=1e-6)
    for one, other in zip(host.rows, memory.rows, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize("step", [1, 13, 39])
def test_a_crash_at_any_step_changes_no_bit(tmp_path: Path, step: int):
    def crash(done: int, total: int, live: int) -> None:
        if done >= step:
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        fit(
            over(on_host(data())),
            KEY,
            directory=tmp_path,
            saving=Saving(steps=1),
            progress=Progress(step=crash),
        )
    resumed = fit(over(on_host(data())), KEY, directory=tmp_path, saving=Saving(steps=1))
    for name, value in undisturbed().state.items():
        np.testing.assert_array_equal(resumed.state[name], value)
    assert resumed.rows == undisturbed().rows


@pytest.mark.medium
def test_a_population_reads_each_seed_in_its_own_order_and_agrees_with_single_runs():
    result = fdl.sweep(experiment, fdl.grid(toy.Config(), lr=(0.01, 0.05), seeds=3))
    assert len(result.frame) == 2 * 3 * 4
    for lr, seed in [(0.01, 0), (0.05, 2)]:
        alone = fit(experiment(dataclasses.replace(toy.Config(), lr=lr)), jax.random.key(seed)).rows
        rows = result.frame.query(f"lr == {lr} and seed == {seed}").sort_values("step")
        np.testing.assert_allclose(rows["test/loss"], [row["test/loss"] for row in alone], rtol=1e-5)


def whole(read):
    return jax.device_put(read(slice(None), slice(None)))


def counted(rows: Rows) -> tuple[Rows, list[int]]:
    """Rows that note how many were read in each call."""
    reads: list[int] = []

    def take(index: np.ndarray) -> dict[str, np.ndarray]:
        reads.append(len(index))
        return rows.take(index)

    return rows._replace(take=take), reads


def test_batches_are_read_ahead_and_members_of_one_seed_share_a_read():
    rows, reads = counted(on_host(data()))
    feed = Feed(shuffled(rows, batch_size=8), whole, end=20)
    keys = jax.random.key(0), jax.random.key(1), jax.random.key(0)
    first = feed.of(jax.numpy.stack(keys), 0)
    concurrent.futures.wait([result for _, result in feed._queue])
    assert len(reads) == AHEAD * 2  # two seeds, this step and the next ones
    np.testing.assert_array_equal(first["row"][0], first["row"][2])
    assert (first["row"][0] != first["row"][1]).any()


def test_nothing_is_read_beyond_the_end_and_any_step_can_be_asked_for():
    rows, reads = counted(on_host(data()))
    source = shuffled(rows, batch_size=8)
    feed, key = Feed(source, whole, end=3), KEY[None]
    seen = [feed.of(key, step)["row"][0] for step in (0, 1, 2)]
    assert len(reads) == 3
    again = feed.of(key, 1)["row"][0]
    np.testing.assert_array_equal(seen[1], again)


@pytest.mark.medium
def test_an_error_while_reading_ends_the_run_and_keeps_the_checkpoints(tmp_path: Path):
    rows, broken = on_host(data()), [True]

    def take(index: np.ndarray) -> dict[str, np.ndarray]:
        if broken[0] and 7 in index:
            raise ValueError("photo.jpg: truncated at byte 12; replace the file")
        return rows.take(index)

    with pytest.raises(ValueError, match=r"photo\.jpg: truncated at byte 12"):
        fit(over(rows._replace(take=take)), KEY, directory=tmp_path, saving=Saving(steps=1))
    broken[0] = False
    resumed = fit(over(rows._replace(take=take)), KEY, directory=tmp_path)
    np.testing.assert_array_equal(resumed.state["weights"], undisturbed().state["weights"])


def read_as(change):
    rows = on_host(data())
    return lambda index: {**rows.take(index), **change(rows.take(index))}


def quits(index):
    raise SystemExit(0)


READERS = {
    "a division by zero": (lambda index: 1 // 0, "reading the batch of step 0 fails: ZeroDivisionError"),
    "an exit": (quits, "reading the batch of step 0 fails: SystemExit"),
    "a missing column": (lambda index: {"x": 1}["y"], "reading the batch of step 0 fails: KeyError"),
    "a row too few": (
        read_as(lambda rows: {"x": rows["x"][:-1]}),
        r"step 0: \['x'\] is float32",
    ),
    "another type": (
        read_as(lambda rows: {"x": rows["x"] > 0}),
        r"\['x'\] is bool.*expected float32",
    ),
    "a number too large": (
        read_as(lambda rows: {"row": rows["row"].astype(np.int64) + 2**40}),
        "has the number 10995116",
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("mistake", READERS)
def test_a_mistake_in_a_reader_is_one_line(mistake):
    take, expected = READERS[mistake]
    rows = on_host(data())
    with pytest.raises(ValueError, match=expected) as raised:
        fit(over(rows._replace(take=take)), KEY)
    assert "\n" not in str(raised.value)


@pytest.mark.medium
@pytest.mark.parametrize(("size", "after"), [(toy.BATCH, 25), (32, 7), (32, 10)])
def test_a_reader_that_hangs_does_not_keep_a_signal_from_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, after: int
):
    """It hangs while it trains, at the third evaluation and at the last one."""
    monkeypatch.setattr(prefetch, "PATIENCE_SECONDS", 0.1)
    rows, go, seen = on_host(data()), threading.Event(), []
    whole = undisturbed()  # nothing is to be read for measuring a plan
    asked: list[np.ndarray] = []
    hung: list[bool] = []
    train = over(rows._replace(take=lambda index: (asked.append(index), rows.take(index))[1])).train
    assert train.fetch is not None
    train.fetch(after - 1, np.asarray(jax.random.key_data(rng.stream(KEY, "data"))), slice(None))

    def take(index: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(len(index))
        # Training batches are read ahead by several threads, in any order: a step's is known by its rows.
        due = np.array_equal(index, asked[0]) if size == toy.BATCH else seen.count(size) == after
        if due and not hung:
            hung.append(True)
            threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
            go.wait(60)
        return rows.take(index)

    with pytest.raises(Interrupted, match="the same command goes on"):
        fit(over(rows._replace(take=take)), KEY, directory=tmp_path)
    go.set()
    (saved,) = [int(path.name) for path in (tmp_path / "checkpoints").iterdir()]
    assert saved == {(8, 25): 24, (32, 7): 30, (32, 10): 40}[size, after]
    for _ in range(2):
        resumed = fit(over(rows), KEY, directory=tmp_path)
        np.testing.assert_array_equal(resumed.state["weights"], whole.state["weights"])
        assert resumed.rows == whole.rows


HANGS = """
import threading
from fdl.train.prefetch import Feed
from tests.train.test_prefetch import KEY, data, on_host, shuffled, whole
rows = on_host(data())
feed = Feed(shuffled(rows._replace(take=lambda index: threading.Event().wait()), batch_size=8), whole, end=3)
feed._submitted(0)
print("ends")
"""


@pytest.mark.medium
def test_a_reader_that_hangs_does_not_keep_the_program_from_ending():
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "ends\n"), done.stderr


def test_a_scan_on_the_device_says_that_it_cannot_read_host_data():
    with pytest.raises(ValueError, match="stays on the host; use `fit`"):
        scan(over(on_host(data())), KEY)


@pytest.mark.parametrize(("count", "devices"), [(1, 1), (1, 2), (5, 2), (16, 4)])
def test_host_data_comes_a_call_a_step(count: int, devices: int):
    plans = candidates(count, devices, "cpu", on_host=True)
    assert plans and all(plan.loop == "calls" and plan.members % plan.devices == 0 for plan in plans)
