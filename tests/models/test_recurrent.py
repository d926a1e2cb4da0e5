# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# Flax types what `apply` returns as a union that no array function takes.

"""Recurrent layers against PyTorch at the same weights, on rows of different lengths too; what they learn."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import tasks
from fdl.data import sampled
from fdl.data.synthetic.sequences import adding
from fdl.models.cells import GRUCell, LSTMCell, RNNCell, scan_cell
from fdl.models.initializers import identity
from fdl.models.recurrent import Recurrent, RecurrentNet

pytestmark = pytest.mark.slow  # minutes of compiling

ROWS, LENGTH, FEATURES, UNITS = 4, 7, 5, 6
LENGTHS = np.array([7, 3, 1, 5])  # the longest first is not needed
MASK = np.arange(LENGTH) < LENGTHS[:, None]
CELLS = {
    "tanh": (RNNCell, 1),
    "relu": (functools.partial(RNNCell, activation=nn.relu), 1),
    "lstm": (LSTMCell, 4),
    "gru": (GRUCell, 3),
}


def randomized(tree, key):
    leaves, structure = jax.tree.flatten(nn.unbox(tree))
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        [0.5 * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    )


def reference(torch, name, layers, both):
    options = {"batch_first": True, "num_layers": layers, "bidirectional": both, "dtype": torch.float64}
    if name in ("tanh", "relu"):
        return torch.nn.RNN(FEATURES, UNITS, nonlinearity=name, **options)
    return {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name](FEATURES, UNITS, **options)


def torch_weights(params, both):
    """By PyTorch's names; where it has two biases, the second is zero but for a GRU's candidate."""
    flat, cells = {}, sorted(params, key=lambda name: int(name.rpartition("_")[2]))
    for index, cell in enumerate(cells):
        layer, back = divmod(index, 1 + both)
        end = f"l{layer}" + "_reverse" * back
        leaves = params[cell]
        flat[f"weight_ih_{end}"] = np.asarray(leaves["input"]["kernel"].T)
        flat[f"weight_hh_{end}"] = np.asarray(leaves["recurrent"]["kernel"].T)
        flat[f"bias_ih_{end}"] = np.asarray(leaves["input"]["bias"])
        second = np.zeros_like(flat[f"bias_ih_{end}"])
        if "candidate_bias" in leaves:
            second[-UNITS:] = leaves["candidate_bias"]
        flat[f"bias_hh_{end}"] = second
    return flat


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    ("layers", "both", "packed", "dtype", "rtol"),
    [
        (1, False, False, np.float32, 1e-5),
        (2, True, True, np.float32, 1e-5),
        (2, True, True, np.float64, 1e-12),
    ],
)
def test_layers_agree_with_pytorch(name, layers, both, packed, dtype, rtol):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    module = reference(torch, name, layers, both)
    with jax.enable_x64(dtype == np.float64):
        model = Recurrent((UNITS,) * layers, CELLS[name][0], both)
        x = jax.random.normal(jax.random.key(0), (ROWS, LENGTH, FEATURES), dtype)
        mask = jnp.asarray(MASK) if packed else None
        params = randomized(jax.jit(model.init)(jax.random.key(1), x)["params"], jax.random.key(2))
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        ends = jax.random.normal(jax.random.key(3), (ROWS, (1 + both) * UNITS), dtype)
        times = jax.random.normal(jax.random.key(4), (ROWS, LENGTH, (1 + both) * UNITS), dtype)

        def loss(params, x):
            outputs, last = model.apply({"params": params}, x, mask=mask)
            return jnp.sum(outputs * times) + jnp.sum(last * ends), (outputs, last)

        (grads, x_grad), (outputs, last) = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)

    as_torch = lambda array: torch.tensor(np.asarray(array, np.float64))  # noqa: E731
    module.load_state_dict({k: as_torch(v) for k, v in torch_weights(params, both).items()})
    inputs = as_torch(x).requires_grad_()
    if packed:
        rows = torch.nn.utils.rnn.pack_padded_sequence(
            inputs, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
        )
        expected, state = module(rows)
        expected = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)[0]
    else:
        expected, state = module(inputs)
    state = state[0] if name == "lstm" else state
    end = torch.cat(list(state[-1 - both :]), dim=-1)
    ((expected * as_torch(times)).sum() + (end * as_torch(ends)).sum()).backward()

    def close(ours, theirs, what):
        theirs = theirs.detach().numpy()
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max(), err_msg=what)

    close(outputs, expected, "outputs")
    close(last, end, "last")
    close(x_grad, inputs.grad, "gradient of x")
    ours = torch_weights(grads, both)
    for key, parameter in module.named_parameters():
        if not key.startswith("bias_hh"):
            close(ours[key], parameter.grad, key)
        elif name == "gru":  # the other gates' second bias has the first one's gradient
            close(ours[key][-UNITS:], parameter.grad[-UNITS:], key)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", [RNNCell(UNITS), LSTMCell(UNITS), GRUCell(UNITS)], ids=type)
def test_a_row_does_not_see_its_padding(cell, reverse):
    x = jax.random.normal(jax.random.key(0), (LENGTH, ROWS, FEATURES))
    params = jax.jit(cell.init)(jax.random.key(1), x)
    both = lambda x, mask: scan_cell(cell.apply(params, x), mask, reverse=reverse)  # noqa: E731
    outputs, last = both(x, jnp.asarray(MASK.T))
    for row, length in enumerate(LENGTHS):
        alone, end = both(x[:length, row : row + 1], None)
        np.testing.assert_allclose(outputs[:length, row], alone[:, 0], rtol=1e-6, atol=1e-6)
        assert not np.any(outputs[length:, row])
        for array, one in zip(last, end, strict=True):
            np.testing.assert_allclose(array[row], one[0], rtol=1e-6, atol=1e-6)


def test_a_row_without_inputs_stays_at_the_start():
    model = Recurrent((UNITS, UNITS), GRUCell, bidirectional=True)
    x = jnp.ones((2, LENGTH, FEATURES))
    mask = jnp.asarray([[True] * LENGTH, [False] * LENGTH])
    (outputs, last), _ = model.init_with_output(jax.random.key(0), x, mask=mask)
    assert np.all(np.asarray(outputs[0]) != 0) and not np.any(outputs[1]) and not np.any(last[1])


@pytest.mark.parametrize("cell", [LSTMCell, GRUCell, RNNCell])
def test_each_gate_starts_by_itself(cell):
    params = nn.unbox(jax.jit(cell(UNITS).init)(jax.random.key(0), jnp.ones((1, 1, FEATURES))))["params"]
    kernel = np.asarray(params["recurrent"]["kernel"])
    for gate in np.split(kernel, kernel.shape[1] // UNITS, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(UNITS), atol=1e-6)


def test_forget_gates_start_open():
    params = nn.unbox(jax.jit(LSTMCell(3, forget_bias=2.0).init)(jax.random.key(0), jnp.ones((1, 1, 1))))[
        "params"
    ]
    np.testing.assert_array_equal(params["input"]["bias"], np.repeat([0, 2, 0, 0], 3))


def test_an_identity_network_adds_up_its_inputs():
    cell = functools.partial(RNNCell, activation=nn.relu, initializer=identity, recurrent=identity)
    x = jax.random.uniform(jax.random.key(0), (ROWS, LENGTH, FEATURES))
    model = Recurrent((FEATURES,), cell)
    (outputs, last), _ = model.init_with_output(jax.random.key(1), x)
    np.testing.assert_allclose(outputs, np.cumsum(x, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(last, outputs[:, -1])


@pytest.mark.parametrize("last", [True, False])
def test_tokens_and_readouts(last):
    net = RecurrentNet((8, 8), 3, GRUCell, vocabulary=5, last=last, dropout=0.5)
    x = jax.random.randint(jax.random.key(0), (ROWS, LENGTH), 0, 5)
    params = jax.jit(net.init)(jax.random.key(1), x)
    assert net.apply(params, x).shape == ((ROWS, 3) if last else (ROWS, LENGTH, 3))
    key = {"dropout": jax.random.key(2)}
    assert not np.allclose(net.apply(params, x, train=True, rngs=key), net.apply(params, x))


def final(experiment):
    """The test metrics after a whole run, compiled as one program."""
    learner, source, test = experiment.learner, experiment.train, experiment.evaluation["test"]

    @jax.jit
    def run(arrays, key):
        def step(i, state):
            return learner.step(state, source.batch(arrays, i, key), jax.random.fold_in(key, i))[0]

        return jax.lax.fori_loop(0, experiment.steps, step, learner.init(key))

    state, evaluate = run(source.arrays, jax.random.key(0)), jax.jit(learner.evaluate)
    parts = [
        evaluate(state, test.batch(test.arrays, jnp.int32(i), jax.random.key(0)), jax.random.key(0))
        for i in range(test.batches)
    ]
    return {name: sum(p[name].total for p in parts) / sum(p[name].weight for p in parts) for name in parts[0]}


@pytest.mark.parametrize("cell", [LSTMCell, GRUCell])
def test_it_learns_the_adding_problem(cell):
    splits = sampled(functools.partial(adding, length=20), train=8192, validation=64, test=512)
    experiment = tasks.regression(RecurrentNet((32,), 1, cell), splits, optax.adam(1e-2), steps=800)
    assert final(experiment)["loss"] < 0.02  # 1/6 for who predicts 1
