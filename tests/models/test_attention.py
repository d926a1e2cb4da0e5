"""Attention against PyTorch's and a double loop in NumPy; positions against their formulas."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.attention import Attention, attend, causal, sliding_window
from fdl.models.positions import learned, relative_bucket, rotary, sinusoidal

pytestmark = pytest.mark.slow  # minutes of compiling

B, T, S, D = 2, 5, 7, 4
VALID = np.array([[1, 1, 1, 1, 1, 0, 0], [1, 1, 0, 1, 0, 1, 1]], bool)


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def looped(query, key, value, mask, bias, scale):
    """A query and a head at a time, over the keys that may be seen."""
    query, key, value = (np.asarray(a, np.float64) for a in (query, key, value))
    out = np.zeros(query.shape)
    heads, shared = query.shape[2], key.shape[2]
    for b in range(len(query)):
        for h in range(heads):
            for t in range(query.shape[1]):
                seen = [s for s in range(key.shape[1]) if mask[b, t, s]]
                group = h // (heads // shared)
                scores = [scale * query[b, t, h] @ key[b, s, group] + bias[h, t, s] for s in seen]
                weights = np.exp(scores) / np.exp(scores).sum()
                out[b, t, h] = sum(w * value[b, s, group] for w, s in zip(weights, seen, strict=True))
    return out


MASKS = {
    "none": None,
    "causal": causal(jnp.arange(T) + 2, jnp.arange(S))[None, None],
    "window": sliding_window(3)(jnp.arange(T) + 2, jnp.arange(S))[None, None],
    "padding": VALID[:, None, None, :],
    "both": causal(jnp.arange(T) + 2, jnp.arange(S))[None, None] & VALID[:, None, None, :],
}


@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("name", MASKS)
def test_attention_is_a_double_loop(name, heads, shared):
    query, key, value = normal(0, B, T, heads, D), normal(1, B, S, shared, D), normal(2, B, S, shared, D)
    bias, mask = normal(3, heads, T, S), MASKS[name]
    whole = np.broadcast_to(True if mask is None else np.asarray(mask), (B, 1, T, S))[:, 0]
    for given, scale in ((bias, None), (None, 0.3)):
        out = jax.jit(attend, static_argnames="scale")(query, key, value, mask=mask, bias=given, scale=scale)
        added = np.zeros((heads, T, S)) if given is None else np.asarray(given)
        expected = looped(query, key, value, whole, added, D**-0.5 if scale is None else scale)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_the_masks_are_what_they_say():
    for t in range(6):
        for s in range(6):
            queries, keys = jnp.array([t]), jnp.array([s])
            assert bool(causal(queries, keys)[0, 0]) == (s <= t)
            assert bool(sliding_window(2)(queries, keys)[0, 0]) == (t - 2 < s <= t)


def test_a_query_that_sees_nothing_is_finite():
    query, key, value = normal(0, 1, 1, 1, D), normal(1, 1, 3, 1, D), normal(2, 1, 3, 1, D)
    out = attend(query, key, value, mask=jnp.zeros((1, 1, 1, 3), bool))
    np.testing.assert_allclose(out[0, 0, 0], value[0, :, 0].mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("context", [False, True])
def test_it_agrees_with_torch(context):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    torch.manual_seed(0)
    heads, width, inner = 2, 6, 10 if context else 6
    module = torch.nn.MultiheadAttention(width, heads, batch_first=True, kdim=inner, vdim=inner)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    x, memory = normal(0, B, T, width), normal(1, B, S, inner)
    valid = VALID if context else VALID[:, :T]
    given = [torch.tensor(np.asarray(a)).requires_grad_() for a in ((x, memory) if context else (x,))]
    out, _ = module(given[0], given[-1], given[-1], key_padding_mask=torch.tensor(~valid))
    weight = np.asarray(normal(2, B, T, width))
    (out * torch.tensor(weight)).sum().backward()

    def arranged(take):
        names = ("query", "key", "value")
        if context:
            kernels = [take(getattr(module, f"{n[0]}_proj_weight")).T for n in names]
        else:
            kernels = [part.T for part in np.split(take(module.in_proj_weight), 3)]
        biases = np.split(take(module.in_proj_bias), 3)
        tree = {n: {"kernel": k, "bias": b} for n, k, b in zip(names, kernels, biases, strict=True)}
        last = {"kernel": take(module.out_proj.weight).T, "bias": take(module.out_proj.bias)}
        return tree | {"out": last}

    def objective(params, *inputs):
        memory = inputs[1] if context else None
        y: Any = Attention(heads).apply(
            {"params": params}, inputs[0], context=memory, mask=valid[:, None, None, :]
        )
        return jnp.sum(y * weight), y

    inputs = (x, memory) if context else (x,)
    everything = tuple(range(1 + len(inputs)))
    gradient = jax.jit(jax.grad(objective, argnums=everything, has_aux=True))
    found, y = gradient(arranged(lambda p: p.detach().numpy()), *inputs)
    expected = (arranged(lambda p: p.grad.numpy()), *(p.grad.numpy() for p in given))
    # A bias of the keys shifts all scores of a query alike: its gradient is rounding.
    for tree in (found[0], expected[0]):
        assert np.abs(tree["key"].pop("bias")).max() < 1e-5

    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())

    close(y, out.detach().numpy())
    jax.tree.map(close, found, expected)


def test_other_attentions_fit_the_same_parameters():
    # One shared head of keys is as many heads with the same key kernel.
    x = normal(0, B, T, 8)
    one = Attention(4, shared=1)
    params = nn.unbox(jax.jit(one.init)(jax.random.key(0), x))["params"]
    repeat = lambda leaf: jnp.tile(leaf, (1,) * (leaf.ndim - 1) + (4,))  # noqa: E731
    many = params | {name: jax.tree.map(repeat, params[name]) for name in ("key", "value")}
    a: Any = one.apply({"params": params}, x)
    b: Any = Attention(4).apply({"params": many}, x)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_sinusoidal_is_its_formula():
    waves = np.asarray(sinusoidal().embed(jnp.zeros((1, 3, 6)), jnp.array([0, 1, 9])))[0]
    for row, p in enumerate((0, 1, 9)):
        for i in range(3):
            angle = p / 10000 ** (2 * i / 6)
            np.testing.assert_allclose(
                waves[row, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)], atol=1e-6
            )


def test_rotary_turns_pairs_as_complex_numbers():
    x, positions = normal(0, 1, 3, 2, 6), np.array([0, 4, 11])
    pairs = np.asarray(x[..., :3]) + 1j * np.asarray(x[..., 3:])
    rates = 10000.0 ** (-2 * np.arange(3) / 6)
    turned = pairs * np.exp(1j * positions[:, None, None] * rates)
    out = rotary().rotate(x, jnp.asarray(positions))
    np.testing.assert_allclose(out, np.concatenate([turned.real, turned.imag], axis=-1), rtol=1e-5, atol=1e-5)


def test_rotary_scores_depend_on_distances_alone():
    query, key = normal(0, 1, 1, 1, 8), normal(1, 1, 1, 1, 8)

    def score(t, s):
        turn = rotary().rotate
        return float(jnp.sum(turn(query, jnp.array([t])) * turn(key, jnp.array([s]))))

    np.testing.assert_allclose(score(3, 1), score(23, 21), rtol=1e-4)
    assert abs(score(3, 1) - score(4, 1)) > 1e-3


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (8, 20)])
def test_relative_buckets_agree(bidirectional, buckets, distance):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5", reason="Transformers is the reference")
    offset = np.arange(-300, 301)
    theirs = t5.T5Attention._relative_position_bucket(torch.tensor(offset), bidirectional, buckets, distance)
    options = {"bidirectional": bidirectional, "buckets": buckets, "distance": distance}
    np.testing.assert_array_equal(relative_bucket(jnp.asarray(offset), **options), theirs.numpy())


def test_an_odd_width_has_no_pairs():
    with pytest.raises(ValueError, match="the width is 5; expected an even one"):
        sinusoidal().embed(jnp.zeros((1, 3, 5)), jnp.arange(3))


def test_learned_positions_have_a_limit():
    assert learned(7).limit == 7 and rotary().limit is None
