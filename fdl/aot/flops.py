"""Floating-point operations of a program, counted from its jaxpr.

A compiler's own figure counts the body of a loop once; here it counts as often as it runs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from fdl.aot.operations import called_by, constants_of, needed, work_of
from fdl.aot.traffic import bytes_moved


class Cost(NamedTuple):
    """What a program costs on all devices together.

    Attributes:
      matrix: floating-point operations of matrix products and convolutions, two for each multiply-add;
        a product of complex numbers counts as four.
      other: those of everything else, one for each element, transcendental functions too.
      bytes: what must move from and to memory at least; see `bytes_moved`.
      uncounted: what could not be counted whole: operations that count as none, and `"while"` if a loop
        whose number of trips is not in the program counts as one trip.
    """

    matrix: int = 0
    other: int = 0
    bytes: int = 0
    uncounted: tuple[str, ...] = ()

    @property
    def flops(self) -> int:
        """All floating-point operations."""
        return self.matrix + self.other


class Known(NamedTuple):
    """What is known of a program before it runs.

    Attributes:
      platform: where it will run, as `"tpu"`; a program may have a branch for each.
      numbers: the scalar variables that are whole numbers known now.
    """

    platform: str
    numbers: Mapping[Var, int]


def cost_of(function: Callable[..., Any], *arguments: Any, platform: str = "tpu") -> Cost:
    """The cost of one call; `arguments` may be shapes (`jax.ShapeDtypeStruct`). See `count`."""
    return count(jax.make_jaxpr(function)(*arguments), platform=platform)


def count(jaxpr: ClosedJaxpr, *, platform: str = "tpu") -> Cost:
    """The cost of one run of a program.

    The body of a scan counts as often as it runs, of a conditional only the dearest branch. What `remat`
    computes again counts again; what nothing needs does not count. Where a program says what one device
    does (`shard_map`), all devices of its mesh count.

    Args:
      jaxpr: the program.
      platform: where it will run, as `"tpu"`; a program may have a branch for each.
    """
    return _inside(jaxpr, (), Known(platform, {}))._replace(bytes=bytes_moved(jaxpr))


def _inside(inner: ClosedJaxpr | Jaxpr, operands: Sequence[Any], known: Known) -> Cost:
    """The cost of a called program; what is known of its first operands is known within."""
    jaxpr = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
    given = [*zip(jaxpr.invars, operands, strict=False)]
    if isinstance(inner, ClosedJaxpr):
        given += zip(jaxpr.constvars, inner.consts, strict=True)
    numbers = {variable: _number(value, known) for variable, value in given}
    within = known._replace(numbers={v: n for v, n in numbers.items() if n is not None})
    total = Cost()
    for equation in needed(jaxpr):
        total = _plus(total, _equation(equation, within))
    return total


def _equation(equation: JaxprEqn, known: Known) -> Cost:
    name = equation.primitive.name
    work = work_of(equation)
    if work is not None:
        return Cost(work.matrix, work.other)
    if name in NESTED:
        return NESTED[name](equation, known)
    inner = called_by(equation)
    return Cost(uncounted=(name,)) if inner is None else _inside(inner, equation.invars, known)


def _scan(equation: JaxprEqn, known: Known) -> Cost:
    same = equation.invars[: constants_of(equation)]  # the other operands change
    return _times(_inside(equation.params["jaxpr"], same, known), equation.params["length"])


def _while(equation: JaxprEqn, known: Known) -> Cost:
    params = equation.params
    begin = params["cond_nconsts"]
    same = equation.invars[begin : begin + params["body_nconsts"]]
    test = _inside(params["cond_jaxpr"], equation.invars[:begin], known)
    once = _plus(_inside(params["body_jaxpr"], same, known), test)
    trips = _trips(equation, known)
    return _times(once, trips) if trips is not None else _plus(once, Cost(uncounted=("while",)))


def _trips(equation: JaxprEqn, known: Known) -> int | None:
    """How often a loop runs that counts from a known number by a known step to a known end."""
    skip, consts = equation.params["cond_nconsts"], equation.params["body_nconsts"]
    condition, body = equation.params["cond_jaxpr"].jaxpr, equation.params["body_jaxpr"].jaxpr
    if [test.primitive.name for test in condition.eqns] != ["lt"]:
        return None
    left, right = condition.eqns[0].invars
    if isinstance(left, Literal) or left not in condition.invars[skip:]:
        return None
    place = condition.invars.index(left) - skip
    step = _step(body, consts, place)
    begin = _number(equation.invars[skip + consts + place], known)
    if isinstance(right, Literal):
        end = _number(right, known)
    else:
        at = condition.invars.index(right)
        if at >= skip and body.outvars[at - skip] is not body.invars[consts + at - skip]:
            return None  # the end moves
        end = _number(equation.invars[at if at < skip else at + consts], known)
    if begin is None or end is None or not step:
        return None
    return max(0, math.ceil((end - begin) / step))


def _step(body: Jaxpr, consts: int, place: int) -> int | None:
    """By what the carry at `place` grows each trip, if that is a number in the program."""
    made = next((e for e in body.eqns if e.outvars[0] is body.outvars[place]), None)
    if made is None or made.primitive.name != "add":
        return None
    if not any(operand is body.invars[consts + place] for operand in made.invars):
        return None
    added = next((v.val for v in made.invars if isinstance(v, Literal)), None)
    return int(added) if added is not None and added > 0 else None


def _conditional(equation: JaxprEqn, known: Known) -> Cost:
    branches, platforms = equation.params["branches"], equation.params.get("branches_platforms")
    if platforms:
        fits = [known.platform in (names or (known.platform,)) for names in platforms]
        branches = branches[fits.index(True) :][:1]
    costs = [_inside(branch, equation.invars[1:], known) for branch in branches]
    return max(costs, key=lambda cost: cost.flops)


def _sharded(equation: JaxprEqn, known: Known) -> Cost:
    shape, params = equation.params["mesh"].shape, equation.params
    # Until jax 0.10.1 they had the other name.
    split = params["newly_manual_axes"] if "newly_manual_axes" in params else params["manual_axes"]
    devices = math.prod(shape[axis] for axis in split)
    return _times(_inside(equation.params["jaxpr"], equation.invars, known), devices)


def _kernel(equation: JaxprEqn, known: Known) -> Cost:
    grid = equation.params["grid_mapping"].grid
    return _times(_inside(equation.params["jaxpr"], (), known), math.prod(grid))


def _solve(equation: JaxprEqn, known: Known) -> Cost:
    return _inside(equation.params["jaxprs"].solve, (), known)


def _number(value: Any, known: Known) -> int | None:
    """The whole number that an operand or a constant is, if that is known."""
    if isinstance(value, Var):
        return known.numbers.get(value)
    value = value.val if isinstance(value, Literal) else value
    whole = np.ndim(value) == 0 and jnp.issubdtype(jnp.result_type(value), jnp.integer)
    return int(value) if whole else None


def _plus(a: Cost, b: Cost) -> Cost:
    names = a.uncounted + tuple(name for name in b.uncounted if name not in a.uncounted)
    return Cost(a.matrix + b.matrix, a.other + b.other, uncounted=names)


def _times(cost: Cost, times: int) -> Cost:
    return cost._replace(matrix=cost.matrix * times, other=cost.other * times)


NESTED: dict[str, Callable[[JaxprEqn, Known], Cost]] = {
    "cond": _conditional,
    "custom_linear_solve": _solve,
    "pallas_call": _kernel,
    "scan": _scan,
    "shard_map": _sharded,
    "while": _while,
}
"""Operations that run other programs, and not just once."""
