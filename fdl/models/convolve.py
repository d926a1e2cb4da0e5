"""Convolution as a function whose gradients are fast in any place of a program.

XLA brings a convolution into the form of its fast CPU kernel only at the top level of a program.
Inside a loop, a gradient in JAX's default form, or one convolution for each of many members under
`vmap`, runs 30 to 45 times slower. Here the operation is closed under differentiation: both
gradients are again convolutions `[B, *S, I]` by `[*K, I, O]`, in the order of axes that the CPU
kernel wants; under `vmap`, members with kernels of their own go one after another. Other platforms
get XLA's own forms. Values are equal but for rounding. Only reverse mode is defined, of any order.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Padding = str | int | Sequence[tuple[int, int]]
"""`"SAME"`, `"VALID"`, one number for all sides, or (before, after) for each spatial axis."""
ROWS = 16
"""Rows of a batch that a kernel's gradient takes at once: as channels of a convolution, more are slower."""
_LAYOUTS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}


class Window(NamedTuple):
    """How a kernel moves over its input; each field has an entry for each spatial axis.

    Attributes:
      strides: steps of the kernel.
      padding: zeros (before, after); a negative number crops.
      spread: distance between the input's entries, zeros between them (XLA's lhs dilation).
      dilation: distance between the kernel's entries.
    """

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    spread: tuple[int, ...]
    dilation: tuple[int, ...]


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int] | int = 1,
    padding: Padding = "SAME",
    dilation: Sequence[int] | int = 1,
    spread: Sequence[int] | int = 1,
    groups: int = 1,
) -> jax.Array:
    """Cross-correlation of `x` `[B, *S, I]` with `kernel` `[*K, I / groups, O]`: `[B, *S', O]`.

    `S` is one or two spatial axes. Of `groups` equal shares of the output channels, each sees its
    own share of the input channels alone; with as many groups as input channels it is depthwise.

    Raises:
      ValueError: ranks or channels that do not fit together, or a padding of an unknown form.
    """
    _check(x, kernel, groups)
    window = window_of(
        x.shape, kernel.shape, strides=strides, padding=padding, dilation=dilation, spread=spread
    )
    x, kernel = _varying_alike(x, kernel)
    if groups == 1:
        return _convolve(x, kernel, window)
    apart = functools.partial(_depthwise if kernel.shape[-2] == 1 else _apart, window=window)
    together = functools.partial(_plain, window=window, groups=groups)
    return lax.platform_dependent(x, kernel, cpu=apart, default=together)


def window_of(
    x: Sequence[int],
    kernel: Sequence[int],
    *,
    strides: Sequence[int] | int = 1,
    padding: Padding = "SAME",
    dilation: Sequence[int] | int = 1,
    spread: Sequence[int] | int = 1,
) -> Window:
    """The window of a kernel of shape `[*K, I, O]` over an input of shape `[B, *S, C]`, written out."""
    rank = len(x) - 2
    strides, dilation, spread = (
        (value,) * rank if isinstance(value, int) else tuple(value) for value in (strides, dilation, spread)
    )
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(f"padding is {padding!r}; expected 'SAME', 'VALID', a number or pairs")
        sizes = [(n - 1) * s + 1 for n, s in zip(x[1:-1], spread, strict=True)]
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=False)]
        padding = lax.padtype_to_pads(sizes, extents, strides, padding)
    pairs = [(padding, padding)] * rank if isinstance(padding, int) else padding
    return Window(strides, tuple((int(before), int(after)) for before, after in pairs), spread, dilation)


