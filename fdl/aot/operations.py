"""The operations of a jaxpr: which are needed, which call a program, what each computes."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE = _names(
    "abs acos acosh add add_any asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp cos "
    "cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igamma_grad_a igammac "
    "integer_pow is_finite le lgamma log log1p log2 logistic lt max min mul ne neg nextafter "
    "one_minus_square polygamma pow reciprocal regularized_incomplete_beta rem round rsqrt sign sin sinh "
    "sqrt square sub tan tanh zeta"
)
"""One operation for every element of the result, where the operands are floating-point numbers."""
REDUCTIONS = _names(
    "argmax argmin cumlogsumexp cummax cummin cumprod cumsum pmax pmin psum psum_invariant "
    "psum_invariant_start psum_start reduce reduce_max reduce_min reduce_prod reduce_scatter "
    "reduce_scatter_start reduce_sum scatter-add scatter-max scatter-min scatter-mul scatter-sub "
    "unreduced_pmax unreduced_pmin unreduced_psum unreduced_reduce_scatter"
)
"""One operation for every element that goes in; of a scatter, for every update."""
FREE = _names(
    "after_all all_gather all_gather_done all_gather_invariant all_gather_reduced all_gather_start "
    "all_to_all all_to_all_done all_to_all_start and approx_top_k axis_index bitcast_convert_type "
    "broadcast_in_dim broadcast_to check clz complex concatenate conj convert_element_type copy "
    "create_token dce_sink debug_callback debug_print device_put dynamic_slice dynamic_update_slice empty "
    "empty_ref eq_to free_ref freeze from_edtype gather get imag inspect_sharding iota iota_2x32_shape "
    "layout_constraint le_to lt_to mulhi name new_ref not num_programs optimization_barrier or pad "
    "pbroadcast pbroadcast_dynamic philox2x32 philox4x32 pin platform_index population_count ppermute "
    "ppermute_done ppermute_start precv preduced program_id psend psum_done pvary ragged_all_to_all "
    "random_bits random_clone random_fold_in random_seed random_split random_unwrap random_wrap real "
    "reduce_and reduce_or reduce_precision reduce_scatter_done reduce_xor reduced_vary_cast relayout "
    "reshape reshard rev rng_bit_generator rng_uniform scatter select_n shape_assertion "
    "sharding_constraint shift_left shift_right_arithmetic shift_right_logical slice sort split squeeze "
    "stack stop_gradient swap threefry2x32 threefry4x32 tie tile to_edtype top_k transpose unpin unstack "
    "vary_unreduced_cast with_memory_space_constraint xor zeros_like"
)
"""No floating-point operation: moving, comparing whole numbers, drawing bits."""
INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")
"""Where an operation that only calls another program keeps it."""


class Work(NamedTuple):
    """Floating-point operations.

    Attributes:
      matrix: of matrix products and convolutions, two for each multiply-add; a product of complex
        numbers counts as four.
      other: of everything else, one for each element, transcendental functions too.
    """

    matrix: int = 0
    other: int = 0


def work_of(equation: JaxprEqn) -> Work | None:
    """What an operation does that calls no other program; None if that is not known."""
    name = equation.primitive.name
    if name in FREE:
        return Work()
    if name in ELEMENTWISE:
        return Work(other=_size(equation.outvars[0]) if _is_floating(equation) else 0)
    if name in REDUCTIONS:
        return Work(other=_reduced(equation) if _is_floating(equation) else 0)
    return COUNTED[name](equation) if name in COUNTED else None


def needed(jaxpr: Jaxpr) -> list[JaxprEqn]:
    """The operations of a program that a result or an effect needs, the last first."""
    wanted, kept = {v for v in jaxpr.outvars if not isinstance(v, Literal)}, []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or wanted.intersection(equation.outvars):
            wanted.update(v for v in equation.invars if not isinstance(v, Literal))
            kept.append(equation)
    return kept


def called_by(equation: JaxprEqn) -> ClosedJaxpr | Jaxpr | None:
    """The program that an operation runs once, as `jit` and `remat` do; None if it runs none."""
    inner = next((equation.params[key] for key in INNER if key in equation.params), None)
    return inner if isinstance(inner, ClosedJaxpr | Jaxpr) else None


def constants_of(scan: JaxprEqn) -> int:
    """How many operands of a scan, the first ones, are the same in each trip.

    Read off the shapes, since JAX has changed how it says it: what a scan takes slices of has an axis
    more than the slices, and of what it gives only the carry has the shape that it has inside.
    """
    inside, operands = scan.params["jaxpr"].jaxpr, scan.invars
    sliced = sum(_type(a).ndim != _type(b).ndim for a, b in zip(operands, inside.invars, strict=True))
    carried = sum(_type(a).ndim == _type(b).ndim for a, b in zip(scan.outvars, inside.outvars, strict=True))
    return len(operands) - sliced - carried


def _product(equation: JaxprEqn) -> Work:
    left, out = _type(equation.invars[0]), _type(equation.outvars[0])
    (contracted, _), _ = equation.params["dimension_numbers"]
    return _multiply_adds(math.prod(out.shape) * math.prod(left.shape[axis] for axis in contracted), out)


def _ragged_product(equation: JaxprEqn) -> Work:
    (rows, inner), right = _type(equation.invars[0]).shape[-2:], _type(equation.invars[1])
    return _multiply_adds(rows * inner * right.shape[-1], right)


def _convolution(equation: JaxprEqn) -> Work:
    """Only products with elements of the image: not with padding, nor with the zeros of dilation."""
    image, kernel = (_type(operand).shape for operand in equation.invars)
    out, params = _type(equation.outvars[0]), equation.params
    at_image, at_kernel, at_out = params["dimension_numbers"]
    products = out.shape[at_out[0]] * out.shape[at_out[1]] * kernel[at_kernel[1]]
    for axis in range(len(at_image) - 2):
        places = np.arange(out.shape[at_out[2 + axis]])[:, None] * params["window_strides"][axis]
        window = np.arange(kernel[at_kernel[2 + axis]])[None] * params["rhs_dilation"][axis]
        at, gap = places + window - params["padding"][axis][0], params["lhs_dilation"][axis]
        inside = (at >= 0) & (at <= (image[at_image[2 + axis]] - 1) * gap) & (at % gap == 0)
        products *= int(inside.sum())
    return _multiply_adds(products, out)


def _window(equation: JaxprEqn) -> Work:
    out = equation.outvars[0] if "reduce" in equation.primitive.name else equation.invars[0]
    return Work(other=_size(out) * math.prod(equation.params["window_dimensions"]))


def _transform(equation: JaxprEqn) -> Work:
    """The usual figure for a fast Fourier transform, 5 n log2 n, and half of it for real numbers."""
    ends = _type(equation.invars[0]), _type(equation.outvars[0])
    real = not all(jnp.issubdtype(end.dtype, jnp.complexfloating) for end in ends)
    length = math.prod(equation.params["fft_lengths"])
    each = 5 * math.log2(length) / (2 if real else 1)
    return Work(other=round(each * max(end.size for end in ends)))


def _multiply_adds(number: int, like: Any) -> Work:
    return Work(matrix=number * (8 if jnp.issubdtype(like.dtype, jnp.complexfloating) else 2))


def _reduced(equation: JaxprEqn) -> int:
    if equation.primitive.name.startswith("scatter"):
        return _size(equation.invars[2])
    return sum(_size(v) for v in equation.invars if getattr(_type(v), "ndim", 0))


def _is_floating(equation: JaxprEqn) -> bool:
    return any(
        jnp.issubdtype(_type(v).dtype, jnp.inexact) for v in equation.invars if hasattr(_type(v), "dtype")
    )


def _type(variable: Any) -> Any:
    """The shape and dtype of a variable."""
    return variable.aval


def _size(variable: Any) -> int:
    return math.prod(_type(variable).shape)


COUNTED: dict[str, Callable[[JaxprEqn], Work]] = {
    "conv_general_dilated": _convolution,
    "dot_general": _product,
    "fft": _transform,
    "ragged_dot_general": _ragged_product,
    "reduce_window": _window,
    "reduce_window_max": _window,
    "reduce_window_min": _window,
    "reduce_window_sum": _window,
    "select_and_gather_add": _window,
    "select_and_scatter_add": _window,
}
"""Operations with a count of their own."""
