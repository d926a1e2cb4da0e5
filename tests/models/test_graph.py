"""Graph convolution against loops and torch; learning on a stochastic block model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core.meta import unbox

from fdl import losses
from fdl.models.graph import GCN, normalised_adjacency


def graph(key, nodes=6, batch=2):
    edges = jax.random.bernoulli(key, 0.4, (batch, nodes, nodes)).astype(jnp.float32)
    upper = jnp.triu(edges, 1)
    return upper + upper.swapaxes(-1, -2)


X, A = jax.random.normal(jax.random.key(0), (2, 6, 3)), graph(jax.random.key(1))


def weights(params: Any, i: int) -> tuple[np.ndarray, np.ndarray]:
    layer = params[f"GraphConv_{i}"]
    return np.asarray(layer["Dense_0"]["kernel"]), np.asarray(layer["bias"])


def started(model: GCN) -> Any:
    params = unbox(jax.jit(model.init)(jax.random.key(2), X, A))["params"]
    noise = jax.random.normal(jax.random.key(3), (99,))  # biases that are not zero
    return jax.tree.map(lambda p: p + noise[: p.size].reshape(p.shape), params)


@pytest.mark.medium
def test_convolution_is_a_double_loop_over_neighbours():
    model: Any = GCN((4,), 2)
    params = started(model)
    output = np.asarray(model.apply({"params": params}, X, A))
    for b in range(2):
        edges = np.asarray(A[b]) + np.eye(6)
        h = np.asarray(X[b])
        for i, width in enumerate((4, 2)):
            kernel, bias = weights(params, i)
            new = np.zeros((6, width))
            for n in range(6):
                for m in range(6):
                    share = edges[n, m] / np.sqrt(edges[n].sum() * edges[m].sum())
                    new[n] += share * (h[m] @ kernel)
                new[n] += bias
            h = np.maximum(new, 0) if i == 0 else new
        np.testing.assert_allclose(output[b], h, rtol=1e-5, atol=1e-5)


def test_outputs_and_gradients_agree_with_torch():
    torch = pytest.importorskip("torch", reason="the reference is PyTorch")
    model: Any = GCN((4,), 2)
    params = started(model)
    value, gradient = jax.value_and_grad(
        lambda p: jnp.sum(jnp.square(jnp.asarray(model.apply({"params": p}, X, A))))
    )(params)
    x, a = (torch.tensor(np.array(v)) for v in (X, A))
    own = a + torch.eye(6)
    inverse = torch.diag_embed(own.sum(-1) ** -0.5)
    tensors = [torch.tensor(w, requires_grad=True) for i in range(2) for w in weights(params, i)]
    h = torch.relu(inverse @ own @ inverse @ x @ tensors[0] + tensors[1])
    loss = ((inverse @ own @ inverse @ h @ tensors[2] + tensors[3]) ** 2).sum()
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-5)
    ours = [w for i in range(2) for w in weights(gradient, i)]
    for mine, theirs in zip(ours, tensors, strict=True):
        assert theirs.grad is not None
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-5, atol=1e-4)


def test_nodes_may_come_in_any_order():
    model: Any = GCN((4,), 2)
    order = jnp.array([3, 0, 5, 1, 4, 2])
    params = {"params": started(model)}
    moved = model.apply(params, X[:, order], A[:, order][:, :, order])
    np.testing.assert_allclose(moved, jnp.asarray(model.apply(params, X, A))[:, order], rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing():
    model: Any = GCN((4,), 2)
    params = {"params": started(model)}
    x, a = jnp.pad(X, ((0, 0), (0, 2), (0, 0))), jnp.pad(A, ((0, 0), (0, 2), (0, 2)))
    padded = jnp.asarray(model.apply(params, x, a))
    np.testing.assert_allclose(padded[:, :6], model.apply(params, X, A), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalised_adjacency(a)[:, 6:, 6:], np.broadcast_to(np.eye(2), (2, 2, 2)))


@pytest.mark.medium
@pytest.mark.parametrize("seed", range(2))
def test_the_graph_tells_more_than_features_alone(seed):
    # Two blocks of 60, edges within with 0.15 and between with 0.02, and a faint hint in the features;
    # ten nodes of each block are labelled.
    label, hint, edge = jax.random.split(jax.random.key(seed), 3)
    y = (jnp.arange(120) >= 60).astype(jnp.int32)
    x = jax.random.normal(hint, (1, 120, 8)) + (0.5 * y - 0.25)[:, None]
    chance = jnp.where(y[:, None] == y, 0.15, 0.02)
    upper = jnp.triu(jax.random.bernoulli(edge, chance), 1).astype(jnp.float32)
    a = (upper + upper.T)[None]
    known = (jnp.arange(120) % 6 == 0).astype(jnp.float32)
    accuracy = []
    model, optimizer = GCN((16,), 2), optax.adamw(1e-2, weight_decay=0.01)
    for edges in (a, jnp.zeros_like(a)):  # without edges, the same net sees the features alone

        def loss(params, edges=edges):
            logits = jnp.asarray(model.apply({"params": params}, x, edges))[0]
            return jnp.sum(known * losses.cross_entropy(logits, y)) / jnp.sum(known)

        def step(carry, _, loss=loss):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        params = unbox(jax.jit(model.init)(label, x, edges))["params"]
        run = jax.jit(lambda p, step=step: jax.lax.scan(step, (p, optimizer.init(p)), None, length=100)[0][0])
        found = jnp.argmax(jnp.asarray(model.apply({"params": run(params)}, x, edges))[0], axis=-1)
        accuracy.append(float(jnp.sum((1 - known) * (found == y)) / jnp.sum(1 - known)))
    assert accuracy[0] > 0.85
    assert accuracy[0] > accuracy[1] + 0.05
