"""What a traced program is: which inputs reach its results, and a digest that only the same program has.

Two programs are the same where they are lowered to the same text, with the arrays that they close over in it,
and read the same inputs. What a call back to Python computes stands in no text, so such a program is like no
other.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var

from fdl.identity.content import digest_of

_BEYOND = ("callback", "custom_vmap")
"""In the names of primitives whose text does not say what they compute, alone or for several members."""


def told_whole(jaxpr: ClosedJaxpr) -> bool:
    """Whether a program's text, once it is lowered, says all that it computes: nothing calls back to Python,
    has an effect, or is computed otherwise for several members than the text of one says."""
    hoisted = getattr(jax.config, "jax_use_simplified_jaxpr_constants", False)  # its constants are no text
    return not hoisted and not jaxpr.effects and not any(_is_beyond(one) for one in _equations(jaxpr.jaxpr))


def inputs_read(jaxpr: ClosedJaxpr) -> tuple[bool, ...]:
    """Of each input whether it reaches a result: what none needs is as if it were not there.

    Where it is not clear, as within a loop, an input counts as read.
    """
    return _read(jaxpr.jaxpr, [True] * len(jaxpr.jaxpr.outvars))


def program_digest(traced: jax.stages.Traced) -> str:
    """A digest of what the compiler gets, constants included, and of what reaches it of the inputs; equal for
    equal programs only, where these are `told_whole`."""
    return digest_of(f"{inputs_read(traced.jaxpr)}\n{traced.lower().as_text()}")


def _read(jaxpr: Jaxpr, wanted: Iterable[bool]) -> tuple[bool, ...]:
    """Which inputs the results that are wanted need."""
    needed = {id(one) for one, use in zip(jaxpr.outvars, wanted, strict=True) if use}
    for equation in reversed(jaxpr.eqns):
        results = [id(one) in needed for one in equation.outvars]
        if any(results) or equation.effects:
            given = _called(equation)
            uses = _read(given, results) if given is not None else [True] * len(equation.invars)
            needed |= {id(one) for one, use in zip(equation.invars, uses, strict=True) if use}
    return tuple(isinstance(one, Var) and id(one) in needed for one in jaxpr.invars)


def _called(equation: JaxprEqn) -> Jaxpr | None:
    """The program that an equation calls with just its operands and whose results are its own, if it does."""
    inner = equation.params.get("jaxpr") if equation.primitive.name in ("jit", "pjit") else None
    return inner.jaxpr if isinstance(inner, ClosedJaxpr) else None


def _equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """All, also within loops, branches and calls."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in _programs(list(equation.params.values())):
            yield from _equations(inner)


def _programs(values: Any) -> Iterator[Jaxpr]:
    for value in values:
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _programs(value)


def _is_beyond(equation: JaxprEqn) -> bool:
    return bool(equation.effects) or any(word in equation.primitive.name for word in _BEYOND)
