"""Whether attributions can be trusted: curves, agreement, and the test by random parameters."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from fdl import analysis, models
from tests.analysis.nets import ROWS, TABLE, TARGET, VARIABLES, linear

RNG = np.random.default_rng(0)


def test_deletion_and_insertion_are_the_loop_by_hand():
    attribution = analysis.gradient(TABLE.apply, VARIABLES, ROWS, TARGET)
    order = np.argsort(-np.asarray(attribution), axis=1)
    chosen = lambda x: np.asarray(TABLE.apply(VARIABLES, x))[np.arange(5), TARGET]  # noqa: E731
    deleted, inserted = [], []
    for number in (0, 1, 3, 4):
        gone = np.array(ROWS)
        come = np.full((5, 4), 0.5, np.float32)
        for row, first in enumerate(order[:, :number]):
            gone[row, first] = 0.5
            come[row, first] = ROWS[row, first]
        deleted.append(chosen(gone))
        inserted.append(chosen(come))
    given = (TABLE.apply, VARIABLES, ROWS, TARGET, attribution, 0.5)
    numbers = [0, 1, 3, 4]  # a third and two thirds of four entries
    assert numbers == np.rint(np.linspace(0, 4, 4)).tolist()
    np.testing.assert_allclose(analysis.deletion_curve(*given, steps=3), np.transpose(deleted), rtol=1e-4)
    np.testing.assert_allclose(analysis.insertion_curve(*given, steps=3), np.transpose(inserted), rtol=1e-4)


def test_no_order_falls_faster_than_that_of_the_shares_of_a_linear_model():
    weights, target = jax.random.normal(jax.random.key(1), (4, 3)), TARGET[:1]

    def mean(ranks):
        given = (linear, weights, ROWS[:1], target, jnp.array([ranks]))
        return float(analysis.deletion_curve(*given, steps=4).mean())

    shares = analysis.gradient_times_input(linear, weights, ROWS[:1], target)[0]
    every = [mean(order) for order in itertools.permutations((1.0, 2.0, 3.0, 4.0))]
    assert mean(shares.tolist()) == pytest.approx(min(every), rel=1e-5)
    assert max(every) > min(every) + 0.1


def test_channels_of_a_pixel_go_together():
    images = jnp.arange(1.0, 9).reshape(1, 2, 2, 2)
    apply = lambda _, x: x.sum(axis=(1, 2))  # noqa: E731
    given = (apply, None, images, jnp.array([1]), jnp.array([[[1.0, 2.0], [4.0, 3.0]]]))
    np.testing.assert_array_equal(analysis.deletion_curve(*given, steps=4), [[20, 14, 6, 2, 0]])


def test_rank_agreement_is_spearmans_with_ties():
    first, second = RNG.integers(0, 5, (4, 3, 4)).astype(np.float32), RNG.normal(size=(4, 3, 4))
    first[3] = 1
    found = analysis.rank_agreement(jnp.asarray(first), jnp.asarray(second))
    wanted = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first[:3], second[:3], strict=True)]
    np.testing.assert_allclose(found[:3], wanted, rtol=1e-5)
    assert np.isnan(found[3])


def test_top_agreement_counts_common_features():
    first, second = RNG.normal(size=(2, 6, 10)).astype(np.float32)
    tops = [[set(np.argsort(-np.abs(row))[:3].tolist()) for row in one] for one in (first, second)]
    wanted = [len(a & b) / 3 for a, b in zip(*tops, strict=True)]
    assert len(set(wanted)) > 1
    np.testing.assert_allclose(analysis.top_agreement(first, second, top=3), wanted, rtol=1e-6)


@pytest.mark.medium
def test_guided_backpropagation_does_not_notice_a_random_head():
    """A method that does not depend on the upper layers keeps its ranks when these are random."""
    net = models.conv_net(channels=(32, 32), hidden=(), outputs=5)
    images = jax.random.normal(jax.random.key(0), (6, 8, 8, 1))
    ours, fresh = (net.init(jax.random.key(seed), images) for seed in (1, 2))
    target, agreement = jnp.zeros(6, int), {}
    for method in (analysis.gradient, analysis.guided_backpropagation):
        explain = jax.jit(lambda v, method=method: method(net.apply, v, images, target))
        found = analysis.parameter_randomisation(explain, ours, fresh, ("Dense_0", "Conv_1", "Conv_0"))
        agreement[method.__name__] = np.asarray(found).mean(axis=1)
        whole = analysis.rank_agreement(explain(ours), explain(fresh))
        np.testing.assert_allclose(found[-1], whole, rtol=1e-4, atol=1e-5)  # all layers are random at last
    assert abs(agreement["gradient"][0]) < 0.3
    assert agreement["guided_backpropagation"][0] > 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analysis.rank_agreement(ROWS, ROWS[:2]), r"are \(5, 4\) and \(2, 4\); expected one shape"),
        (lambda: analysis.top_agreement(ROWS, ROWS, top=5), "top is 5 of 4 features"),
        (
            lambda: analysis.deletion_curve(TABLE.apply, VARIABLES, ROWS, TARGET, ROWS[:, :2]),
            r"the attribution is \(5, 2\) of rows \(5, 4\)",
        ),
        (
            lambda: analysis.parameter_randomisation(lambda v: ROWS, VARIABLES, VARIABLES, ["Conv_0"]),
            "there is no layer 'Conv_0'",
        ),
        (
            lambda: analysis.parameter_randomisation(lambda v: ROWS, VARIABLES, {}, ["Dense_0"]),
            "another structure",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
