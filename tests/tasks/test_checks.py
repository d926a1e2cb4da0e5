import functools
from typing import Any

import flax.linen as nn
import numpy as np
import optax
import pytest

from fdl import tasks
from fdl.data import digits
from fdl.models import MLP
from tests.tasks.test_supervised import linear_splits

DIGITS = digits()


def changed(splits, **changes):
    """Splits with arrays of the training split replaced."""
    return splits._replace(train=splits.train | changes)


LINEAR = linear_splits()
SGD = optax.sgd(0.1)
NO_ACTIVATION: Any = divmod  # where a function of one array is expected
CLASSIFY = functools.partial(tasks.classification, optimizer=SGD)
REGRESS = functools.partial(tasks.regression, optimizer=SGD)


@pytest.mark.parametrize(
    ("make", "model", "splits", "options", "message"),
    [
        (CLASSIFY, MLP((), 10), DIGITS, {"steps": 0}, "steps is 0; expected at least 1"),
        (CLASSIFY, MLP((), 10), DIGITS, {"batch_size": 0}, "batch_size is 0"),
        (REGRESS, MLP((), 1), LINEAR, {"evaluate_every": -1}, "evaluate_every is -1"),
        (CLASSIFY, MLP((), 9), DIGITS, {}, "train labels go from 0 to 9; expected 0 to 8"),
        (CLASSIFY, MLP((), 10), changed(DIGITS, y=DIGITS.train["y"] - 1), {}, "go from -1 to 8"),
        (
            CLASSIFY,
            MLP((), 10),
            changed(DIGITS, y=np.float32(DIGITS.train["y"])),
            {},
            "train labels are float32",
        ),
        (CLASSIFY, MLP((), 10), changed(DIGITS, y=DIGITS.train["y"][:, None]), {}, "expected integers"),
        (CLASSIFY, MLP((), 10), changed(DIGITS, y=DIGITS.train["y"][:-1]), {}, "train has .* rows of x"),
        (CLASSIFY, MLP((), 10), changed(DIGITS, x=DIGITS.train["x"][:, 1:]), {}, "x has rows of shape"),
        (
            REGRESS,
            MLP((), 1),
            changed(LINEAR, x=LINEAR.train["x"][:0], y=LINEAR.train["y"][:0]),
            {},
            "has 0 rows",
        ),
        (REGRESS, MLP((), 1), changed(LINEAR, y=np.ones(64, np.int32)), {}, "train targets are int32"),
        (REGRESS, MLP((), 2), LINEAR, {}, r"targets have shape \[64\]; expected \[N, 2\]"),
        (REGRESS, MLP((), 2), linear_splits(3), {}, r"targets have shape \[64, 3\]; expected \[N, 2\]"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, model, splits, options, message):
    with pytest.raises(ValueError, match=message) as error:
        make(model, splits, **{"steps": 10} | options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "splits", "optimizer", "options", "message"),
    [
        (MLP, DIGITS, SGD, {}, r"model is <class .* by MLP\(...\): a Flax module"),
        (MLP((), 10), {"train": DIGITS.train}, SGD, {}, r"\(dict\); expected data.Splits"),
        (MLP((), 10), tuple(DIGITS[:3]), SGD, {}, r"\(tuple\); expected data.Splits"),
        (
            MLP((), 10),
            DIGITS,
            optax.adam,
            {},
            r"optimizer is <function adam .* by adam\(...\): a transformation",
        ),
        (MLP((), 10), DIGITS, 0.1, {}, r"optimizer is 0.1 \(float\); expected a transformation"),
        (MLP((), 10), DIGITS, SGD, {"l2": float("nan")}, "l2 is nan"),
        (MLP((), 10), DIGITS, SGD, {"steps": 10.5}, r"steps is 10.5 \(float\); expected a whole number"),
        (MLP((), 10), DIGITS, SGD, {"batch_size": True}, "batch_size is True"),
        (MLP((), 10), DIGITS, SGD, {"accumulate": 2.0}, "accumulate is 2.0"),
        (
            MLP((8,), 10, activation=NO_ACTIVATION),
            DIGITS,
            SGD,
            {},
            r"MLP\(widths=\(8,\), outputs=10, .* fails on inputs of shape \[1, 64\]",
        ),
        (MLP((), 10), changed(DIGITS, y=DIGITS.train["y"].tolist()), SGD, {}, "a column is a list"),
    ],
)
def test_an_argument_of_another_kind_is_refused_in_one_line(model, splits, optimizer, options, message):
    with pytest.raises(ValueError, match=message) as error:
        tasks.classification(model, splits, optimizer, **{"steps": 10} | options)
    assert "\n" not in str(error.value)


class Broken(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        raise TypeError("mine")


def test_a_mistake_in_a_users_own_model_is_left_where_it_is():
    with pytest.raises(TypeError, match=r"^mine"):
        CLASSIFY(Broken(), DIGITS, steps=10)
