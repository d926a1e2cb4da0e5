"""Similarities of representations against their formulas in NumPy and SciPy, and what they do not see."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from fdl.analysis import between_layers, cka, effective_rank, linear_gram, rbf_gram, rsa

DRAWS = np.random.default_rng(0)
A = DRAWS.normal(size=(12, 2, 3)).astype(np.float32)
B = (A.reshape(12, 6)[:, :4] ** 2 + DRAWS.normal(size=(12, 4))).astype(np.float32)


def hsic(k, law, *, debiased):
    """Gretton et al. 2005, eq. 4; Song et al. 2012, eq. 5: as they are printed."""
    n, one = len(k), np.ones(len(k))
    if not debiased:
        h = np.eye(n) - 1 / n
        return np.trace(k @ h @ law @ h) / (n - 1) ** 2
    k, law = k - np.diag(np.diag(k)), law - np.diag(np.diag(law))
    mixed = (one @ k @ one) * (one @ law @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ law) + mixed - 2 / (n - 2) * one @ k @ law @ one) / (n * (n - 3))


def gram_of(rows, bandwidth):
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    if bandwidth is None:
        return rows @ rows.T
    apart = pdist(rows)
    return np.exp(-(squareform(apart) ** 2) / (2 * (bandwidth * np.median(apart)) ** 2))


@pytest.mark.parametrize("debiased", (False, True))
@pytest.mark.parametrize("bandwidth", (None, 0.5))
def test_cka_is_its_formula(bandwidth, debiased):
    k, law = gram_of(A, bandwidth), gram_of(B, bandwidth)
    h = functools.partial(hsic, debiased=debiased)
    gram = linear_gram if bandwidth is None else functools.partial(rbf_gram, bandwidth=bandwidth)
    found = cka(jnp.asarray(A), jnp.asarray(B), gram=gram, debiased=debiased)
    assert float(found) == pytest.approx(h(k, law) / np.sqrt(h(k, k) * h(law, law)), abs=2e-6)


@pytest.mark.parametrize("debiased", (False, True))
@pytest.mark.parametrize("gram", (linear_gram, rbf_gram))
def test_cka_does_not_see_rotation_scale_and_shift_but_other_maps(gram, debiased):
    rows = A.reshape(12, 6)
    rotation = np.linalg.qr(DRAWS.normal(size=(6, 6)))[0]
    of = lambda b: float(cka(jnp.asarray(rows), jnp.asarray(b), gram=gram, debiased=debiased))  # noqa: E731
    assert of((rows @ rotation * 7 + 3).astype(np.float32)) == pytest.approx(1, abs=1e-5)
    assert of((rows * [1, 1, 1, 1, 1, 20]).astype(np.float32)) < 0.9


def test_only_the_debiased_is_0_without_anything_in_common():
    a, b = jax.random.normal(jax.random.key(0), (2, 400, 10, 30))
    biased, unbiased = (jax.vmap(functools.partial(cka, debiased=d))(a, b) for d in (False, True))
    error = float(jnp.std(unbiased)) / 20
    assert abs(float(jnp.mean(unbiased))) < 4 * error < 0.05
    assert float(jnp.mean(biased)) > 0.5


def test_what_is_the_same_for_all_inputs_has_no_similarity():
    constant = jnp.full((11, 3), 0.1) * jnp.array([1.0, 3.0, 7.0])
    constant = constant.at[::2].set(jnp.nextafter(constant[::2], jnp.inf))  # but for rounding
    for gram in (linear_gram, rbf_gram):
        assert jnp.isnan(cka(jnp.asarray(A[:11]), constant, gram=gram))


def test_a_large_mean_does_not_drown_the_rows():
    a, b = jnp.asarray(A), jnp.asarray(B)
    assert float(cka(a * 1e-3 + 1, b)) == pytest.approx(float(cka(a, b)), abs=1e-3)


@pytest.mark.parametrize("similarity", (cka, rsa))
def test_other_inputs_are_refused(similarity):
    with pytest.raises(ValueError, match=r"are \[12, 2, 3\] and \[11, 4\]; expected \[N, ...\] of the same"):
        similarity(jnp.asarray(A), jnp.asarray(B[:11]))
    with pytest.raises(ValueError, match="N at least"):
        similarity(jnp.asarray(A[:2]), jnp.asarray(B[:2]))


def test_rsa_is_scipys():
    for b in (B, np.round(B), B[:, :2]):  # with ties too
        left, right = (np.round(pdist(rows, "correlation"), 7) for rows in (A.reshape(12, 6), b))
        expected = spearmanr(left, right).statistic
        assert float(rsa(jnp.asarray(A), jnp.asarray(b))) == pytest.approx(expected, abs=5e-4)
    assert float(rsa(jnp.asarray(A), -2 * jnp.asarray(A) + 3)) == pytest.approx(1, abs=1e-6)


def test_layers_are_compared_in_the_order_given():
    a, b = jnp.asarray(A), jnp.asarray(B)
    found = between_layers(cka, {"z": a, "y": b}, {"b": b, "a": a, "c": a + 1})
    expected = [[cka(a, b), 1, 1], [1, cka(a, b), cka(a, b)]]
    np.testing.assert_allclose(found, np.array(expected, np.float32), atol=1e-5)


def test_effective_rank_is_its_formula():
    values = np.linalg.svd(B.astype(np.float64), compute_uv=False)
    shares = values / values.sum()
    assert float(effective_rank(jnp.asarray(B))) == pytest.approx(
        np.exp(-np.sum(shares * np.log(shares))), rel=1e-5
    )
    one = jnp.outer(jnp.arange(1.0, 5), jnp.arange(1.0, 4))
    assert float(effective_rank(one)) == pytest.approx(1, abs=1e-4)
    assert jnp.isnan(effective_rank(jnp.zeros((3, 3))))
