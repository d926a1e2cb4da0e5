# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# Flax types what `apply` returns as a union that no array function takes.

"""Linear recurrences by associative scan against loops over time, and a long-memory task."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.data.synthetic.sequences import copy_memory
from fdl.models.linear_recurrence import LRU, LinearRecurrentNet, linear_recurrence

pytestmark = pytest.mark.slow  # minutes of compiling

ROWS, LENGTH, WIDTH, UNITS = 3, 11, 4, 5
MASK = np.arange(LENGTH) < np.array([11, 1, 6])[:, None]


@pytest.mark.parametrize("length", [1, 2, 7, 64])
@pytest.mark.parametrize("kind", ["real", "complex", "constant"])
def test_the_parallel_form_is_the_loop(length, kind):
    rng = np.random.default_rng(0)
    factors, inputs = rng.normal(size=(2, length, ROWS, UNITS))
    if kind == "complex":
        factors, inputs = factors + 1j * rng.normal(size=factors.shape), inputs - 2j
    if kind == "constant":
        factors = np.broadcast_to(factors[:1, :1], (length, 1, UNITS))
    h, expected = np.zeros((ROWS, UNITS)), []
    for a, b in zip(factors, inputs, strict=True):
        h = a * h + b
        expected.append(h)
    with jax.enable_x64(True):
        np.testing.assert_allclose(linear_recurrence(jnp.asarray(factors), jnp.asarray(inputs)), expected)
        rows_first = linear_recurrence(*(jnp.moveaxis(a, 0, 1) for a in (factors, inputs)), axis=1)
        np.testing.assert_allclose(rows_first, np.moveaxis(expected, 0, 1))


def by_loop(torch, weights, x, mask):
    """The LRU's docstring in PyTorch, time by time."""
    factor = torch.exp(torch.complex(-torch.exp(weights["log_decay"]), torch.exp(weights["log_angle"])))
    size = torch.sqrt(1 - factor.abs() ** 2)
    into, back = weights["into"]["kernel"], weights["back"]["kernel"]
    matrix = torch.complex(into[:, :UNITS], into[:, UNITS:])
    readout = torch.complex(back[:UNITS], -back[UNITS:])
    h, outputs = torch.zeros(len(x), UNITS, dtype=matrix.dtype), []
    for t in range(x.shape[1]):
        h = torch.where(mask[:, t, None], factor * h + size * (x[:, t].to(matrix.dtype) @ matrix), h)
        outputs.append((h @ readout).real + weights["through"] * x[:, t])
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-11)])
def test_the_lru_agrees_with_a_loop_in_pytorch(dtype, rtol, masked):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    with jax.enable_x64(dtype == np.float64):
        x, cotangent = jax.random.normal(jax.random.key(0), (2, ROWS, LENGTH, WIDTH), dtype)
        params = nn.unbox(jax.jit(LRU(UNITS).init)(jax.random.key(1), x)["params"])
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        mask = jnp.asarray(MASK) if masked else None
        loss = lambda params: jnp.sum(cotangent * LRU(UNITS).apply({"params": params}, x, mask))  # noqa: E731
        outputs = jax.jit(LRU(UNITS).apply)({"params": params}, x, mask)
        grads = jax.jit(jax.grad(loss))(params)
    weights = jax.tree.map(lambda leaf: torch.tensor(np.float64(leaf), requires_grad=True), params)
    seen = torch.tensor(MASK if masked else np.ones_like(MASK))
    expected = by_loop(torch, weights, torch.tensor(np.float64(x)), seen)
    (expected * torch.tensor(np.float64(cotangent))).sum().backward()

    def close(ours, theirs):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())

    close(outputs, expected.detach().numpy())
    jax.tree.map(lambda ours, theirs: close(ours, theirs.grad.numpy()), grads, weights)


def test_factors_start_in_the_ring_and_no_decay_is_unstable():
    layer = LRU(1000, inner=0.7, outer=0.9, angle=1.0)
    params = nn.unbox(jax.jit(layer.init)(jax.random.key(0), jnp.zeros((1, 1, 1)))["params"])
    radius, angle = np.exp(-np.exp(params["log_decay"])), np.exp(params["log_angle"])
    assert radius.min() >= 0.7 and radius.max() <= 0.9 and angle.min() >= 0 and angle.max() <= 1
    assert abs(np.mean(radius**2) - (0.49 + 0.81) / 2) < 0.01  # uniform by area
    apply = jax.jit(layer.apply)
    for shift in (-20.0, 5.0):
        wild = params | {"log_decay": params["log_decay"] + shift}
        assert np.all(np.isfinite(apply({"params": wild}, jnp.ones((1, 500, 1)))))


@pytest.mark.parametrize("masked", [False, True])
def test_a_net_reads_a_rows_own_end(masked):
    net = LinearRecurrentNet(6, 2, 3, UNITS)
    x = jax.random.normal(jax.random.key(0), (ROWS, LENGTH, WIDTH))
    apply = jax.jit(net.apply)
    params = jax.jit(net.init)(jax.random.key(1), x)
    whole = apply(params, x, mask=jnp.asarray(MASK) if masked else None)
    for row, length in enumerate(MASK.sum(1) if masked else [LENGTH] * ROWS):
        alone = apply(params, x[row : row + 1, :length])[0]
        np.testing.assert_allclose(whole[row], alone, rtol=1e-5, atol=1e-5)


def test_it_learns_to_remember():
    delay, symbols, memory = 20, 4, 4
    sample = functools.partial(copy_memory, delay=delay, symbols=symbols, memory=memory)
    baseline = memory * np.log(symbols) / (delay + 2 * memory)
    net = LinearRecurrentNet(
        32, 2, symbols + 1, 32, last=False, vocabulary=symbols + 2, layer=functools.partial(LRU, outer=0.999)
    )
    optimizer = optax.adam(3e-3)

    def batch(key, size):
        return jax.vmap(sample)(jax.random.split(key, size))

    def loss(params, rows):
        logits = net.apply(params, rows["x"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, rows["y"]).mean()

    @jax.jit
    def run(key):
        params = nn.unbox(net.init(key, batch(key, 1)["x"]))

        def step(i, carry):
            params, state = carry
            grads = jax.grad(loss)(params, batch(jax.random.fold_in(key, i), 64))
            updates, state = optimizer.update(grads, state)
            return optax.apply_updates(params, updates), state

        params, _ = jax.lax.fori_loop(0, 400, step, (params, optimizer.init(params)))
        return loss(params, batch(jax.random.fold_in(key, 10**6), 512))

    assert run(jax.random.key(0)) < 0.2 * baseline
