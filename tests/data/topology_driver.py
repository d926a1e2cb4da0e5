"""Rows of every source's batches on a given topology, written to a file: run as a process of its own.

    python -m tests.data.topology_driver FOLDER OUT DEVICES [PROCESSES PROCESS PORT]

`FOLDER` holds the files of `tests.data.every`; `DEVICES` is how many there are in all. With several
processes each writes the rows that it holds.
"""

import functools
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fdl.experiment import Source


def main(
    folder: str, out: str, devices: str, processes: str = "1", process: str = "0", port: str = "0"
) -> None:
    """Writes `OUT`: by source, step and column, the rows that this process holds, in order."""
    jax.config.update("jax_num_cpu_devices", int(devices) // int(processes))
    if int(processes) > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", int(processes), int(process))
    counts = [1, 2, 4, 8] if int(processes) == 1 else [int(devices)]
    found = {}
    for count in counts:
        mesh = jax.make_mesh((count,), ("data",), devices=jax.devices()[:count])
        found |= {f"{count}|{name}": rows for name, rows in every_source(mesh, Path(folder)).items()}
    with Path(out).open("wb") as file:
        np.savez(file, **found)


def every_source(mesh: jax.sharding.Mesh, folder: Path) -> dict[str, np.ndarray]:
    """The rows of all sources that this process holds, by `source|step|column`."""
    from tests.data.every import BATCH, STEPS, training_sources

    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    place = mesh.devices.size // jax.process_count()
    own = slice(jax.process_index() * place * BATCH // mesh.devices.size, None)
    own = slice(own.start, own.start + place * BATCH // mesh.devices.size)
    key, found = jax.random.key(7), {}
    words = np.asarray(jax.random.key_data(key))
    for name, source in training_sources(folder).items():
        batch = jax.jit(source.batch, out_shardings=split)
        for step in STEPS:
            if source.fetch:  # each process reads its own rows only
                rows = source.fetch(step, words, own)
                put = lambda one: jax.make_array_from_process_local_data(split, one)  # noqa: E731
            else:
                rows = source.arrays
                put = lambda one: jax.make_array_from_callback(np.shape(one), whole, lambda at, a=one: a[at])  # noqa: E731
            made = batch(jax.tree.map(put, rows), np.int32(step), key)
            for column, values in made.items():
                shards = sorted(values.addressable_shards, key=lambda shard: shard.index[0].start or 0)
                found[f"{name}|{step}|{column}"] = np.concatenate([np.asarray(one.data) for one in shards])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