def shifted(x: jax.Array, sizes: Sequence[int], window: Window) -> list[jax.Array]:
    """What each entry of a kernel of size `sizes` sees, in row-major order: arrays `[B, *S', I]`."""
    x = _padded(x, window)
    axes = list(zip(x.shape[1:-1], sizes, window.strides, window.dilation, strict=True))
    spans = [(n - (k - 1) * d - 1) // s * s + 1 for n, k, s, d in axes]
    views = []
    for entry in itertools.product(*map(range, sizes)):
        starts = [i * d for i, d in zip(entry, window.dilation, strict=True)]
        cuts = [slice(a, a + n, s) for a, n, s in zip(starts, spans, window.strides, strict=True)]
        views.append(x[(slice(None), *cuts)])
    return views


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    looped = functools.partial(_looped, window)
    return lax.platform_dependent(x, kernel, cpu=looped, default=functools.partial(_plain, window=window))


def _forward(
    x: jax.Array, kernel: jax.Array, window: Window
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _convolve(x, kernel, window), (x, kernel)


def _backward(
    window: Window, saved: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def default(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(functools.partial(_plain, window=window), x, kernel)[1](dy)

    def canonical(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _input_gradient(x, kernel, dy, window), _kernel_gradient(x, kernel, dy, window)

    return lax.platform_dependent(*saved, dy, cpu=canonical, default=default)


_convolve.defvjp(_forward, _backward)


def _input_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    """`dy`, spread by the strides, convolved with the kernel flipped in space."""
    rank = x.ndim - 2
    padding = []
    for axis, ((before, _), s, p, d) in enumerate(_axes(window)):
        extent = (kernel.shape[axis] - 1) * d
        last = (x.shape[axis + 1] - 1) * p + before - (dy.shape[axis + 1] - 1) * s
        padding.append((extent - before, last))
    turned = jnp.swapaxes(jnp.flip(kernel, range(rank)), -1, -2)
    return _convolve(dy, turned, Window(window.spread, tuple(padding), window.strides, window.dilation))


def _kernel_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    """`x` convolved with `dy`, rows as channels; for a kernel of one entry, a matrix product."""
    rank = x.ndim - 2
    if all(size == 1 for size in kernel.shape[:-2]):
        (seen,) = shifted(x, (1,) * rank, window)
        return jnp.tensordot(seen, dy, [list(range(rank + 1))] * 2).reshape(kernel.shape)
    padding = []
    for axis, ((before, _), s, p, d) in enumerate(_axes(window)):
        extent = (kernel.shape[axis] - 1) * d
        last = extent + (dy.shape[axis + 1] - 1) * s - before - (x.shape[axis + 1] - 1) * p
        padding.append((before, last))
    rows_last = [*range(1, rank + 1), 0, rank + 1]
    if len(x) > ROWS and len(x) % ROWS == 0:
        few = jax.tree.map(lambda rows: jnp.swapaxes(rows.reshape(ROWS, -1, *rows.shape[1:]), 0, 1), (x, dy))
        return jnp.sum(lax.map(lambda part: _kernel_gradient(part[0], kernel, part[1], window), few), 0)
    moved = Window(window.dilation, tuple(padding), window.spread, window.strides)
    gradient: jax.Array = _convolve(jnp.swapaxes(x, 0, -1), dy.transpose(rows_last), moved)
    return gradient.transpose(rows_last)


def _axes(window: Window) -> Iterator[tuple[tuple[int, int], int, int, int]]:
    return zip(window.padding, window.strides, window.spread, window.dilation, strict=True)


def _looped(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`_plain`; under `vmap` it never becomes a convolution in groups, for which CPUs have no fast kernel."""

    @jax.custom_batching.custom_vmap
    def operation(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _plain(x, kernel, window=window)

    @operation.def_vmap
    def rule(size: int, batched: list[bool], x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, bool]:
        if all(batched):
            return lax.map(lambda each: operation(*each), (x, kernel)), True
        if batched[0]:
            y = operation(x.reshape(-1, *x.shape[2:]), kernel)
            return y.reshape(size, -1, *y.shape[1:]), True
        wide = jnp.moveaxis(kernel, 0, -2)
        y = operation(x, wide.reshape(*wide.shape[:-2], -1))
        return jnp.moveaxis(y.reshape(*y.shape[:-1], size, -1), -2, 0), True

    return operation(x, kernel)


def _plain(x: jax.Array, kernel: jax.Array, *, window: Window, groups: int = 1) -> jax.Array:
    """XLA's own convolution."""
    if any(side < 0 for pair in window.padding for side in pair):  # the CPU's kernel cannot crop
        rank = x.ndim - 2
        x = _padded(x, window)
        window = window._replace(padding=((0, 0),) * rank, spread=(1,) * rank)
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.padding,
        lhs_dilation=window.spread,
        rhs_dilation=window.dilation,
        dimension_numbers=_LAYOUTS[x.ndim - 2],
        feature_group_count=groups,
    )


def _padded(x: jax.Array, window: Window) -> jax.Array:
    sides = [(before, after, s - 1) for (before, after), s in zip(window.padding, window.spread, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *sides, (0, 0, 0)])


def _depthwise(x: jax.Array, kernel: jax.Array, *, window: Window) -> jax.Array:
    """A sum over the kernel's entries of shifted inputs, each times a factor a channel."""
    *sizes, _, outputs = kernel.shape
    factors = kernel.reshape(-1, outputs)
    views = shifted(jnp.repeat(x, outputs // x.shape[-1], axis=-1), sizes, window)
    return sum((view * factor for view, factor in zip(views, factors, strict=True)), jnp.zeros((), x.dtype))


def _apart(x: jax.Array, kernel: jax.Array, *, window: Window) -> jax.Array:
    """A convolution for each group."""
    groups = x.shape[-1] // kernel.shape[-2]
    pairs = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
    return jnp.concatenate([_convolve(part, own, window) for part, own in pairs], axis=-1)


def _varying_alike(*arrays: jax.Array) -> list[jax.Array]:
    """The arrays, varying over the same axes of `shard_map`: it sums a replicated kernel's gradient."""
    own = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    missing = [tuple(frozenset.union(*own) - axes) for axes in own]
    pairs = zip(arrays, missing, strict=True)
    return [lax.pcast(array, axes, to="varying") if axes else array for array, axes in pairs]


def _check(x: jax.Array, kernel: jax.Array, groups: int) -> None:
    if x.ndim not in (3, 4) or kernel.ndim != x.ndim or x.shape[-1] != kernel.shape[-2] * groups:
        raise ValueError(
            f"input {x.shape} does not fit kernel {kernel.shape} in {groups} group(s); "
            "expected [B, *S, I] and [*K, I / groups, O] with one or two spatial axes"
        )
    if kernel.shape[-1] % groups:
        raise ValueError(f"{kernel.shape[-1]} output channels do not divide into {groups} groups")
