"""Compiles for TPUs that are not there, and prints what came of it as JSON; a process of its own, since a
process can have one set of platforms, and a compiler may crash."""

import itertools
import json
import math
import re
import sys
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from fdl.aot.chips import CHIPS, Slice, chip_of, parse_slice, usual_shape
from fdl.aot.compiled import refusal_of, report_of
from fdl.aot.flops import cost_of
from fdl.aot.topology import devices_of
from fdl.doctor.product import HEAVY, chain
from fdl.doctor.reduction import LARGE, all_reduce, laid_out
from fdl.models.language_model import gpt2
from fdl.parallel.arrangement import arranged
from fdl.parallel.candidates import unmeasured
from fdl.parallel.plan import shape_of


def devices() -> dict:
    """How many devices each generation has, and what each grants a program that is too large."""
    found = {}
    for chip in CHIPS:
        part = Slice(chip, usual_shape(chip, 4))
        device = (every := devices_of(part))[0]
        assert chip_of(device.device_kind) == chip, device.device_kind
        # The result takes as much: together they do not fit, while each would.
        x = jax.ShapeDtypeStruct(
            (int(0.6 * chip.memory_free / 2**22), 2**20), jnp.float32, sharding=SingleDeviceSharding(device)
        )
        try:
            jax.jit(lambda x: x + 1).lower(x).compile()
        except jax.errors.JaxRuntimeError as error:
            refusal = refusal_of(error)
            found[chip.name] = {"devices": len(every), "refusal": refusal and refusal._asdict()}
    return found


def meshes() -> dict:
    """How many meshes are built on the devices of every generation's slices, each of all its devices."""
    built = dict.fromkeys((chip.name for chip in CHIPS), 0)
    for chip in CHIPS:
        slices = [(chips, 1) for chips in (1, 2, 4, 8, 16, 64, 256)]
        slices += [(4, 2), (16, 2), (16, 3), (8, 4)] if chip.network else []
        for chips, count in slices:
            try:
                devices = devices_of(Slice(chip, usual_shape(chip, chips)), slices=count)
            except ValueError:  # no such slice
                continue
            shapes = {shape for shape in itertools.product(divisors(len(devices)), repeat=4)
                      if math.prod(shape) == len(devices)}  # fmt: skip
            plans = [
                unmeasured(members, len(devices), "tpu", rows=rows)
                for members in range(1, 65)
                for rows in (1, 12, 256)
            ]
            for shape in shapes | {shape_of(plan) for plan in plans}:
                mesh = arranged(devices, shape)
                assert mesh.shape == shape and len(set(mesh.ravel().tolist())) == len(devices), (chip, shape)
                built[chip.name] += 1
    return built


def divisors(number: int) -> list[int]:
    """All of them."""
    return [size for size in range(1, number + 1) if number % size == 0]


def step(name: str, slices: int, shape: tuple[int, int], each: int) -> dict:
    """A step of a small transformer, parameters split over `fsdp`, `each` sequences a device."""
    jax.config.update("jax_optimization_level", "O0")
    mesh = Mesh(arranged(devices_of(parse_slice(name), slices=slices), shape), ("data", "fsdp"))
    model, optimizer = gpt2(1024, length=256, width=256, layers=4, heads=4, scan=True), optax.adam(1e-3)

    def init(key: jax.Array) -> tuple:
        variables = model.init(key, jnp.zeros((1, 256), jnp.int32))
        return variables, optimizer.init(variables)

    def placed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        axes = [
            "fsdp" if axis == len(leaf.shape) - 1 and size >= 256 else None
            for axis, size in enumerate(leaf.shape)
        ]
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, P(*axes)))

    split = NamedSharding(mesh, P(("data", "fsdp")))

    def loss(variables: dict, tokens: jax.Array) -> jax.Array:
        logits = jax.lax.with_sharding_constraint(model.apply(variables, tokens), split)
        return optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], tokens[:, 1:]).mean()

    def update(state: tuple, tokens: jax.Array) -> tuple:
        variables, moments = state
        value, gradient = jax.value_and_grad(loss)(variables, tokens)
        updates, moments = optimizer.update(gradient, moments, variables)
        return (optax.apply_updates(variables, updates), moments), value

    state = jax.tree.map(placed, jax.eval_shape(init, jax.random.key(0)))
    tokens = jax.ShapeDtypeStruct((each * mesh.size, 256), jnp.int32, sharding=split)
    kept = (jax.tree.map(lambda leaf: leaf.sharding, state), None)
    program = jax.jit(update, donate_argnums=0, out_shardings=kept)
    try:
        report = report_of(program.lower(state, tokens).compile())
    except jax.errors.JaxRuntimeError as error:
        refusal = refusal_of(error)
        return {"refusal": refusal and refusal._asdict()}
    return {
        "memory": report.memory._asdict() | {"held": report.memory.held},
        "collectives": [one._asdict() for one in report.collectives.each],
        "uncounted": report.collectives.uncounted,
        "flops": cost_of(update, state, tokens).matrix,
    }


def doctor() -> dict:
    """What `fdl doctor` runs, compiled for v5e:4x4: which devices sum together along each axis, and the types
    of what is multiplied and summed."""
    found, axes = laid_out(every := devices_of(parse_slice("v5e:4x4")))
    mesh = Mesh(found, axes)
    texts = {axis: all_reduce(mesh, axis, LARGE)[0].as_text() for axis in axes}
    here = SingleDeviceSharding(every[0])
    shapes = (HEAVY.rows, HEAVY.size), (HEAVY.size, HEAVY.size)
    arguments = [jax.ShapeDtypeStruct(shape, HEAVY.dtype, sharding=here) for shape in shapes]
    product = jax.jit(partial(chain, steps=HEAVY.steps)).lower(*arguments).compile().as_text() or ""
    ((result, *operands),) = re.findall(r"= (\w+)\S* convolution\((%\S+), (%\S+)\)", product)
    kinds = [re.findall(rf"{re.escape(name)} = (\w+)", product)[0] for name in operands]
    groups = {
        axis: re.findall(r" all-reduce\(.*replica_groups=\{(\S+)\}, ", text) for axis, text in texts.items()
    }
    return {"groups": groups, "types": [*kinds, result]}


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if command in ("devices", "doctor", "meshes"):
        print(json.dumps({"devices": devices, "doctor": doctor, "meshes": meshes}[command]()))
    else:
        name, slices, data, fsdp, each = words
        print(json.dumps(step(name, int(slices), (int(data), int(fsdp)), int(each))))
