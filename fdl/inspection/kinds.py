"""The kinds of things that can be shown of a run: pytrees, so that a compiled function may return them.

Functions that run on the host and numbers such as a sampling rate are static: they are no leaves. So what
such a function is to see of a state, or of a traced value of the config, must be among the arrays.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fdl import tree

_LONGEST = 100
"""Characters of a name: it names files."""


def _kind(*, arrays: str, static: tuple[str, ...] = ()) -> Callable[[type], type]:
    """Registers a dataclass of one field of arrays, and of static ones."""
    return functools.partial(jax.tree_util.register_dataclass, data_fields=[arrays], meta_fields=list(static))


@_kind(arrays="pixels")
@dataclasses.dataclass(frozen=True)
class Image:
    """A picture, or several as a contact sheet.

    Attributes:
      pixels: `[H, W]`, `[H, W, C]` or `[N, H, W, C]`, C 1 or 3: floats from 0 (black) to 1, or uint8. Floats
        beyond are shown as the nearest of these, those that are not numbers black, and how many is said.

    Example:
      >>> fdl.inspection.Image(jnp.zeros((6, 28, 28, 1))).pixels.shape
      (6, 28, 28, 1)
    """

    pixels: Any


@_kind(arrays="tokens", static=("decode",))
@dataclasses.dataclass(frozen=True)
class Text:
    """A text, or several one below the other.

    Attributes:
      tokens: integers `[T]` or `[N, T]`.
      decode: `decode(tokens) -> str`, called on the host with NumPy's integers `[T]`, as
        `fdl.data.Vocabulary.decode`; the numbers themselves are shown if None.

    Example:
      >>> decode = lambda tokens: "".join("ab"[token] for token in tokens)
      >>> fdl.inspection.Text(jnp.array([1, 0]), decode).decode([1, 0])
      'ba'
    """

    tokens: Any
    decode: Callable[[Any], str] | None = None


@_kind(arrays="values")
@dataclasses.dataclass(frozen=True)
class Histogram:
    """How numbers are distributed, in 50 bins of equal width from the least finite number to the greatest.

    Counted on the devices, as float32; how many are infinite or no numbers is counted too.

    Attributes:
      values: numbers of any shape, or a tree of such, as a model's parameters.

    Example:
      >>> fdl.inspection.Histogram({"w": jnp.ones((3, 4)), "b": jnp.zeros(4)}).values["b"].shape
      (4,)
    """

    values: Any


@_kind(arrays="samples", static=("rate",))
@dataclasses.dataclass(frozen=True)
class Audio:
    """A sound of one channel, or several one after the other with a quarter of a second of silence between.

    Attributes:
      samples: floats `[T]` or `[N, T]` from -1 to 1. What lies beyond is cut off, what is no number is
        silent, and how many is said.
      rate: samples a second.

    Example:
      >>> fdl.inspection.Audio(jnp.zeros(8000), rate=8000).rate
      8000
    """

    samples: Any
    rate: int


@_kind(arrays="data", static=("draw",))
@dataclasses.dataclass(frozen=True)
class Figure:
    """Whatever Matplotlib draws.

    Attributes:
      data: arrays, or a tree of such.
      draw: `draw(data) -> matplotlib.figure.Figure`, called on the host with NumPy's arrays.

    Example:
      >>> from matplotlib.figure import Figure
      >>> def curve(y):
      ...     figure = Figure()
      ...     figure.subplots().plot(y)
      ...     return figure
      ...
      >>> type(fdl.inspection.Figure(jnp.arange(3), curve).draw([0, 1, 2])).__name__
      'Figure'
    """

    data: Any
    draw: Callable[[Any], Any]


KINDS = (Image, Text, Histogram, Audio, Figure)


def check_inspected(found: Any) -> None:
    """Whether what an `inspect` returns, as shapes, can be shown.

    Raises:
      ValueError: no mapping, a name that cannot be one, another kind of thing, or a shape or a type that it
        cannot have.
    """
    if not isinstance(found, Mapping):
        raise ValueError(
            f"inspect(...) is {_shown(found)}; expected what is shown by name, as {{'samples': ...}}"
        )
    for name, one in found.items():
        if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST or not name.isprintable():
            raise ValueError(
                f"inspect(...) has the name {str(name)[:60]!r}; expected one of 1 to {_LONGEST} letters"
            )
        if not isinstance(one, KINDS):
            kinds = ", ".join(kind.__name__ for kind in KINDS)
            raise ValueError(
                f"inspect(...)[{name!r}] is {_shown(one)}; expected one of fdl.inspection: {kinds}"
            )
        wrong = _CHECKS[type(one)](one)
        if wrong:
            raise ValueError(f"inspect(...)[{name!r}].{wrong}")


def _image(one: Image) -> str | None:
    pixels = one.pixels
    shape: tuple[int, ...] = getattr(pixels, "shape", ())
    dtype = getattr(pixels, "dtype", None)
    fits = len(shape) == 2 or (len(shape) in (3, 4) and shape[-1:] in ((1,), (3,)))
    kind = dtype is not None and (dtype == jnp.uint8 or jnp.issubdtype(dtype, jnp.floating))
    if fits and kind and 0 not in shape:
        return None
    return (
        f"pixels is {_shown(pixels)}; expected floats from 0 to 1 or uint8, [H, W], [H, W, C] or "
        "[N, H, W, C], C 1 or 3 (an axis more: pixels[..., None])"
    )


def _text(one: Text) -> str | None:
    if one.decode is not None and not callable(one.decode):
        return f"decode is {_shown(one.decode)}; expected a function of tokens that returns a str, or None"
    return _rows("tokens", one.tokens, jnp.integer, "integers")


def _histogram(one: Histogram) -> str | None:
    leaves = tree.leaves_of(one.values, name="values")
    for path, leaf in leaves.items():
        kinds = (jnp.floating, jnp.integer, jnp.bool_)
        if not any(jnp.issubdtype(getattr(leaf, "dtype", object), kind) for kind in kinds):
            return f"{path} is {_shown(leaf)}; expected real numbers"
    return None if leaves else "values has no arrays; expected numbers"


def _audio(one: Audio) -> str | None:
    if isinstance(one.rate, bool) or not isinstance(one.rate, int) or not 1 <= one.rate <= 1_000_000:
        return f"rate is {_shown(one.rate)}; expected a whole number of samples a second"
    return _rows("samples", one.samples, jnp.floating, "floats from -1 to 1")


def _figure(one: Figure) -> str | None:
    if not callable(one.draw):
        return (
            f"draw is {_shown(one.draw)}; expected a function of the data that returns a Figure of Matplotlib"
        )
    return None


def _rows(name: str, found: Any, kind: Any, words: str) -> str | None:
    shape, dtype = getattr(found, "shape", ()), getattr(found, "dtype", object)
    if len(shape) in (1, 2) and 0 not in shape and jnp.issubdtype(dtype, kind):
        return None
    return f"{name} is {_shown(found)}; expected {words}, [T] or [N, T]"


def _shown(found: Any) -> str:
    return "None" if found is None else tree.shown(found)


_CHECKS: dict[type, Callable[[Any], str | None]] = {
    Image: _image,
    Text: _text,
    Histogram: _histogram,
    Audio: _audio,
    Figure: _figure,
}
