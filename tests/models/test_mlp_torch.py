"""The MLP against PyTorch at the same weights: outputs, gradients, running statistics."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core.meta import unbox

from fdl.models import MLP, batch_norm, layer_norm
from fdl.models.mlp import LONGEST_UNROLLED

torch = pytest.importorskip("torch", reason="PyTorch is the reference")

FEATURES, WIDTH, OUTPUTS, ROWS = 12, 8, 5, 32
SHALLOW, DEEP = 3, LONGEST_UNROLLED + 2  # the first layer is not square: the deep one is just scanned
ACTIVATIONS = {
    "relu": (nn.relu, torch.relu),
    "tanh": (nn.tanh, torch.tanh),
    "sigmoid": (nn.sigmoid, torch.sigmoid),
    "gelu": (nn.gelu, lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    "identity": (lambda x: x, lambda x: x),
}
NORMS = {"none": None, "batch": batch_norm, "layer": layer_norm}
MODULES = {"batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm}


class Reference(torch.nn.Module):
    """The MLP's docstring in PyTorch."""

    def __init__(self, depth, activation, norm, skip):
        super().__init__()
        sizes = [FEATURES] + [WIDTH] * depth
        self.dense = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        make = MODULES.get(norm, lambda width: torch.nn.Identity())
        self.norm = torch.nn.ModuleList(make(WIDTH) for _ in range(depth))
        self.out = torch.nn.Linear(WIDTH, OUTPUTS)
        self.activation, self.skip, self.square = activation, skip, depth - 1

    def forward(self, x):
        x = x.flatten(1)
        for dense, norm in zip(self.dense, self.norm, strict=True):
            y = self.activation(norm(dense(x)))
            residual = self.skip and dense.in_features == dense.out_features
            x = x + y / self.square**0.5 if residual else y
        return self.out(x)


NAMES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def torch_names(tree):
    """A Flax tree as a flat dict by PyTorch's names: stacked layers taken apart, kernels transposed."""
    flat, depth = {}, 0
    for layer in sorted(tree.keys() - {"Dense_0"}, key=lambda name: int(name.removeprefix("Layer_"))):
        modules = tree[layer]
        stacked = next(iter(modules.values()))["bias" if "Dense_0" in modules else "mean"].ndim == 2
        for index in range(LONGEST_UNROLLED + 1 if stacked else 1):
            for module, leaves in modules.items():
                place = "dense" if module == "Dense_0" else "norm"
                for name, leaf in leaves.items():
                    value = leaf[index] if stacked else leaf
                    flat[f"{place}.{depth}.{NAMES[name]}"] = np.asarray(value.T)
            depth += 1
    return flat | {f"out.{NAMES[name]}": np.asarray(leaf.T) for name, leaf in tree.get("Dense_0", {}).items()}


def randomized(tree, key, dtype):
    """Positive noise on every leaf, so that no scale is 1 and no bias or mean is 0."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    noisy = [x + 0.3 * jax.random.uniform(k, x.shape, dtype) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, noisy)


def close(value, reference, rtol, what):
    """`rtol` of the array's largest entry too: in single entries, terms of both signs cancel."""
    assert value.dtype == reference.dtype
    np.testing.assert_allclose(value, reference, rtol=rtol, atol=rtol * np.abs(reference).max(), err_msg=what)


CASES = [("relu", norm, skip, depth) for norm in NORMS for skip in (False, True) for depth in (SHALLOW, DEEP)]
CASES += [(activation, "none", True, SHALLOW) for activation in ("tanh", "sigmoid", "gelu", "identity")]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("activation", "norm", "skip", "depth"), CASES)
def test_agrees_with_torch(activation, norm, skip, depth, train):
    # Rounding grows with the depth (batch norm's gradients explode): deep nets are compared in float64.
    dtype, rtol = (np.float64, 1e-9) if depth == DEEP else (np.float32, 1e-5)
    with jax.enable_x64(depth == DEEP):
        ours, theirs = ACTIVATIONS[activation]
        model = MLP((WIDTH,) * depth, OUTPUTS, activation=ours, norm=NORMS[norm], skip=skip)
        x = jax.random.normal(jax.random.key(0), (ROWS, 3, 4), dtype)
        cotangent = jax.random.normal(jax.random.key(1), (ROWS, OUTPUTS), dtype)
        variables = randomized(unbox(jax.jit(model.init)(jax.random.key(2), x)), jax.random.key(3), dtype)
        state = {name: tree for name, tree in variables.items() if name != "params"}

        def loss(params, x):
            out, new = model.apply({"params": params, **state}, x, train, mutable=["batch_stats"])
            return jnp.sum(out * cotangent), (out, new)

        gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
        (grads, x_grad), (out, new) = gradient(variables["params"], x)
        grads, stats = torch_names(grads), torch_names(new.get("batch_stats", {}))
        weights = torch_names(variables["params"]) | torch_names(state.get("batch_stats", {}))

    reference = Reference(depth, theirs, norm, skip).to(torch.tensor(weights["out.bias"]).dtype).train(train)
    loaded = reference.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    assert not loaded.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in loaded.missing_keys)
    inputs = torch.tensor(np.asarray(x), requires_grad=True)
    expected = reference(inputs)
    (expected * torch.tensor(np.asarray(cotangent))).sum().backward()

    close(out, expected.detach().numpy(), rtol, "outputs")
    close(x_grad, inputs.grad.numpy(), rtol, "gradient of x")
    for name, parameter in reference.named_parameters():
        if train and norm == "batch" and name.startswith("dense") and name.endswith("bias"):
            # Batch norm subtracts the bias again: its gradient is 0 but for rounding, on both sides.
            size = np.abs(grads[name.replace("bias", "weight")]).max()
            np.testing.assert_allclose(grads[name], 0, atol=rtol * size)
        else:
            close(grads[name], parameter.grad.numpy(), rtol, name)
    for name, value in stats.items():
        after = reference.state_dict()[name].numpy()
        if train and name.endswith("running_var"):  # PyTorch averages the unbiased variance, Flax the biased
            old = 0.9 * weights[name]
            after = old + (after - old) * (ROWS - 1) / ROWS
        close(value, after, rtol, name)
