"""Rows of every source's batches on a given topology, written to a file: run as a process of its own.

    python -m tests.data.topology_driver FOLDER OUT DEVICES [PROCESSES PROCESS PORT]

`FOLDER` holds the files of `tests.data.every`; `DEVICES` is how many there are in all. With several
processes each writes the rows that it holds.
"""

import functools
import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fdl.experiment import Source

FEW_ON = {(2, 1), (4, 1), (4, 4)}
"""Devices and processes on which not all sources are asked: with one process the compiler splits what it
splits on 8 devices, with four each process reads its own rows as with two."""


def main(
    folder: str, out: str, devices: str, processes: str = "1", process: str = "0", port: str = "0"
) -> None:
    """Writes `OUT`: by source, step and column, the rows that this process holds, in order."""
    gc.disable()  # tracing makes objects by the million, and few cycles of them
    jax.config.update("jax_num_cpu_devices", int(devices) // int(processes))
    if int(processes) > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", int(processes), int(process))
    from tests.data.every import FEW, training_sources

    counts = [1, 2, 4, 8] if int(processes) == 1 else [int(devices)]
    few = {count: (count, int(processes)) in FEW_ON for count in counts}
    every, found = training_sources(Path(folder), few=all(few.values())), {}
    for count in few:
        mesh = jax.make_mesh((count,), ("data",), devices=jax.devices()[:count])
        asked = {name: every[name] for name in FEW} if few[count] else every
        for name, rows in every_source(mesh, asked).items():
            found[f"{count}|{name}"] = rows
    with Path(out).open("wb") as file:
        np.savez(file, **found)


def every_source(mesh: jax.sharding.Mesh, every: Mapping[str, Source]) -> dict[str, np.ndarray]:
    """The rows of sources that this process holds, by `source|step|column`."""
    from tests.data.every import BATCH, STEPS

    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    place = mesh.devices.size // jax.process_count()
    own = slice(jax.process_index() * place * BATCH // mesh.devices.size, None)
    own = slice(own.start, own.start + place * BATCH // mesh.devices.size)
    key, found = jax.random.key(7), {}
    words = np.asarray(jax.random.key_data(key))

    def inputs(source: Source, step: int) -> Any:
        if source.fetch:  # each process reads its own rows only
            rows = source.fetch(step, words, own)
            return jax.tree.map(lambda one: jax.make_array_from_process_local_data(split, one), rows)
        put = lambda one: jax.make_array_from_callback(np.shape(one), whole, lambda at: one[at])  # noqa: E731
        return jax.tree.map(put, source.arrays)

    @functools.partial(jax.jit, out_shardings=split)  # all in one program: compiling is what takes time
    def batches(arrays: Any, step: jax.Array, key: jax.Array) -> Any:
        return {name: source.batch(arrays[name], step, key) for name, source in every.items()}

    for step in STEPS:
        arrays = {name: inputs(source, step) for name, source in every.items()}
        for name, made in batches(arrays, np.int32(step), key).items():
            for column, values in made.items():
                shards = sorted(values.addressable_shards, key=lambda shard: shard.index[0].start or 0)
                found[f"{name}|{step}|{column}"] = np.concatenate([np.asarray(one.data) for one in shards])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
