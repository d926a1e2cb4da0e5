# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# Flax types what `apply` returns as a union that no array function takes.

"""Compiled code cannot refuse a label that is none: whatever it makes of one is NaN, never a number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import data, losses, metrics, models
from fdl.models.embedding import Embed
from fdl.tasks.boxes import targets
from fdl.tasks.ctc import ctc_loss
from fdl.tasks.metric_losses import arcface_loss

KEY = jax.random.key(0)
LOGITS = jax.random.uniform(KEY, (2, 3), minval=-0.9, maxval=0.9)
FRAMES = jax.random.normal(KEY, (2, 6, 3))


def mixed(labels):
    """The loss of rows each of which is mixed with the other."""
    batch = data.mixup(classes=3)({"x": jnp.ones((2, 4)), "y": labels}, KEY)
    return jnp.flip(losses.cross_entropy(LOGITS, batch["y"]))[:1].repeat(2)


def applied(model, *inputs):
    """The sums of each row's outputs, at parameters of a first call with good labels."""

    def rows(labels):
        variables = jax.jit(model.init)(KEY, *inputs, jnp.zeros(2, jnp.int32))
        return jnp.sum(model.apply(variables, *inputs, labels), axis=-1)

    return rows


def heat(labels):
    """Of one object in each of two images."""
    boxes = jnp.array([[1.0, 1, 3, 3]])
    each = lambda label: targets(boxes, label[None], shape=(2, 2), cell=4, classes=3).heat  # noqa: E731
    return jax.vmap(each)(labels).sum(axis=(1, 2, 3))


ROWS = {
    "cross-entropy": lambda labels: losses.cross_entropy(LOGITS, labels),
    "arcface": lambda labels: arcface_loss(LOGITS, labels),
    "ctc": lambda labels: ctc_loss(FRAMES, jnp.array([6, 6]), labels[:, None]),
    "mixup": mixed,
    "conditional": applied(models.Conditional(models.MLPGenerator((), (2,)), 3), jnp.ones((2, 4))),
    "diffusion": applied(models.DiffusionMLP((4,), classes=3), jnp.ones((2, 4)), jnp.full(2, 0.5)),
    "embedding": lambda tokens: Embed(3, 1).apply({"params": {"embedding": LOGITS.T[:, :1]}}, tokens)[:, 0],
    "accuracy": lambda labels: metrics.accuracy(LOGITS, labels),
    "detection": heat,
}
DECLARED = {("diffusion", -1), ("detection", -1), ("detection", -3)}
"""No label at all, and no object."""


@pytest.mark.parametrize("label", [-1, -3, 3, 200])
@pytest.mark.parametrize("name", ROWS)
def test_a_label_of_no_class_makes_nan_of_its_row(name, label):
    rows = ROWS[name](jnp.array([1, label], jnp.int32))
    if name != "mixup":
        assert np.isfinite(rows[0])
    assert np.isfinite(rows[1]) if (name, label) in DECLARED else np.isnan(rows[1])
    assert np.isfinite(ROWS[name](jnp.array([1, 2], jnp.int32))).all()


@pytest.mark.parametrize("length", [-1, 7])
def test_frames_that_there_are_not_make_nan(length):
    loss = ctc_loss(FRAMES, jnp.array([6, length]), jnp.array([[1], [1]]))
    assert np.isfinite(loss).tolist() == [True, False]


@pytest.mark.medium
def test_a_negative_padding_token_that_is_declared_is_no_error():
    model = models.bert(5, length=4, width=4, layers=1, heads=1, padding=-1)
    text = jnp.array([[1, 2, -1, -1]])
    variables = jax.jit(model.init)(KEY, text)
    out, whole = model.apply(variables, text), model.apply(variables, text.at[0, 2:].set(3))
    assert np.isfinite(out).all() and np.abs(out[0, :2] - whole[0, :2]).max() > 1e-6
    assert np.isnan(model.clone(padding=0).apply(variables, text)).any()


@pytest.mark.medium
def test_reading_past_the_end_of_a_cache_gives_no_number():
    model = models.llama(5, width=4, layers=1, heads=1).cached(3)
    text = jnp.array([[1, 2]])
    variables = jax.jit(model.init)(KEY, text)
    params, memory = {"params": variables["params"]}, {}
    for finite in (True, False):
        logits, memory = model.apply(params | memory, text, mutable=["cache"])
        assert bool(np.isfinite(np.asarray(logits)).all()) is finite
