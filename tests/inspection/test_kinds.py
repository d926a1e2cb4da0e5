"""What can be shown passes through compiled functions, and what cannot is said by its shapes alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdl
from fdl import inspection
from fdl.inspection.counts import BINS, Counts, counts_of
from fdl.inspection.kinds import check_inspected
from tests.toy import Config, experiment


def shout(tokens: Any) -> str:
    return str(tokens).upper()


def everything(x: jax.Array) -> dict[str, Any]:
    return {
        "audio": inspection.Audio(x, rate=8000),
        "figure": inspection.Figure({"x": x}, draw=shout),
        "histogram": inspection.Histogram([x, x > 0]),
        "image": inspection.Image(x[None]),
        "text": inspection.Text(x.astype(jnp.int32), decode=shout),
    }


def test_every_kind_passes_through_jit_and_eval_shape_with_its_static_parts():
    x = jnp.linspace(-1, 1, 4)
    shapes, values = jax.eval_shape(everything, x), jax.jit(everything)(x)
    for found in (shapes, values):
        check_inspected(found)
        assert found["audio"].rate == 8000 and found["figure"].draw is found["text"].decode is shout
        assert found["image"].pixels.shape == (1, 4)
    np.testing.assert_array_equal(values["figure"].data["x"], x)


FLOATS, WHOLE = jnp.zeros(3), jnp.zeros(3, jnp.int32)
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no mapping": (lambda: FLOATS, "inspect(...) is float32[3]; expected what is shown by name"),
    "nothing": (lambda: None, "inspect(...) is None"),
    "a bare array": (
        lambda: {"a": FLOATS},
        "inspect(...)['a'] is float32[3]; expected one of fdl.inspection: Image",
    ),
    "a name": (lambda: {"": inspection.Text(WHOLE)}, "has the name ''; expected one of 1 to 100 letters"),
    "N pictures without channels": (
        lambda: {"a": inspection.Image(jnp.zeros((8, 5, 5)))},
        "['a'].pixels is float32[8,5,5]; expected floats from 0 to 1 or uint8, [H, W], [H, W, C] or [N, H",
    ),
    "whole pixels": (lambda: {"a": inspection.Image(jnp.zeros((5, 5), jnp.int32))}, "pixels is int32[5,5]"),
    "no pixels": (lambda: {"a": inspection.Image(jnp.zeros((0, 5)))}, "pixels is float32[0,5]"),
    "text of floats": (
        lambda: {"a": inspection.Text(FLOATS)},
        "tokens is float32[3]; expected integers, [T]",
    ),
    "no decoder": (lambda: {"a": inspection.Text(WHOLE, "ab")}, "decode is 'ab' (str); expected a function"),  # pyright: ignore[reportArgumentType]
    "no numbers": (lambda: {"a": inspection.Histogram(())}, "values has no arrays"),
    "a key": (
        lambda: {"a": inspection.Histogram([jax.random.key(0)])},
        "values[0] is key<fry>[]; expected real",
    ),
    "whole samples": (
        lambda: {"a": inspection.Audio(WHOLE, 8)},
        "samples is int32[3]; expected floats from -1",
    ),
    "half a sample a second": (
        lambda: {"a": inspection.Audio(FLOATS, 0.5)},
        "rate is 0.5 (float); expected a whole",
    ),  # pyright: ignore[reportArgumentType]
    "nothing that draws": (
        lambda: {"a": inspection.Figure(FLOATS, None)},
        "draw is None; expected a function",
    ),  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_one_line_before_anything_is_compiled(mistake):
    make, words = WRONG[mistake]
    with pytest.raises(ValueError) as error:
        fdl.check(experiment(Config())._replace(inspect=lambda state, key: make()))
    assert words in str(error.value) and "\n" not in str(error.value), str(error.value)


def test_an_inspect_that_is_none_or_fails_is_told():
    with pytest.raises(ValueError, match=r"inspect is 'x' .*; expected a function"):
        fdl.check(experiment(Config())._replace(inspect="x"))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"inspect fails at line \d+ of test_kinds.py: KeyError: 'weight'"):
        fdl.check(experiment(Config())._replace(inspect=lambda state, key: {"a": state["weight"]}))


def test_a_traced_field_that_decides_what_is_shown_is_named_before_anything_runs():
    def build(config):
        count = lambda: 2 if config.lr > 0 else 1  # noqa: E731
        return experiment(config)._replace(
            inspect=lambda state, key: {"a": inspection.Image(jnp.zeros((count(), count())))}
        )

    with pytest.raises(ValueError, match=r"Config\.lr: a traced value decides Python control flow"):
        fdl.sweep(build, fdl.grid(Config(), lr=(0.01, 0.05)))
    with pytest.raises(ValueError, match="inspect is -1; expected a number of arms"):
        fdl.sweep(experiment, fdl.grid(Config()), inspect=-1)


CASES = {
    "normal": np.random.default_rng(0).normal(size=1000).astype(np.float32),
    "whole": np.arange(-5, 46),
    "one value": np.full(7, 3.25, np.float32),
    "the widest": np.array([-3.4e38, 0, 3.4e38], np.float32),
    "neighbours": np.nextafter(np.float32(1), np.array([0, 2, 2], np.float32)),
    "lost": np.array([np.nan, 1, 2, np.inf, -np.inf, np.nan], np.float32),
    "only lost": np.array([np.nan, np.inf], np.float32),
}


def counted(values: np.ndarray) -> Counts:
    """Split over two leaves, as the parameters of a model are."""
    return jax.jit(counts_of)(inspection.Histogram({"a": values[:2], "b": values[2:]}))


@pytest.mark.parametrize("case", CASES)
def test_every_number_is_counted_once_and_in_its_bin(case):
    values = CASES[case]
    found = jax.device_get(counted(values))
    finite = np.sort(values[np.isfinite(values)].astype(np.float32))
    lost = (np.isnan(values).sum(), np.isposinf(values).sum(), np.isneginf(values).sum())
    assert (found.nan, found.above, found.below) == lost
    assert found.counts.dtype == np.int32 and found.counts.sum() == finite.size and len(found.counts) == BINS
    if finite.size:
        assert found.edges[0] == finite[0] and found.edges[-1] == finite[-1]
        assert (np.diff(found.edges) >= 0).all()
    if finite.size and finite[0] < finite[-1]:
        np.testing.assert_array_equal(found.counts, np.histogram(finite, found.edges)[0])
        width = (float(finite[-1]) - float(finite[0])) / BINS
        expected = float(finite[0]) + width * np.arange(BINS + 1)
        np.testing.assert_allclose(found.edges.astype(float), expected, atol=max(1e-6 * BINS * width, 1e-7))
