import functools

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
