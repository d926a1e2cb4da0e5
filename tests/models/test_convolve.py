"""The convolution's own gradients against JAX's default ones, in any place of a program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fdl.models import convolve as convolve_module
from fdl.models.convolve import convolve

pytestmark = pytest.mark.slow  # minutes of compiling

ROWS, INPUTS, OUTPUTS = 2, 4, 6
CASES = [  # spatial size, kernel, the rest
    ((7, 8), (3, 3), {}),
    ((7, 8), (3, 3), {"padding": "VALID"}),
    ((7, 8), (3, 3), {"padding": 1, "strides": 2}),
    ((8, 8), (3, 3), {"strides": 2}),
    ((8, 9), (2, 3), {"padding": "VALID", "strides": 2}),
    ((9, 8), (3, 3), {"padding": "VALID", "strides": (3, 2)}),
    ((8, 8), (1, 1), {}),
    ((8, 7), (1, 1), {"strides": 2}),
    ((8, 8), (1, 1), {"strides": 3, "padding": 1}),
    ((9, 9), (3, 2), {"dilation": 2}),
    ((9, 9), (3, 3), {"dilation": (2, 3), "strides": 2}),
    ((7, 8), (3, 3), {"padding": ((0, 3), (-1, 2))}),
    ((4, 5), (4, 4), {"spread": 2, "padding": 2}),
    ((4, 5), (3, 3), {"spread": 2, "strides": 3, "dilation": 2, "padding": 3}),
    ((9,), (3,), {}),
    ((9,), (4,), {"strides": 2, "padding": "VALID"}),
    ((9,), (3,), {"dilation": 2, "padding": ((4, 0),)}),
    ((8, 8), (3, 3), {"groups": 2}),
    ((8, 7), (3, 3), {"groups": 2, "strides": 2}),
    ((8, 8), (3, 3), {"groups": 4, "outputs": 4}),
    ((8, 7), (3, 3), {"groups": 4, "outputs": 8, "strides": 2, "dilation": 2}),
    ((9,), (3,), {"groups": 4, "outputs": 4, "strides": 2}),
]


def default(x, kernel, *, strides=1, padding="SAME", dilation=1, spread=1, groups=1):
    rank = x.ndim - 2
    each = lambda value: (value,) * rank if isinstance(value, int) else value  # noqa: E731
    return lax.conv_general_dilated(
        x,
        kernel,
        each(strides),
        [(padding, padding)] * rank if isinstance(padding, int) else padding,
        lhs_dilation=each(spread),
        rhs_dilation=each(dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC") if rank == 2 else ("NWC", "WIO", "NWC"),
        feature_group_count=groups,
    )


def arrays(case, lead=(), dtype=jnp.float64, rows=ROWS):
    space, size, options = case
    options = dict(options)
    outputs, groups = options.pop("outputs", OUTPUTS), options.get("groups", 1)
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (*lead, rows, *space, INPUTS), dtype)
    kernel = jax.random.normal(keys[1], (*lead, *size, INPUTS // groups, outputs), dtype)
    return x, kernel, functools.partial(convolve, **options), functools.partial(default, **options)


def results(function):
    """The sum of sin(y), and its gradients."""
    return jax.value_and_grad(lambda x, kernel: jnp.sum(jnp.sin(function(x, kernel))), argnums=(0, 1))


def penalty(function):
    """The gradient of the gradients' squared norm."""

    def squares(x, kernel):
        return sum(jnp.sum(jnp.square(each)) for each in results(function)(x, kernel)[1])

    return jax.grad(squares, argnums=(0, 1))


def close(ours, reference, rtol):
    def check(a, b):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())

    jax.tree.map(check, ours, reference)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_default_in_float64(case):
    with jax.enable_x64(True):
        x, kernel, ours, reference = arrays(case)
        close(jax.jit(results(ours))(x, kernel), jax.jit(results(reference))(x, kernel), 1e-12)


