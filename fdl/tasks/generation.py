"""Text from a language model: one token after another, chosen by a function of the logits."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from fdl import rng
from fdl.arguments import Count, NotNegative, checked
from fdl.tasks.filters import Choose as Choose
from fdl.tasks.filters import Filter as Filter
from fdl.tasks.filters import greedy as greedy
from fdl.tasks.filters import sampling as sampling
from fdl.tasks.filters import temperature as temperature
from fdl.tasks.filters import top_k as top_k
from fdl.tasks.filters import top_p as top_p


class Read(Protocol):
    """Reads on in a text.

    `read(memory, tokens)`, with tokens `[B, T]` that follow all that was read before, gives the logits
    `[B, V]` of the next token, and the memory for the call after; the first memory is `{}`.
    """

    def __call__(self, memory: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
        """See the class."""
        ...


Reader = Callable[[int], Read]
"""`reader(size)` makes the function that reads a text of at most `size` tokens."""


@checked
def cached(model: Any, variables: Any, source: jax.Array | None = None) -> Reader:
    """Reads each token once: the memory is the model's cache.

    Args:
      model: with a method `cached(size)`, as `fdl.models.LanguageModel` and `EncoderDecoder`.
      variables: the model's collections by name, `{"params": ...}`.
      source: tokens `[B, S]` that an encoder-decoder's text is from, else None.
    """
    read_all = _logits(model, variables, source)

    def reader(size: int) -> Read:
        one = model.cached(size)

        def read(memory: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
            logits, memory = read_all(one, memory, tokens)
            return logits[:, -1], memory

        return read

    return reader


@checked
def uncached(model: Any, variables: Any, source: jax.Array | None = None) -> Reader:
    """Reads the whole text again for every token: for models without a cache.

    Args:
      model: `model(x, train=...)`, tokens `[B, T]` to logits `[B, T, V]`; no place sees later ones.
      variables: the model's collections by name.
      source: as for `cached`.
    """
    read_all = _logits(model, variables, source)

    def reader(size: int) -> Read:
        def read(memory: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
            if not memory:
                memory = {"text": jnp.zeros((len(tokens), size), tokens.dtype), "length": jnp.int32(0)}
            text = lax.dynamic_update_slice_in_dim(memory["text"], tokens, memory["length"], axis=1)
            length = memory["length"] + tokens.shape[1]
            logits, _ = read_all(model, {}, text)
            last = lax.dynamic_index_in_dim(logits, length - 1, axis=1, keepdims=False)
            return last, {"text": text, "length": length}

        return read

    return reader


@checked
def generate(
    reader: Reader,
    prompt: jax.Array,
    key: jax.Array,
    *,
    length: Count,
    choose: Choose,
    end: NotNegative[int] | None = None,
) -> jax.Array:
    """Continues texts; pure and jittable.

    Args:
      reader: of the model, as `cached(model, variables)`.
      prompt: what the texts start with, integers `[B, P]`, P at least 1.
      key: one typed PRNG key.
      length: tokens to add.
      choose: `greedy`, or as `sampling(...)` makes it.
      end: the token after which a text is over, and filled up with this token; None: there is none.

    Returns:
      `[B, P + length]`, the prompts and what follows.

    Raises:
      ValueError: a length or a prompt without tokens.
    """
    _check(prompt)
    read = reader(prompt.shape[1] + length - 1)
    keys = jax.vmap(lambda i: jax.random.fold_in(rng.stream(key, "generate"), i))(jnp.arange(length))

    def chosen(logits: jax.Array, over: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        tokens = choose(logits, key).astype(prompt.dtype)
        if end is None:
            return tokens, over
        tokens = jnp.where(over, jnp.asarray(end, prompt.dtype), tokens)
        return tokens, over | (tokens == end)

    def advance(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        memory, tokens, over = carry
        logits, memory = read(memory, tokens[:, None])
        tokens, over = chosen(logits, over, key)
        return (memory, tokens, over), tokens

    logits, memory = read({}, prompt)
    tokens, over = chosen(logits, jnp.zeros(len(prompt), bool), keys[0])
    _, rest = lax.scan(advance, (memory, tokens, over), keys[1:])
    return jnp.concatenate([prompt, tokens[:, None], rest.T], axis=1)


@checked
def beam_search(
    reader: Reader,
    prompt: jax.Array,
    *,
    length: Count,
    beams: Count,
    end: NotNegative[int] | None = None,
    length_penalty: float | jax.Array = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """The likeliest continuations that a search of bounded width finds; pure and jittable.

    Each step keeps the `beams` likeliest texts of all that continue those kept before; a text that is
    over competes on with the likelihood that it has. For several prompts or sources, `jax.vmap` a
    function of one.

    Args:
      reader: of the model, for one text.
      prompt: what the texts start with, integers `[P]`, P at least 1.
      length: tokens to add at most.
      beams: W, how many texts are kept.
      end: the token after which a text is over, and filled up with this token; None: there is none.
      length_penalty: texts are ranked, at the end, by their log-likelihood over the power of this of
        the number of tokens added up to and with the first `end`; 0 ranks by the likelihood itself.

    Returns:
      The texts, best first, `[W, P + length]`, and the log-likelihoods of what was added, float32 `[W]`;
      minus infinity for beams beyond the number of texts there are.

    Raises:
      ValueError: a count below 1.
    """
    _check(prompt)
    read = reader(len(prompt) + length - 1)
    logits, memory = read({}, prompt[None])
    memory = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (beams, *leaf.shape)), memory)
    only_first = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)
    tokens = jnp.zeros((beams, length), prompt.dtype)
    start = (only_first, tokens, jnp.zeros(beams, bool), jnp.zeros(beams, jnp.int32))
    found = _widen(start, jnp.broadcast_to(logits[0], (beams, logits.shape[-1])), 0, end)[0]

    def advance(carry: Any, place: jax.Array) -> tuple[Any, None]:
        found, memory = carry
        last = lax.dynamic_index_in_dim(found[1], place - 1, axis=1, keepdims=False)
        logits, memory = jax.vmap(lambda memory, token: read(memory, token[None, None]))(memory, last)
        found, rows = _widen(found, logits[:, 0], place, end)
        return (found, jax.tree.map(lambda leaf: leaf[rows], memory)), None

    (found, _), _ = lax.scan(advance, (found, memory), jnp.arange(1, length))
    scores, tokens, _, lengths = found
    order = jnp.argsort(-scores / lengths.astype(jnp.float32) ** length_penalty)
    texts = jnp.concatenate([jnp.broadcast_to(prompt, (beams, len(prompt))), tokens], axis=1)
    return texts[order], scores[order]


def _widen(found: Any, logits: jax.Array, place: int | jax.Array, end: int | None) -> tuple[Any, jax.Array]:
    """The best texts with one token more, and which of the former each one continues.

    `found` are the log-likelihoods `[W]`, tokens `[W, L]`, whether a text is over `[W]`, and its length
    `[W]`.
    """
    scores, tokens, over, lengths = found
    beams, vocabulary = logits.shape
    steps = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    if end is not None:
        only_end = jnp.where(jnp.arange(vocabulary) == end, 0.0, -jnp.inf)
        steps = jnp.where(over[:, None], only_end, steps)
    candidates = (scores[:, None] + steps).ravel()
    if beams > len(candidates):
        candidates = jnp.pad(candidates, (0, beams - len(candidates)), constant_values=-jnp.inf)
    scores, best = lax.top_k(candidates, beams)
    rows, token = jnp.minimum(best // vocabulary, beams - 1), (best % vocabulary).astype(tokens.dtype)
    tokens = lax.dynamic_update_slice_in_dim(tokens[rows], token[:, None], place, axis=1)
    lengths = lengths[rows] + ~over[rows]
    over = over[rows] if end is None else over[rows] | (token == end)
    return (scores, tokens, over, lengths), rows


def _logits(model: Any, variables: Any, source: jax.Array | None) -> Callable[..., tuple[jax.Array, Any]]:
    """`read(model, memory, tokens) -> (logits [B, T, V], memory)`, of a source if there is one."""
    context = () if source is None else model.apply(variables, source, method="encode")
    method = None if source is None else "decode"

    def read(model: Any, memory: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
        return model.apply({**variables, **memory}, tokens, *context, method=method, mutable=["cache"])

    return read


def _check(prompt: jax.Array) -> None:
    if prompt.shape[-1] < 1:
        raise ValueError("the prompt has 0 tokens; expected at least 1")
