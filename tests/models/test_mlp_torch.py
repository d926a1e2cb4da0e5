"""The MLP against PyTorch at the same weights: outputs, gradients, running statistics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
        self.dense = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
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


def arrays(tree):
    """A Flax tree as a flat dict with PyTorch's names: stacked layers taken apart, kernels transposed."""
    hidden = []
    for name in sorted((n for n in tree if n.startswith("Layer_")), key=lambda n: int(n[6:])):
        layer = {path[-2:]: leaf for path, leaf in nn_paths(tree[name])}
        kernel = layer.get(("Dense_0", "kernel"), next(iter(layer.values())))
        stacked = kernel.ndim == (3 if ("Dense_0", "kernel") in layer else 2)
        count = kernel.shape[0] if stacked else 1
        hidden += [{k: v[i] if stacked else v for k, v in layer.items()} for i in range(count)]
    names = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    flat = {}
    for i, layer in enumerate(hidden):
        for (module, leaf), value in layer.items():
            place = "dense" if module == "Dense_0" else "norm"
            flat[f"{place}.{i}.{names[leaf]}"] = np.asarray(value.T)
    for leaf, value in tree.get("Dense_0", {}).items():
        flat[f"out.{names[leaf]}"] = np.asarray(value.T)
    return flat


def nn_paths(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(tuple(key.key for key in path), leaf) for path, leaf in leaves]


def randomized(tree, key):
    """Positive noise on every leaf, so that no scale is 1 and no bias or mean is 0."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    noise = [0.3 * jax.random.uniform(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, [a + b for a, b in zip(leaves, noise, strict=True)])


def close(value, reference, what):
    """rtol 1e-5, of the array's largest entry: sums of both signs cancel in single entries."""
    np.testing.assert_allclose(value, reference, rtol=1e-5, atol=1e-5 * np.abs(reference).max(), err_msg=what)


CASES = [("relu", norm, skip, depth) for norm in NORMS for skip in (False, True) for depth in (SHALLOW, DEEP)]
CASES += [(activation, "none", True, SHALLOW) for activation in ("tanh", "sigmoid", "gelu", "identity")]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("activation", "norm", "skip", "depth"), CASES)
def test_agrees_with_torch(activation, norm, skip, depth, train):
    ours, theirs = ACTIVATIONS[activation]
    model = MLP((WIDTH,) * depth, OUTPUTS, activation=ours, norm=NORMS[norm], skip=skip)
    x = jax.random.normal(jax.random.key(0), (ROWS, 3, 4))
    cotangent = jax.random.normal(jax.random.key(1), (ROWS, OUTPUTS))
    variables = randomized(jax.jit(model.init)(jax.random.key(2), x), jax.random.key(3))
    state = {name: tree for name, tree in variables.items() if name != "params"}

    def loss(params, x):
        out, new = model.apply({"params": params, **state}, x, train, mutable=["batch_stats"])
        return jnp.sum(out * cotangent), (out, new)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (grads, x_grad), (out, new) = gradient(variables["params"], x)

    reference = Reference(depth, theirs, norm, skip).train(train)
    weights = arrays(variables["params"]) | arrays(state.get("batch_stats", {}))
    missing, unexpected = reference.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    before = {k: v.numpy().copy() for k, v in reference.state_dict().items()}
    inputs = torch.tensor(np.asarray(x), requires_grad=True)
    expected = reference(inputs)
    (expected * torch.tensor(np.asarray(cotangent))).sum().backward()

    close(out, expected.detach().numpy(), "outputs")
    close(x_grad, inputs.grad.numpy(), "gradient of x")
    ours_flat = arrays(grads)
    for name, parameter in reference.named_parameters():
        if train and norm == "batch" and name.startswith("dense") and name.endswith("bias"):
            # Batch norm removes the bias: its gradient is 0 but for rounding, on both sides.
            scale = np.abs(ours_flat[name.replace("bias", "weight")]).max()
            np.testing.assert_allclose(ours_flat[name], 0, atol=1e-5 * scale)
            continue
        close(ours_flat[name], parameter.grad.numpy(), name)
    for name, value in arrays(new.get("batch_stats", {})).items():
        after = reference.state_dict()[name].numpy()
        if name.endswith("var"):  # PyTorch averages the unbiased variance, Flax the biased one
            after = before[name] + (after - before[name] * 0.9) * (ROWS - 1) / ROWS - before[name] * 0.1 if train else after
        close(value, after, name)