@pytest.mark.parametrize("of", [results, penalty])
@pytest.mark.parametrize("case", [CASES[3], CASES[11], CASES[13]], ids=str)
def test_a_batch_whose_kernel_gradient_is_made_in_parts(case, of):
    assert convolve_module.ROWS < 48 and 48 % convolve_module.ROWS == 0
    with jax.enable_x64(True):
        x, kernel, ours, reference = arrays(case, rows=48)
        close(jax.jit(of(ours))(x, kernel), jax.jit(of(reference))(x, kernel), 1e-12)


@pytest.mark.parametrize("case", [CASES[3], CASES[6], CASES[20]], ids=str)
def test_gradients_of_gradients_equal_the_defaults(case):
    with jax.enable_x64(True):
        x, kernel, ours, reference = arrays(case)
        close(jax.jit(penalty(ours))(x, kernel), jax.jit(penalty(reference))(x, kernel), 1e-12)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
@pytest.mark.parametrize("case", [CASES[2], CASES[15], CASES[20]], ids=str)
def test_members_side_by_side_equal_the_default(case, axes):
    with jax.enable_x64(True):
        x, kernel, ours, reference = arrays(case, lead=(3,))
        x, kernel = (each if axis == 0 else each[0] for each, axis in zip((x, kernel), axes, strict=True))
        together = jax.jit(jax.vmap(results(ours), axes))(x, kernel)
        close(together, jax.jit(jax.vmap(results(reference), axes))(x, kernel), 1e-12)


def test_members_of_members():
    with jax.enable_x64(True):
        x, kernel, ours, reference = arrays(CASES[2], lead=(2, 3))
        together = jax.jit(jax.vmap(jax.vmap(ours)))(x, kernel)
        close(together, jax.vmap(jax.vmap(reference))(x, kernel), 1e-12)


def test_inside_a_scan():
    with jax.enable_x64(True):
        x, kernel, ours, reference = arrays(CASES[3])

        def final(function):
            def body(kernel, _):
                gradient = jax.grad(lambda k: jnp.sum(jnp.square(function(x, k))))(kernel)
                return kernel - 1e-4 * gradient, None

            return jax.jit(lambda kernel: lax.scan(body, kernel, length=3)[0])(kernel)

        close(final(ours), final(reference), 1e-12)


def test_under_shard_map_with_replicated_kernels_the_gradient_is_the_whole_batchs():
    if jax.device_count() < 2:
        pytest.skip("one device; XLA_FLAGS=--xla_force_host_platform_device_count=2 makes two")
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = jax.P("data"), jax.P()
    x, kernel, ours, reference = arrays(CASES[2], dtype=jnp.float32)

    def gradient(function, x, kernel):
        return jax.grad(lambda kernel: lax.psum(jnp.sum(jnp.sin(function(x, kernel))), "data"))(kernel)

    def sharded(function):
        local = functools.partial(gradient, function)
        return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(split, whole), out_specs=whole))

    close(sharded(ours)(x, kernel), sharded(reference)(x, kernel), 1e-5)


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_each_platform_gets_its_own_form(platform):
    """Only the CPU's gradients are in the forward order of axes; nothing of the other form is left."""
    x, kernel, ours, _ = arrays(CASES[2], dtype=jnp.float32)

    @jax.jit
    def gradients(x, kernel):
        return jax.grad(lambda x, k: jnp.sum(jnp.sin(ours(x, k))), (0, 1))(x, kernel)

    text = gradients.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    canonical = text.count("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]")
    assert text.count("stablehlo.convolution") == 3
    assert canonical == (3 if platform == "cpu" else 1)


@pytest.mark.parametrize(
    ("x", "kernel", "groups", "message"),
    [
        ((1, 8, 8, 3), (3, 3, 4, 2), 1, "does not fit kernel"),
        ((1, 8, 3), (3, 3, 3, 2), 1, "does not fit kernel"),
        ((1, 8, 8, 4), (3, 3, 2, 3), 2, "3 output channels do not divide into 2 groups"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x, kernel, groups, message):
    with pytest.raises(ValueError, match=message):
        convolve(jnp.zeros(x), jnp.zeros(kernel), groups=groups)


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="padding is 'FULL'; expected 'SAME', 'VALID'"):
        convolve(jnp.zeros((1, 8, 8, 3)), jnp.zeros((3, 3, 3, 2)), padding="FULL")
