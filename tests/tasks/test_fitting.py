"""A start from another net: what fits is taken, the rest starts as it would, and each is said."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

from fdl import data, models, tasks
from fdl.tasks.gradient import variables

ROWS = {"x": np.ones((8, 4), np.float32), "y": (np.arange(8) % 3).astype(np.int32)}
SPLITS = data.Splits(ROWS, ROWS, ROWS)
SGD = optax.sgd(0.1)


def experiment(classes: int) -> Any:
    return tasks.classification(models.MLP((5,), classes), SPLITS, SGD, steps=1)


def test_a_net_with_another_head_starts_with_the_body_of_the_first():
    wide, narrow = experiment(7), experiment(3)
    first = variables(wide.learner.init(jax.random.key(1)))
    given = jax.device_get({**first, "other": {"a": np.zeros(2)}})
    fit = tasks.fitting(narrow, given)
    assert [line.split(maxsplit=1) for line in fit.table.splitlines()] == [
        ["other/a", "not used: given float64[2]"],
        ["params/Dense_0/bias", "fresh: float32[3], given float32[7]"],
        ["params/Dense_0/kernel", "fresh: float32[5,3], given float32[5,7]"],
        ["params/Layer_0/Dense_0/bias", "taken: float32[5]"],
        ["params/Layer_0/Dense_0/kernel", "taken: float32[4,5]"],
    ]
    warm = tasks.warm_start(narrow, SGD, fit.given, fresh=fit.fresh)
    began, cold = (one.learner.init(jax.random.key(2)).params for one in (warm, narrow))
    jax.tree.map(np.testing.assert_array_equal, began["Layer_0"], given["params"]["Layer_0"])
    jax.tree.map(np.testing.assert_array_equal, began["Dense_0"], cold["Dense_0"])
    assert warm.learner.predict is not None


def test_variables_of_which_none_fits_are_refused():
    with pytest.raises(
        ValueError, match=r"none of the given variables fits .* given are params/a float64\[2\]"
    ):
        tasks.fitting(experiment(3), {"params": {"a": np.zeros(2)}})
