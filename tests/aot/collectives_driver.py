"""Compiles small programs for eight CPU devices and writes their texts, by name, to a JSON file."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

jax.config.update("jax_num_cpu_devices", 8)


def mapped(function, before, after):
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=before, out_specs=after, check_vma=False))


def halved(x):
    return lax.psum(x, "fsdp") * 0.5


def looped(x, trips):
    return lax.scan(lambda c, _: (halved(c), None), x, None, length=trips)[0]


def gradient():
    """Data parallelism by sharding alone: x is split, the weights are whole."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    loss = lambda w, x: (x @ w).sum()  # noqa: E731
    return jax.jit(jax.grad(loss), in_shardings=(whole, split), out_shardings=whole)


rows, split = P("data"), P("data", "fsdp")
programs = {
    "all-reduce": mapped(lambda x: lax.psum(x, "fsdp"), split, rows),
    "all-reduce over both": mapped(lambda x: lax.psum(x, ("data", "fsdp")), P(("data", "fsdp")), P()),
    "all-reduce of two": mapped(lambda x: lax.psum((x, x[0]), "fsdp"), rows, rows),
    "all-gather": mapped(lambda x: lax.all_gather(x, "fsdp", tiled=True), P("fsdp"), P()),
    "reduce-scatter": mapped(lambda x: lax.psum_scatter(x, "fsdp", tiled=True), rows, P(("data", "fsdp"))),
    "all-to-all": mapped(lambda x: lax.all_to_all(x, "fsdp", 0, 1, tiled=True), P("fsdp"), P("fsdp")),
    "collective-permute": mapped(lambda x: lax.ppermute(x, "data", [(0, 1), (1, 0)]), rows, rows),
    "loop": mapped(lambda x: looped(x, 7), rows, rows),
    "loop in a loop": mapped(
        lambda x: lax.scan(lambda c, _: (looped(c, 7), None), x, None, length=3)[0], rows, rows
    ),
    "loop without end": mapped(lambda x: lax.while_loop(lambda c: c.sum() < 5, halved, x), rows, rows),
    "conditional": mapped(lambda x: lax.cond(x.sum() > 0, halved, lambda c: c, x), rows, rows),
    "nothing": mapped(lambda x: 2 * x, split, split),
    "pmap": jax.pmap(lambda x: lax.psum(x, "each"), axis_name="each"),
}
x = jnp.zeros((64, 32))
texts = {
    name: program.lower(x.reshape(8, 8, 32) if name == "pmap" else x).compile().as_text()
    for name, program in programs.items()
}
texts["gradient"] = gradient().lower(jnp.zeros((32, 5)), x).compile().as_text()
Path(sys.argv[1]).write_text(json.dumps(texts), encoding="utf-8")
