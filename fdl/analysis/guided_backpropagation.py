"""Guided backpropagation: a gradient whose ReLUs let only positive gradients through."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from fdl.analysis.chosen_output import Apply, chosen_output
from fdl.arguments import Whole, checked

_GROUPS = ("jit", "pjit", "remat2", "checkpoint")
"""Equations that only group others: functions under `jit`, and such as are computed again."""


@checked
def guided_backpropagation(apply: Apply, variables: Any, x: jax.Array, target: Whole[jax.Array]) -> jax.Array:
    """Guided backpropagation (Springenberg et al. 2015, Striving for Simplicity, sec. 3.4): the gradient,
    where each ReLU hands back only what is positive, beside where its input was.

    It is here to be known for what it is: it restores the input more than it explains the output, and changes
    little when the upper layers are random (Adebayo et al. 2018, Sanity Checks for Saliency Maps; Nie et al.
    2018, A Theoretical Explanation). `parameter_randomisation` shows it.

    The model is not changed: the operations that JAX traces are computed one by one, and each maximum of
    something and 0, which is what `nn.relu` is, gets the other gradient. Other activations keep theirs.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, ...]`, as the model gets them.
      target: which output of each row is explained, `[B]`.

    Returns:
      Attributions, as `x`.

    Raises:
      ValueError: there is no ReLU, or one in a loop.

    Example:
      >>> net = lambda weights, x: jax.nn.relu(x) @ weights
      >>> weights, x = jnp.array([[1.0], [-2.0]]), jnp.array([[3.0, 4.0]])
      >>> fdl.analysis.guided_backpropagation(net, weights, x, jnp.array([0]))
      Array([[1., 0.]], dtype=float32)
    """
    traced = jax.make_jaxpr(lambda x: jnp.sum(chosen_output(apply, variables, x, target)))(x)
    if not _has_relu(traced.jaxpr):
        raise ValueError("the network has no ReLU; expected one, whose gradient is guided")
    return jax.grad(lambda x: _computed(traced, [x])[0])(x)


@jax.custom_vjp
def _guided(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


def _backward(x: jax.Array, slope: jax.Array) -> tuple[jax.Array]:
    return (jnp.where((x > 0) & (slope > 0), slope, 0),)


_guided.defvjp(lambda x: (_guided(x), x), _backward)


def _computed(closed: ClosedJaxpr, inputs: Sequence[Any]) -> list[Any]:
    """What a program computes, its ReLUs replaced."""
    known = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    known |= dict(zip(closed.jaxpr.invars, inputs, strict=True))
    read = lambda one: one.val if isinstance(one, Literal) else known[one]  # noqa: E731
    for equation in closed.jaxpr.eqns:
        values = [read(one) for one in equation.invars]
        known |= dict(zip(equation.outvars, _result(closed.jaxpr, equation, values), strict=True))
    return [read(one) for one in closed.jaxpr.outvars]


def _result(jaxpr: Jaxpr, equation: JaxprEqn, values: list[Any]) -> list[Any]:
    if _is_relu(equation):
        pairs = zip(values, equation.invars, strict=True)
        return [_guided(next(value for value, one in pairs if not _is_zero(one)))]
    inner = _inner(equation)
    if inner is not None:
        return _computed(inner, values)
    if not _own_derivative(equation) and any(map(_has_relu, _parts(equation))):
        raise ValueError(f"a ReLU is inside {equation.primitive.name}; expected none in loops and branches")
    given = {one: value for one, value in zip(equation.invars, values, strict=True) if isinstance(one, Var)}
    inputs, outputs = list(given), equation.outvars
    alone = jaxpr.replace(constvars=[], invars=inputs, outvars=outputs, eqns=[equation])
    return eval_jaxpr(alone, (), *given.values())


def _is_relu(equation: JaxprEqn) -> bool:
    """Whether an equation is a maximum with 0, or a function that is nothing else, as `nn.relu`."""
    if equation.primitive.name == "max":
        return any(map(_is_zero, equation.invars))
    parts = _parts(equation)
    return len(parts) == 1 and len(parts[0].eqns) == 1 == len(equation.invars) and _is_relu(parts[0].eqns[0])


def _is_zero(one: Any) -> bool:
    return isinstance(one, Literal) and np.ndim(one.val) == 0 and one.val == 0


def _has_relu(jaxpr: Jaxpr) -> bool:
    """Whether there is one anywhere; what has derivatives of its own, as `softplus`, is taken as it is."""
    return any(
        _is_relu(one) or (not _own_derivative(one) and any(map(_has_relu, _parts(one)))) for one in jaxpr.eqns
    )


def _own_derivative(equation: JaxprEqn) -> bool:
    return equation.primitive.name.startswith(("custom_jvp_call", "custom_vjp_call"))


def _inner(equation: JaxprEqn) -> ClosedJaxpr | None:
    """What an equation stands for that only groups others."""
    inner = equation.params.get("jaxpr") if equation.primitive.name in _GROUPS else None
    return ClosedJaxpr(inner, ()) if isinstance(inner, Jaxpr) else inner


def _parts(equation: JaxprEqn) -> list[Jaxpr]:
    """The programs inside an equation."""
    leaves = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda one: isinstance(one, Jaxpr))
    return [
        one.jaxpr if isinstance(one, ClosedJaxpr) else one
        for one in leaves
        if isinstance(one, Jaxpr | ClosedJaxpr)
    ]
