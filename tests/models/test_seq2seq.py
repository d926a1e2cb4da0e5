# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# Flax types what `apply` returns as a union that no array function takes.

"""The attention model against PyTorch, written time by time; decoding one token at a time."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.seq2seq import Seq2Seq

pytestmark = pytest.mark.slow  # minutes of compiling

SOURCES, TARGETS, UNITS, ROWS = 7, 6, 5, 3
X = np.array([[3, 4, 2, 6, 1], [5, 1, 0, 0, 0], [2, 2, 1, 0, 0]])
Y = np.array([[0, 2, 3, 1], [0, 5, 1, 0], [0, 4, 4, 4]])


def parameters(dtype):
    model = Seq2Seq(SOURCES, TARGETS, UNITS)
    params = nn.unbox(jax.jit(model.init)(jax.random.key(0), X, Y)["params"])
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [jax.random.normal(key, leaf.shape, dtype) for key, leaf in zip(keys, leaves, strict=True)]
    return model, structure.unflatten([0.5 * leaf for leaf in noise])


def gru(torch, weights, inputs, h):
    """One step of PyTorch's own cell; `inputs` are multiplied already."""
    a, b = inputs.chunk(3, -1), (h @ weights["recurrent"]["kernel"]).chunk(3, -1)
    reset, keep = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
    return (1 - keep) * torch.tanh(a[2] + reset * (b[2] + weights["candidate_bias"])) + keep * h


def dense(weights, x):
    return x @ weights["kernel"] + weights["bias"]


def translated(torch, w, x, y):
    """Logits `[T, targets]` of one row without padding."""
    words, ways = w["source"]["embedding"][x], []
    for cell, order in (("GRUCell_0", range(len(x))), ("GRUCell_1", reversed(range(len(x))))):
        h, states = torch.zeros(UNITS, dtype=words.dtype), {}
        for t in order:
            h = gru(torch, w["encoder"][cell], dense(w["encoder"][cell]["input"], words[t]), h)
            states[t] = h
        ways.append(torch.stack([states[t] for t in range(len(x))]))
    annotations = torch.cat(ways, -1)
    h, logits, decoder = torch.tanh(dense(w["bridge"], ways[1][0])), [], w["decoder"]
    for token in w["target"]["embedding"][y]:
        scores = torch.stack(
            [
                decoder["energy"] @ torch.tanh(h @ decoder["query"]["kernel"] + dense(w["align"], annotation))
                for annotation in annotations
            ]
        )
        context = torch.softmax(scores, 0) @ annotations
        inputs = dense(decoder["gru"]["input"], token) + context @ decoder["context"]["kernel"]
        h = gru(torch, decoder["gru"], inputs, h)
        logits.append(dense(w["readout"], torch.cat([h, context, token])))
    return torch.stack(logits)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-11)])
def test_it_agrees_with_a_loop_in_pytorch(dtype, rtol):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    with jax.enable_x64(dtype == np.float64):
        model, params = parameters(dtype)
        cotangent = jax.random.normal(jax.random.key(2), (*Y.shape, TARGETS), dtype)

        def loss(params):
            logits = model.apply({"params": params}, X, Y)
            return jnp.sum(logits * cotangent), logits

        grads, logits = jax.jit(jax.grad(loss, has_aux=True))(params)
    weights = jax.tree.map(lambda leaf: torch.tensor(np.float64(leaf), requires_grad=True), params)
    rows = [
        translated(torch, weights, torch.tensor(x[x != 0]), torch.tensor(y))
        for x, y in zip(X, Y, strict=True)
    ]
    expected = torch.stack(rows)
    (expected * torch.tensor(np.float64(cotangent))).sum().backward()

    def close(ours, theirs):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())

    close(logits, expected.detach().numpy())
    jax.tree.map(lambda ours, theirs: close(ours, theirs.grad.numpy()), grads, weights)


def test_decoding_part_by_part_gives_the_same_logits():
    model, params = parameters(np.float32)
    one, variables = model.cached(4), {"params": params}
    source = jax.jit(lambda x: model.apply(variables, x, method="encode"))(X)
    decode = jax.jit(
        lambda memory, y: one.apply(variables | memory, y, *source, method="decode", mutable="cache")
    )
    expected, memory = jax.jit(model.apply)(variables, X, Y), {}
    for begin, end in ((0, 1), (1, 3), (3, 4)):
        logits, memory = decode(memory, Y[:, begin:end])
        np.testing.assert_allclose(logits, expected[:, begin:end], rtol=1e-5, atol=1e-5)


def test_dropout_acts_in_training_only():
    _, params = parameters(np.float32)
    model = Seq2Seq(SOURCES, TARGETS, UNITS, dropout=0.5)
    apply = lambda train, key: model.apply(  # noqa: E731
        {"params": params}, X, Y, train=train, rngs={"dropout": jax.random.key(key)}
    )
    np.testing.assert_array_equal(apply(False, 0), apply(False, 1))
    assert not np.allclose(apply(True, 0), apply(True, 1))


def test_without_attention_all_of_a_source_is_one_vector():
    _, params = parameters(np.float32)
    model, variables = Seq2Seq(SOURCES, TARGETS, UNITS, attention=False), {"params": params}
    encode = jax.jit(lambda x: model.apply(variables, x, method="encode"))
    source = encode(X)
    assert source.annotations.shape == (ROWS, 1, 2 * UNITS) and source.mask.all()
    whole = jax.jit(lambda x: Seq2Seq(SOURCES, TARGETS, UNITS).apply(variables, x, method="encode"))(X)
    for row, length in enumerate((X != 0).sum(1)):  # each direction after the last word that it reads
        ends = np.concatenate([whole.annotations[row, length - 1, :UNITS], whole.annotations[row, 0, UNITS:]])
        np.testing.assert_allclose(source.annotations[row, 0], ends, rtol=1e-6)
    # What the alignment would weigh has no say.
    other = jax.tree.map(lambda leaf: leaf, params)
    other["decoder"]["query"] = jax.tree.map(lambda leaf: -leaf, other["decoder"]["query"])
    apply = jax.jit(lambda params: model.apply({"params": params}, X, Y))
    np.testing.assert_allclose(apply(other), apply(params), rtol=1e-6)
