"""The bytes that a program must move from and to memory at least, read from its jaxpr."""

import math
from collections.abc import Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var

from fdl.aot.operations import called_by, constants_of, needed

PARTS = ("dynamic_slice", "gather", "slice")
"""What reads of its first operand only what it gives."""


def bytes_moved(
    jaxpr: ClosedJaxpr, *, shares: Sequence[float] | None = None, out_shares: Sequence[float] | None = None
) -> int:
    """Bytes of what is read of a program's arguments and constants, and of its results, each once.

    Of an array from which batches are taken only the batch counts. An argument that is handed on as it is
    does not move.

    Args:
      jaxpr: the program.
      shares: of each argument, how much of it one device holds, to count the bytes of one device; all
        of it where not given.
      out_shares: the same of each result.
    """
    program = jaxpr.jaxpr
    read = dict.fromkeys(program.constvars, 1.0)
    read |= dict(zip(program.invars, shares or [1.0] * len(program.invars), strict=True))
    results = zip(program.outvars, out_shares or [1.0] * len(program.outvars), strict=True)
    made = {id(v): share * _bytes(v) for v, share in results if not (isinstance(v, Var) and v in read)}
    return round(sum(share * _read(program, v) for v, share in read.items()) + sum(made.values()))


def _read(jaxpr: Jaxpr, variable: Var) -> int:
    """Bytes of a variable that a program reads, each once."""
    whole, read = _bytes(variable), 0
    for equation in needed(jaxpr):
        for place, operand in enumerate(equation.invars):
            if operand is variable and read < whole:
                read += _read_by(equation, place)
    return min(read, whole)


def _read_by(equation: JaxprEqn, place: int) -> int:
    """Bytes that an operation reads of its operand at `place`, at least, if it runs once."""
    name, params, whole = equation.primitive.name, equation.params, _bytes(equation.invars[place])
    if name in PARTS:
        return sum(_bytes(v) for v in equation.outvars) if place == 0 else whole
    if name == "cond":
        inside = [branch.jaxpr for branch in params["branches"]] if place else []
        return min((_read(branch, branch.invars[place - 1]) for branch in inside), default=whole)
    if name == "scan":
        body = params["jaxpr"].jaxpr
        return _read(body, body.invars[place]) if place < constants_of(equation) else whole
    if name == "while":
        body, place = params["body_jaxpr"].jaxpr, place - params["cond_nconsts"]
        return _read(body, body.invars[place]) if 0 <= place < params["body_nconsts"] else whole
    inner = called_by(equation)
    inner = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
    if inner is None or name == "shard_map" or len(inner.invars) != len(equation.invars):
        return whole
    return _read(inner, inner.invars[place])


def _bytes(variable: Any) -> int:
    aval = variable.aval
    return math.prod(aval.shape) * aval.dtype.itemsize
