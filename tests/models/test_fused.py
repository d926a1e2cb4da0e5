"""Attention by one kernel against fdl's own, forward and backward, with the form that runs anywhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import models

B, T, H, D = 2, 13, 4, 8
FUSED = functools.partial(models.fused_attend, implementation="xla")
VALID = jnp.arange(T) < jnp.array([[T], [5]])
CASES = {
    "all": {},
    "causal": {"is_causal": True},
    "window": {"mask": models.sliding_window(3)(jnp.arange(T), jnp.arange(T))[None, None]},
    "padding": {"mask": VALID[:, None, None, :]},
    "causal padding": {"mask": VALID[:, None, None, :], "is_causal": True},
    "nothing seen": {"mask": jnp.zeros((1, 1, T, T), bool)},
    "bias, scale": {"bias": jax.random.normal(jax.random.key(4), (H, T, T)), "scale": 0.3},
}


@pytest.mark.medium
@pytest.mark.parametrize("shared", [H, 2])
@pytest.mark.parametrize("name", CASES)
def test_it_is_attention(name, shared):
    shapes = [(B, T, H, D), (B, T, shared, D), (B, T, shared, D), (B, T, H, D)]
    *given, weight = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes))

    def weighed(attend, *given):
        y = attend(*given, **CASES[name])
        return jnp.sum(y * weight), y

    ours, theirs = (
        jax.jit(jax.grad(functools.partial(weighed, attend), (0, 1, 2), has_aux=True))(*given)
        for attend in (models.attend, FUSED)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, theirs)


@pytest.mark.medium
@pytest.mark.parametrize("scan", [False, True])
def test_a_language_model_has_it(scan):
    told = []

    def attend(*given, **options):
        told.append(options)
        return FUSED(*given, **options)

    make = functools.partial(models.gpt2, 50, length=T, width=32, layers=2, heads=H, scan=scan, remat=scan)
    plain, fused = make(), make(attend=attend)
    x = jax.random.randint(jax.random.key(1), (B, T), 0, 50)
    variables = jax.jit(fused.init)(jax.random.key(0), x)
    assert not told  # parameters are made in float32
    jax.tree.map(np.testing.assert_array_equal, variables, jax.jit(plain.init)(jax.random.key(0), x))

    def loss(model, variables):
        logits = model.apply(variables, x, train=True)
        return jnp.mean(logits**2), logits

    ours, theirs = (
        jax.jit(jax.grad(functools.partial(loss, model), has_aux=True))(variables) for model in (plain, fused)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, theirs)
    assert told and all(one == {"mask": None, "bias": None, "scale": None, "is_causal": True} for one in told)


def asked(mask, cache=0, **call):
    """What an attention is asked for, by a transformer of one layer."""
    told = []

    def attend(query, key, value, **options):
        told.append(options)
        return query

    one = functools.partial(models.Attention, heads=2)
    model = models.Transformer(
        1, one, functools.partial(models.FeedForward, 8), mask=mask, attend=attend, cache=cache
    )
    x = jnp.zeros((B, T, 8))
    variables = jax.eval_shape(model.init, jax.random.key(0), x, **call)
    jax.eval_shape(lambda variables: model.apply(variables, x, mutable=["cache"], **call), variables)
    return [(options["mask"] is not None, options.get("is_causal", False)) for options in told]


def test_a_mask_is_left_out_only_where_it_is_causal_alone():
    context = jnp.zeros((B, 3, 8))
    assert asked(models.causal) == [(False, True)]
    assert asked(None) == [(False, False)]
    assert asked(models.sliding_window(3)) == [(True, False)]
    assert asked(models.causal, valid=VALID) == [(True, False)]
    assert asked(models.causal, context=context) == [(False, True), (False, False)]
    assert asked(models.causal, cache=T) == []


def test_a_kernel_gets_the_whole_mask(monkeypatch):
    """cuDNN's takes none that has 1 in the place of T."""
    shapes = []

    def kernel(query, key, value, bias, mask, **options):
        shapes.append(mask.shape)
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
    query, key = jnp.zeros((B, T, H, D)), jnp.zeros((B, 5, H, D))
    for mask in (VALID[:, None, None, :5], jnp.ones((T, 5), bool)):
        models.fused_attend(query, key, key, mask=mask)
    assert shapes == [(B, 1, T, 5), (1, 1, T, 5)]


REFUSED = {
    "float32 or no GPU": ({}, {}, "cannot serve queries .* on cpu"),
    "dropout": ({"dropout": 0.1}, {"train": True, "rngs": {"dropout": jax.random.key(0)}}, "dropout=0.0"),
}


@pytest.mark.parametrize(("options", "call", "said"), REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_do_is_one_line(options, call, said):
    model = models.gpt2(50, length=T, width=32, layers=1, heads=H, attend=models.fused_attend, **options)
    x = jnp.zeros((B, T), int)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    with pytest.raises(ValueError, match=said) as error:
        jax.eval_shape(lambda variables: model.apply(variables, x, **call), variables)
    assert "\n" not in str(error.value)
