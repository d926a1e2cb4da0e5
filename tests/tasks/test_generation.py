"""Generation: with and without a cache, against plain loops, and against all texts there are."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.encoder_decoder import original_transformer, t5
from fdl.models.experts import Experts
from fdl.models.language_model import gpt2, llama
from fdl.models.transformer import FeedForward
from fdl.tasks.generation import (
    beam_search,
    cached,
    generate,
    greedy,
    sampling,
    temperature,
    top_k,
    uncached,
)
from tests.models.parameters import drawn

pytestmark = pytest.mark.slow  # minutes of compiling

V, LENGTH = 7, 5
SMALL: Any = {"width": 8, "layers": 1, "heads": 2}
PROMPT = jax.random.randint(jax.random.key(5), (3, 2), 0, V)
SOURCE = jnp.array([[3, 1, 4, 1], [5, 2, 0, 0], [6, 5, 3, 0]])
MODELS: Any = {
    "gpt2": gpt2(V, length=6, width=8, layers=2, heads=2),
    "llama": llama(V, shared=1, **SMALL),
    "experts": llama(
        V, feed_forward=functools.partial(Experts, 3, functools.partial(FeedForward, 8)), **SMALL
    ),
    "original": original_transformer(V, hidden=12, scan=True, width=8, layers=2, heads=2),
    "t5": t5(V, hidden=12, head_width=4, **SMALL),
}


@functools.cache
def variables_of(name):
    model, arguments = MODELS[name], (PROMPT,)
    if hasattr(model, "encode"):
        arguments = (SOURCE, PROMPT)
    return {"params": drawn(model, *arguments, deviation=0.5)}


def reader_of(name, make, rows=slice(None)):
    source = SOURCE[rows] if hasattr(MODELS[name], "encode") else None
    return make(MODELS[name], variables_of(name), source)


def logits_of(name, texts):
    """The model's own, of whole texts `[B, T]`."""
    arguments = (SOURCE[: len(texts)], texts) if hasattr(MODELS[name], "encode") else (texts,)
    return applied(name)(variables_of(name), *arguments)


@functools.cache
def applied(name):
    return jax.jit(MODELS[name].apply)


