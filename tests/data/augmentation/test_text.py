"""Token dropout: at the rate, never of the spared."""

import jax
import numpy as np
import pytest
from scipy import stats

from fdl.data.augmentation.text import token_dropout
from tests.data.augmentation.test_base import KEY, x_of

TOKENS = {"x": np.random.default_rng(0).integers(0, 20, (50, 40)).astype(np.int32), "y": np.arange(50)}


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_tokens_are_replaced_at_the_rate_except_the_spared(rate):
    x = x_of(token_dropout(rate=rate, replacement=99, spared=(0, 1)), TOKENS)
    spared = np.isin(TOKENS["x"], [0, 1])
    np.testing.assert_array_equal(x[spared], TOKENS["x"][spared])
    dropped = x[~spared] == 99
    np.testing.assert_array_equal(x[~spared][~dropped], TOKENS["x"][~spared][~dropped])
    assert stats.binomtest(int(dropped.sum()), dropped.size, rate).pvalue > 1e-4


def test_without_spared_tokens_any_may_go():
    assert (x_of(token_dropout(rate=1.0, replacement=3), TOKENS) == 3).all()


def test_dtype_and_other_columns_stay_and_the_rate_may_be_traced():
    batch = {**TOKENS, "x": TOKENS["x"].astype(np.uint16)}
    made = jax.jit(lambda rate: token_dropout(rate=rate, replacement=7)(batch, KEY))(0.5)
    assert made["x"].dtype == np.uint16
    np.testing.assert_array_equal(made["y"], TOKENS["y"])
    np.testing.assert_array_equal(made["x"], x_of(token_dropout(rate=0.5, replacement=7), batch))


def test_rows_do_not_depend_on_others():
    few = {"x": TOKENS["x"][:5]}
    run = token_dropout(rate=0.3, replacement=99)
    np.testing.assert_array_equal(x_of(run, few), x_of(run, TOKENS)[:5])
