"""Counts of FLOPs: by hand, against XLA's where it has no loop to misjudge, against the closed form."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from fdl.aot.flops import Cost, cost_of
from fdl.models.language_model import gpt2
from fdl.models.resnet import cifar_resnet

S = jax.ShapeDtypeStruct


def shapes(*each: tuple[int, ...], dtype=jnp.float32) -> list[jax.ShapeDtypeStruct]:
    return [S(shape, dtype) for shape in each]


def convolution(strides=(1, 1), padding: Any = "VALID", **options):
    return lambda x, k: lax.conv_general_dilated(
        x, k, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


BY_HAND = {
    "matrix product": (jnp.matmul, shapes((3, 5), (5, 7)), 2 * 3 * 5 * 7, 0),
    "batched": (functools.partial(jnp.einsum, "bik,bkj->bij"), shapes((4, 3, 5), (4, 5, 7)), 840, 0),
    "vmap": (jax.vmap(jnp.matmul, (0, None)), shapes((4, 3, 5), (5, 7)), 840, 0),
    "complex": (jnp.matmul, shapes((3, 5), (5, 7), dtype=jnp.complex64), 8 * 3 * 5 * 7, 0),
    "integers": (jnp.matmul, shapes((3, 5), (5, 7), dtype=jnp.int8), 210, 0),
    "convolution": (convolution(), shapes((2, 8, 8, 3), (3, 3, 3, 16)), 2 * 2 * 6 * 6 * 16 * 27, 0),
    "strides": (convolution((2, 2)), shapes((2, 9, 9, 3), (3, 3, 3, 16)), 2 * 2 * 4 * 4 * 16 * 27, 0),
    "groups": (
        convolution(feature_group_count=4),
        shapes((2, 8, 8, 8), (3, 3, 2, 16)),
        2 * 2 * 6 * 6 * 16 * 9 * 2,
        0,
    ),
    # Of 3 x 3 windows over 4 x 4 with a border of zeros, 3 x 3 x 4 - 2 products of each axis are real.
    "padding": (convolution(padding="SAME"), shapes((1, 4, 4, 1), (3, 3, 1, 1)), 2 * 10 * 10, 0),
    "transposed": (
        convolution(padding=((0, 0), (0, 0)), lhs_dilation=(2, 2)),
        shapes((1, 3, 3, 1), (2, 2, 1, 1)),
        2 * 4 * 4,
        0,
    ),
    "elementwise": (lambda x, y: jnp.sin(x) * y + 1, shapes((4, 5), (4, 5)), 0, 60),
    "whole numbers are free": (lambda x: x * 2 + 1, [S((4, 5), jnp.int32)], 0, 0),
    "moving is free": (lambda x: jnp.flip(x.T.reshape(2, 10)), shapes((4, 5)), 0, 0),
    "reduction": (lambda x: x.max(0), shapes((4, 5)), 0, 20),
    "pooling": (lambda x: nn.max_pool(x, (2, 2), (2, 2)), shapes((1, 8, 8, 3)), 0, 4 * 4 * 3 * 4),
    "scatter": (lambda x, u: x.at[jnp.array([1, 1])].add(u), shapes((9, 5), (2, 5)), 0, 10),
    "scan": (lambda x: lax.scan(lambda c, _: (c @ c, c), x, None, length=6)[0], shapes((3, 3)), 6 * 54, 0),
    "nested": (
        lambda x: lax.fori_loop(0, 5, lambda i, c: lax.fori_loop(0, 4, lambda j, d: d @ d, c), x),
        shapes((3, 3)),
        20 * 54,
        0,
    ),
    "conditional": (
        lambda p, x: lax.cond(p, lambda y: y @ y @ y, lambda y: y + 1, x),
        [S((), jnp.bool_), S((3, 3), jnp.float32)],
        2 * 54,
        0,
    ),
    "jit": (jax.jit(lambda x: jax.jit(jnp.matmul)(x, x)), shapes((3, 3)), 54, 0),
    "custom rule": (jax.nn.relu, shapes((3, 3)), 0, 9),
    "fast Fourier": (jnp.fft.fft, [S((4, 8), jnp.complex64)], 0, 5 * 32 * 3),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_counts_by_hand(name):
    function, arguments, matrix, other = BY_HAND[name]
    cost = cost_of(function, *arguments)
    assert (cost.matrix, cost.other, cost.uncounted) == (matrix, other, ())


def test_gradients_through_remat_count_what_is_computed_again():
    loss = lambda x: jnp.tanh(x @ x).sum()  # noqa: E731
    x = S((9, 9), jnp.float32)
    plain, again = (cost_of(jax.value_and_grad(f), x) for f in (loss, jax.checkpoint(loss)))
    product = 2 * 9**3
    assert plain.matrix == 3 * product
    assert again.matrix == 4 * product


@pytest.mark.parametrize(
    ("begin", "end", "step", "trips"), [(0, 7, 1, 7), (2, 7, 2, 3), (5, 5, 1, 0), (7, 5, 1, 0)]
)
def test_a_loop_of_a_known_number_of_trips(begin, end, step, trips):
    def loop(x):
        bounded = lambda c: c[0] < end  # noqa: E731
        return lax.while_loop(bounded, lambda c: (c[0] + step, c[1] @ c[1]), (begin, x))

    assert cost_of(loop, S((3, 3), jnp.float32)) == Cost(matrix=trips * 54, bytes=36 * 2 + 4)


def test_an_end_that_comes_with_the_loop_is_read():
    loop = lambda x: lax.fori_loop(jnp.int32(2), jnp.int32(9), lambda i, c: c @ c, x)  # noqa: E731
    assert cost_of(jax.jit(loop), S((3, 3), jnp.float32)).matrix == 7 * 54


@pytest.mark.parametrize("condition", ["data", "end given", "two tests"])
def test_an_unknown_number_of_trips_counts_once_and_is_said(condition):
    conditions = {
        "data": lambda c: c[1].sum() < 5,
        "end given": lambda c: c[0] < c[2],
        "two tests": lambda c: (c[0] < 5) & (c[1][0, 0] < 1),
    }

    def loop(x, end):
        return lax.while_loop(conditions[condition], lambda c: (c[0] + 1, c[1] @ c[1], c[2]), (0, x, end))

    cost = cost_of(loop, S((3, 3), jnp.float32), S((), jnp.int32))
    assert (cost.matrix, cost.uncounted) == (54, ("while",))


def test_what_it_cannot_count_is_named_once():
    cost = cost_of(lambda x: jnp.linalg.cholesky(x) + jnp.linalg.cholesky(x + 1), S((3, 3), jnp.float32))
    assert "cholesky" in cost.uncounted
    assert len(set(cost.uncounted)) == len(cost.uncounted)


def test_all_devices_of_a_mesh_count():
    mesh = jax.sharding.AbstractMesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    rows = PartitionSpec(("data", "fsdp"))
    each = jax.shard_map(lambda x, k: x @ k, mesh=mesh, in_specs=(rows, PartitionSpec()), out_specs=rows)
    whole = cost_of(jnp.matmul, *shapes((16, 5), (5, 7)))
    assert cost_of(each, *shapes((16, 5), (5, 7))) == whole


def test_of_branches_for_platforms_the_right_one_counts():
    both = lambda x: lax.platform_dependent(x, cpu=lambda y: y @ y, default=lambda y: y)  # noqa: E731
    x = S((3, 3), jnp.float32)
    assert (cost_of(both, x, platform="cpu").matrix, cost_of(both, x, platform="tpu").matrix) == (54, 0)


def test_what_nothing_needs_does_not_count():
    linear = jax.grad(lambda x, k: (x @ k).sum())  # the product itself is not needed
    assert cost_of(linear, *shapes((3, 5), (5, 7))).matrix == 210


READS = {
    "arguments and results": (lambda x: x + 1, 80 + 80),
    "handed on": (lambda x: (x, x * 2), 80 + 80),
    "not needed": (lambda x: jnp.zeros(3), 12),
    "a batch of rows": (lambda x: x[jnp.array([1, 2])] + 1, 2 * 20 + 8 + 2 * 20),
    "rows twice over": (lambda x: x[jnp.arange(40) % 4], 80 + 40 * 20),
    "a batch inside jit": (jax.jit(lambda x: jax.jit(lambda y: lax.dynamic_slice_in_dim(y, 1, 2))(x)), 80),
    "a batch in a loop": (lambda x: lax.fori_loop(0, 3, lambda i, c: c + x[i], jnp.zeros(5)), 20 + 20),
    "the cheaper branch": (lambda x: lax.cond(x[0, 0] > 0, lambda y: y[0], lambda y: y.sum(0), x), 24 + 20),
}


@pytest.mark.parametrize("name", READS)
def test_bytes_that_move(name):
    function, moved = READS[name]
    assert cost_of(function, S((4, 5), jnp.float32)).bytes == moved


def loss_of(model, variables, x, y):
    logits = model.apply(variables, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def in_xla(function, *arguments) -> float:
    analysis: Any = jax.jit(function).lower(*arguments).cost_analysis()
    return analysis["flops"]


def small_gpt(layers: int, **options):
    model = gpt2(256, length=64, width=64, layers=layers, heads=4, **options)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64), jnp.int32))
    return model, variables


def test_against_xla_on_a_transformer():
    model, variables = small_gpt(2)
    tokens = S((4, 64), jnp.int32)
    gradient = jax.grad(functools.partial(loss_of, model))
    counted = cost_of(gradient, variables, tokens, tokens)
    assert counted.uncounted == ()
    assert counted.flops == pytest.approx(in_xla(gradient, variables, tokens, tokens), rel=0.03)


def test_against_xla_on_a_convolutional_network():
    model = cifar_resnet(8)
    image = S((2, 16, 16, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    gradient = jax.grad(lambda v, x, y: loss_of(model, v, x, y))
    arguments = (variables, image, S((2,), jnp.int32))
    counted = cost_of(gradient, *arguments, platform="cpu")
    assert counted.flops == pytest.approx(in_xla(gradient, *arguments), rel=0.05)


def test_a_step_of_a_transformer_is_six_times_parameters_times_tokens():
    """6 N D (Kaplan et al. 2020, Scaling laws for neural language models, sec. 2.1), and the attention."""
    layers, width, length, batch = 3, 64, 64, 4
    model, variables = small_gpt(layers)
    tokens = S((batch, length), jnp.int32)
    counted = cost_of(jax.grad(functools.partial(loss_of, model)), variables, tokens, tokens)
    sizes = jax.tree.map(lambda leaf: math.prod(leaf.shape), variables)["params"]
    matrices = sum(jax.tree.leaves(sizes)) - sum(jax.tree.leaves(sizes["transformer"]["positions"]))
    attention = 6 * layers * 2 * length * width
    closed = (6 * matrices + attention) * batch * length
    assert counted.matrix == pytest.approx(closed, rel=0.02)
    assert counted.matrix < closed  # biases and norms are parameters that nothing is multiplied by


def test_a_scan_over_layers_costs_what_unrolled_layers_cost():
    tokens = S((4, 64), jnp.int32)
    costs = []
    for scan in (False, True):
        model, variables = small_gpt(3, scan=scan)
        costs.append(cost_of(model.apply, variables, tokens))
    assert costs[0] == costs[1]
