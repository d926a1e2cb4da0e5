"""Training and evaluation that loop over steps and batches inside the compiled program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.parallel.plan import replicated
from fdl.parallel.sharding import put, readable
from fdl.train import run as one
from fdl.train.functions import Advance, Compiled, Evaluate, Functions, Pulse, pulse_of
from fdl.train.lowering import Parts, lifted, ready
from fdl.train.prefetch import never
from fdl.train.run import Carry


def on_device(parts: Parts) -> Functions:
    """The functions of a population whose data is on the devices: one call takes any number of steps."""
    read, end = readable(parts.mesh), _number(parts)
    return Functions(
        {
            "advance": ready(
                parts,
                _advance(parts),
                (parts.carry, parts.members, parts.arrays, end),
                out=(parts.layout, read),
                donate=True,
                manual=True,
            ),
            "evaluate": ready(
                parts,
                _evaluate(parts),
                (parts.carry, parts.members, parts.arrays),
                out=(parts.layout, read),
                donate=True,
            ),
        },
        lambda run: _connected(parts, run),
    )


def _number(parts: Parts) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((), jnp.int32, sharding=replicated(parts.mesh))


def _advance(parts: Parts) -> Any:
    def of_one(own: Any, shared: Any) -> tuple[Carry, Pulse]:
        carry = one.advance(parts.build, own[1], shared[0], own[0], shared[1])
        return carry, pulse_of(carry)

    of_all = lifted(parts, of_one, manual=True)
    return lambda carry, members, arrays, end: of_all((carry, members), (arrays, end))


def _evaluate(parts: Parts) -> Any:
    of_all = lifted(parts, lambda own, shared: one.evaluate(parts.build, own[1], shared, own[0]))
    return lambda carry, members, arrays: of_all((carry, members), arrays)


def _connected(parts: Parts, run: Compiled) -> tuple[Advance, Evaluate]:
    arrays, whole = parts.arrays, replicated(parts.mesh)

    def advance(members: Any, carry: Carry, start: int, end: int, asked: Any = never) -> tuple[Carry, Pulse]:
        del start, asked  # the carry has its step, and no data can be late
        return run["advance"](carry, members, arrays, put(np.int32(end), whole))

    return advance, lambda members, carry, asked=never: run["evaluate"](carry, members, arrays)