@pytest.mark.parametrize("name", MODELS)
def test_logits_with_a_cache_are_those_without(name):
    texts = jax.random.randint(jax.random.key(2), (3, 6), 0, V)
    expected = logits_of(name, texts)

    @jax.jit
    def logits(texts):
        read = reader_of(name, cached)(6)
        found, memory = read({}, texts[:, :2])
        out = [found]
        for start, stop in ((2, 3), (3, 5), (5, 6)):
            found, memory = read(memory, texts[:, start:stop])
            out.append(found)
        return jnp.stack(out, axis=1)

    np.testing.assert_allclose(logits(texts), expected[:, [1, 2, 4, 5]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_greedy_is_a_loop_of_argmax(name):
    @jax.jit
    def generated(prompt):
        return generate(reader_of(name, cached), prompt, jax.random.key(0), length=LENGTH, choose=greedy)

    texts = jnp.pad(PROMPT, ((0, 0), (0, LENGTH - 1)))
    for place in range(2, 2 + LENGTH - 1):
        texts = texts.at[:, place].set(logits_of(name, texts)[:, place - 1].argmax(-1))
    last = logits_of(name, texts)[:, -1].argmax(-1)[:, None]
    texts = jnp.concatenate([texts, last], axis=1)
    np.testing.assert_array_equal(generated(PROMPT), texts)


def test_samples_with_a_cache_are_those_without():
    options: Any = {"length": LENGTH, "choose": sampling(temperature(1.5), top_k(5))}
    with_cache, without = (
        jax.jit(lambda key, make=make: generate(reader_of("gpt2", make), PROMPT, key, **options))
        for make in (cached, uncached)
    )
    first, other = jax.random.key(0), jax.random.key(1)
    np.testing.assert_array_equal(with_cache(first), without(first))
    assert (with_cache(first) != with_cache(other)).any()


def test_a_text_that_is_over_stays_so():
    options: Any = {"length": 12, "choose": sampling()}
    reader = reader_of("llama", cached)
    make = jax.jit(functools.partial(generate, reader, **options), static_argnames="end")
    free, ended = make(PROMPT, jax.random.key(3)), make(PROMPT, jax.random.key(3), end=4)
    assert (free[:, 2:] == 4).any()
    for a, b in zip(np.asarray(free[:, 2:]), np.asarray(ended[:, 2:]), strict=True):
        first = np.append(np.flatnonzero(a == 4), len(a))[0]
        np.testing.assert_array_equal(b, np.where(np.arange(len(a)) > first, 4, a))


def scored(name, prompt, length, end):
    """Every text there is with its log-likelihood; a text that is over is filled up with `end`."""
    texts = {}
    for added in itertools.product(range(V), repeat=length):
        stop = added.index(end) + 1 if end in added else length
        texts[added[:stop] + (end,) * (length - stop)] = stop
    whole = jnp.concatenate([jnp.tile(prompt, (len(texts), 1)), jnp.array(list(texts))], axis=1)
    arguments = (whole,)
    if hasattr(MODELS[name], "encode"):
        arguments = (jnp.tile(SOURCE[:1], (len(texts), 1)), whole)
    logits = jax.jit(MODELS[name].apply)(variables_of(name), *arguments)
    each = np.asarray(jax.nn.log_softmax(logits), np.float64)[:, len(prompt) - 1 : -1]
    out = []
    for (text, stop), steps in zip(texts.items(), each, strict=True):
        out.append((sum(steps[i, text[i]] for i in range(stop)), text, stop))
    return out


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize(("name", "end"), [("gpt2", None), ("gpt2", 4), ("t5", 4)])
def test_a_wide_beam_search_is_exhaustive(name, end, penalty):
    length, beams = 3, V**3
    search = jax.jit(
        lambda prompt: beam_search(
            reader_of(name, cached, slice(0, 1)),
            prompt,
            length=length,
            beams=beams,
            end=end,
            length_penalty=penalty,
        )
    )
    texts, scores = search(PROMPT[0])
    every = sorted(scored(name, PROMPT[0], length, end), key=lambda one: -one[0] / one[2] ** penalty)
    found = int(np.isfinite(scores).sum())
    assert found == len(every)
    np.testing.assert_allclose(scores[:found], [one[0] for one in every], rtol=1e-4, atol=1e-5)
    assert {tuple(text) for text in np.asarray(texts[:found, 2:])} == {one[1] for one in every}
    np.testing.assert_array_equal(texts[0], [*PROMPT[0], *every[0][1]])


@pytest.mark.parametrize("make", [cached, uncached])
def test_a_narrow_beam_search_keeps_the_best_of_each_step(make):
    beams, length = 3, 4
    kept = [(0.0, ())]
    for _ in range(length):
        texts = jnp.array([[*np.asarray(PROMPT[0]), *text] for _, text in kept])
        steps = np.asarray(jax.nn.log_softmax(logits_of("gpt2", texts)[:, -1]), np.float64)
        wider = [(s + steps[i, v], (*text, v)) for i, (s, text) in enumerate(kept) for v in range(V)]
        kept = sorted(wider, reverse=True)[:beams]
    reader = reader_of("gpt2", make)
    texts, scores = jax.jit(lambda p: beam_search(reader, p, length=length, beams=beams))(PROMPT[0])
    np.testing.assert_array_equal(texts[:, 2:], [text for _, text in kept])
    np.testing.assert_allclose(scores, [score for score, _ in kept], rtol=1e-4)


def test_a_beam_search_of_many_is_a_vmap_of_one():
    def search(prompt, source):
        reader = cached(MODELS["t5"], variables_of("t5"), source[None])
        return beam_search(reader, prompt, length=3, beams=2)

    texts, scores = jax.jit(jax.vmap(search))(PROMPT, SOURCE)
    for row in range(3):
        alone, score = jax.jit(search)(PROMPT[row], SOURCE[row])
        np.testing.assert_array_equal(texts[row], alone)
        np.testing.assert_allclose(scores[row], score, rtol=1e-4)


def test_one_beam_is_greedy():
    reader = reader_of("llama", cached)
    text, _ = jax.jit(lambda p: beam_search(reader, p, length=LENGTH, beams=1))(PROMPT[0])
    whole = jax.jit(functools.partial(generate, reader, length=LENGTH, choose=greedy))
    expected = whole(PROMPT[:1], jax.random.key(0))
    np.testing.assert_array_equal(text, expected)


def test_what_cannot_be_is_told():
    reader, key = reader_of("gpt2", cached), jax.random.key(0)
    with pytest.raises(ValueError, match="7 places and positions for only 6"):
        generate(reader, PROMPT, key, length=6, choose=greedy)
    with pytest.raises(ValueError, match="length is 0; expected at least 1"):
        generate(reader, PROMPT, key, length=0, choose=greedy)
    with pytest.raises(ValueError, match="the prompt has 0 tokens"):
        beam_search(reader, PROMPT[0, :0], length=1, beams=1)
    with pytest.raises(ValueError, match="beams is 0; expected at least 1"):
        beam_search(reader, PROMPT[0], length=1, beams=0)
