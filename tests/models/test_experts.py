"""Mixture of experts against a loop over tokens, and its balance loss against Hugging Face's."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.experts import Experts, balance_loss
from fdl.models.language_model import llama
from fdl.models.transformer import FeedForward
from tests.models.parameters import drawn

pytestmark = pytest.mark.slow  # minutes of compiling

X = jax.random.normal(jax.random.key(0), (2, 6, 8))
expert = functools.partial(FeedForward, 12)


def mixture(**options) -> Any:
    return Experts(4, expert, **options)


@jax.jit
def alone(params, x) -> Any:
    return FeedForward(12).apply({"params": params}, x)


def looped(params, x, chosen, capacity):
    """A token at a time; each expert takes `capacity` tokens of a text."""
    out = np.zeros(x.shape)
    for b in range(len(x)):
        taken = np.zeros(4, int)
        for t in range(x.shape[1]):
            logits = np.asarray(x[b, t] @ params["router"]["kernel"], np.float64)
            shares = np.exp(logits) / np.exp(logits).sum()
            best = np.argsort(-shares)[:chosen]
            weights = shares[best] / shares[best].sum() if chosen > 1 else shares[best]
            for e, w in zip(best, weights, strict=True):
                taken[e] += 1
                if taken[e] <= capacity:
                    own = jax.tree.map(lambda leaf, e=e: leaf[e], params["expert"])
                    out[b, t] += w * np.asarray(alone(own, x[b, t][None, None])[0, 0])
    return out


@pytest.mark.parametrize(
    ("chosen", "capacity", "most"), [(1, None, 6), (2, None, 6), (2, 1.0, 3), (1, 0.5, 1)], ids=str
)
def test_it_is_a_loop_over_tokens(chosen, capacity, most):
    model = mixture(chosen=chosen, capacity=capacity)
    params = drawn(model, X)
    out = jax.jit(model.apply)({"params": params}, X)
    np.testing.assert_allclose(out, looped(params, X, chosen, most), rtol=1e-5, atol=1e-6)


def test_a_token_does_not_depend_on_later_ones():
    model = mixture(capacity=0.5)
    params = drawn(model, X)
    before, after = (jax.jit(model.apply)({"params": params}, x) for x in (X, X.at[:, 4:].set(1.0)))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])


def test_experts_start_differently():
    params = nn.unbox(jax.jit(mixture().init)(jax.random.key(0), X))["params"]
    kernel = params["expert"]["up"]["kernel"]
    assert kernel.shape == (4, 8, 12) and np.abs(kernel[0] - kernel[1]).max() > 0.01


def test_the_balance_loss_agrees():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    mixtral = pytest.importorskip(
        "transformers.models.mixtral.modeling_mixtral", reason="Transformers is the reference"
    )
    logits = jax.random.normal(jax.random.key(2), (12, 4))
    theirs = mixtral.load_balancing_loss_func((torch.tensor(np.asarray(logits)),), 4, 2)
    shares = nn.softmax(logits)
    # Theirs counts each of the k choices whole: k times ours.
    np.testing.assert_allclose(2 * balance_loss(shares, jax.lax.top_k(shares, 2)[1]), theirs, rtol=1e-6)


def test_the_balance_loss_is_1_for_even_use_and_the_number_of_experts_for_one():
    even = jnp.full((8, 4), 0.25)
    assert float(balance_loss(even, jnp.arange(8)[:, None] % 4)) == 1.0
    one = jnp.eye(4)[jnp.zeros(8, int)]
    assert float(balance_loss(one, jnp.zeros((8, 1), int))) == 4.0


def test_its_gradient_spreads_the_tokens():
    model = mixture(chosen=1)
    # All tokens prefer expert 0.
    x = jnp.abs(X)
    params = drawn(model, x)
    params["router"]["kernel"] = params["router"]["kernel"].at[:, 0].add(1.0)

    def loss(kernel):
        variables = {"params": params | {"router": {"kernel": kernel}}}
        return model.apply(variables, x, mutable=["losses"])[1]["losses"]["balance"]

    kernel = params["router"]["kernel"]
    step = jax.jit(lambda kernel: kernel - 0.3 * jax.grad(loss)(kernel))
    start = float(loss(kernel))
    for _ in range(30):
        kernel = step(kernel)
    assert start > 2.5 and float(loss(kernel)) < 1.5


@pytest.mark.parametrize("options", [{}, {"scan": True, "remat": True}], ids=str)
def test_it_takes_the_place_of_a_feed_forward_net(options):
    layer = functools.partial(Experts, 4, expert)
    model = llama(13, width=8, layers=2, heads=2, feed_forward=layer, **options)
    text = jnp.arange(6)[None]
    params = drawn(model, text)
    out, state = jax.jit(functools.partial(model.apply, mutable=["losses"]))({"params": params}, text)
    losses = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state["losses"])])
    assert out.shape == (1, 6, 13) and losses.shape == (2,) and (losses >= 0.99).all()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [(0, "chosen is 0; expected at least 1"), (5, "each token has 5 of 4 experts; expected at most all")],
)
def test_a_wrong_number_of_choices_is_told(chosen, message):
    with pytest.raises(ValueError, match=message):
        mixture(chosen=chosen).init(jax.random.key(0), X)
