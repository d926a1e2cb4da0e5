"""For every source: the same rows on every topology, each row once an epoch, any step at one cost."""

import collections
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.data import sequential, shuffled
from fdl.data.splits import Rows, size_of
from tests.data import every
from tests.driver import environment

KEY = jax.random.key(7)
WORDS = np.asarray(jax.random.key_data(KEY))
SAMPLES = every.samples()
FINITE = (*every.FILES, *every.DATA_SETS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    every.write_files(folder)
    return folder


@pytest.fixture(scope="module")
def parts(folder):
    return every.parts(folder)


def drive(folder: Path, out: Path, *arguments: object) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "tests.data.topology_driver",
        str(folder),
        str(out),
        *map(str, arguments),
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())


def finished(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        _, complaint = process.communicate(timeout=400)
        assert process.returncode == 0, complaint[-2000:]


@pytest.fixture(scope="module")
def rows(folder, tmp_path_factory) -> dict[str, dict[str, np.ndarray]]:
    """By topology, what `topology_driver` writes; rows of several processes put together."""
    out = tmp_path_factory.mktemp("rows")
    finished([drive(folder, out / "devices.npz", 8)])
    found: dict[str, dict[str, np.ndarray]] = collections.defaultdict(dict)
    for name, values in np.load(out / "devices.npz").items():
        topology, _, name = name.partition("|")
        found[f"{topology} devices"][name] = values
    for count in (2, 4):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        files = [out / f"{count}-{process}.npz" for process in range(count)]
        finished([drive(folder, file, 4, count, process, port) for process, file in enumerate(files)])
        own = [np.load(file) for file in files]
        for name in own[0].files:
            joined = np.concatenate([one[name] for one in own])
            found[f"{count} processes"][name.partition("|")[2]] = joined
    return found


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["2 devices", "4 devices", "8 devices", "2 processes", "4 processes"])
def test_every_source_gives_the_same_global_rows(rows, topology):
    alone, other = rows["1 devices"], rows[topology]
    sources = {*FINITE, *SAMPLES} if topology in ("8 devices", "2 processes") else {*every.FEW}
    assert {name.split("|")[0] for name in alone} == {*FINITE, *SAMPLES}
    assert set(other) == {name for name in alone if name.split("|")[0] in sources}
    for name in other:
        values = alone[name]
        assert len(values) == every.BATCH, name
        if values.dtype.kind == "f" and name.split("|")[0] in SAMPLES:  # compiled anew: the last bits differ
            np.testing.assert_allclose(other[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(other[name], values, err_msg=name)


def epoch(source, number: int, key: jax.Array = KEY) -> list[bytes]:
    """The rows of an epoch by content; the batch size must divide the data set's size."""
    words = np.asarray(jax.random.key_data(key))
    seen = []
    batch = jax.jit(source.batch)
    for step in range(number * source.batches, (number + 1) * source.batches):
        arrays = source.fetch(step, words, slice(None)) if source.fetch else source.arrays
        made = {name: np.asarray(values) for name, values in batch(arrays, step, key).items()}
        weight = made.pop("weight", np.ones(len(next(iter(made.values())))))
        seen += [
            b"".join(values[row].tobytes() for values in made.values()) for row in np.flatnonzero(weight)
        ]
    return seen


@pytest.mark.parametrize("name", FINITE)
def test_an_epoch_visits_every_row_once_and_no_two_are_alike(parts, name):
    part = parts[name]
    size = size_of(part)
    batch_size = next(count for count in range(min(size, 97), 0, -1) if size % count == 0)
    expected = collections.Counter(epoch(sequential(part, batch_size=min(size, 64)), 0))
    source = shuffled(part, batch_size=batch_size)
    first, second, far = (epoch(source, number) for number in (0, 1, 1000))
    assert sum(expected.values()) == size
    assert collections.Counter(first) == collections.Counter(second) == collections.Counter(far) == expected
    assert first != second and second != far
    assert first != epoch(source, 0, jax.random.key(8))


@pytest.mark.parametrize("name", [*FINITE, *SAMPLES])
def test_any_step_costs_the_same(parts, name):
    """The step is a value in one program without a loop that could depend on it; a read is one call."""
    if name in SAMPLES:
        from fdl.data import stream

        source = stream(SAMPLES[name], batch_size=every.BATCH)
    else:
        source = shuffled(parts[name], batch_size=every.BATCH)
    program = jax.make_jaxpr(source.batch)(source.arrays, jnp.int32(0), KEY)
    assert " while[" not in str(program)
    if isinstance(parts.get(name), Rows):
        reads: list[int] = []
        take = parts[name].take
        counted = parts[name]._replace(take=lambda index: reads.append(len(index)) or take(index))
        for step in (1, 1_000_000):
            fetch = shuffled(counted, batch_size=every.BATCH).fetch
            assert fetch is not None
            fetch(step, WORDS, slice(None))
        assert reads == [every.BATCH] * 2


@pytest.mark.parametrize("name", [name for name in FINITE if name not in ("digits", "CO2", "SCAN")])
def test_rows_on_the_host_come_in_the_order_of_rows_in_memory(parts, name):
    """The order is the same function of the key whether the device or the host computes it."""
    size = size_of(parts[name])
    memory = shuffled({"row": np.arange(size)}, batch_size=every.BATCH)
    host = shuffled(
        Rows(size, {"row": jax.ShapeDtypeStruct((), np.int64)}, lambda index: {"row": index}),
        batch_size=every.BATCH,
    )
    assert host.fetch is not None
    for step in every.STEPS:
        order = np.asarray(memory.batch(memory.arrays, jnp.int32(step), KEY)["row"])
        np.testing.assert_array_equal(host.fetch(step, WORDS, slice(None))["row"], order)
        np.testing.assert_array_equal(host.fetch(step, WORDS, slice(4, 9))["row"], order[4:9])
