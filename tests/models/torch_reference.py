"""A model against a PyTorch one with the same weights: outputs, and gradients of all that it has."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.flags import RIGHT

torch = pytest.importorskip("torch", reason="PyTorch is the reference")

LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def torch_array(leaf):
    """Kernels `[*K, I, O]` as PyTorch's `[O, I, *K]`; vectors as they are."""
    return np.asarray(leaf if leaf.ndim < 2 else jnp.moveaxis(leaf, (-1, -2), (0, 1)))


def torch_names(tree, names):
    """A tree's leaves as PyTorch's arrays by PyTorch's names; `names` gives those of our modules."""
    flat = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(nn.unbox(tree)):
        *module, name = (entry.key for entry in path)
        flat[f"{names['/'.join(module)]}.{LEAVES[name]}".removeprefix(".")] = torch_array(leaf)
    return flat


def drawn(shapes, random, dtype):
    """Kernels of He's variance; vectors so that no scale is 1 and no bias or mean is 0."""

    def draw(path, leaf):
        if leaf.ndim < 2:
            low = (
                -0.5 if path[-1].key in ("bias", "mean") else 0.5
            )  # means above 0 would leave no unit active
            return random.uniform(low, low + 1, leaf.shape).astype(dtype)
        return (random.normal(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))).astype(dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def close(value, reference, rtol, what):
    """`rtol` of the array's largest entry too: in single entries, terms of both signs cancel."""
    assert value.dtype == reference.dtype
    np.testing.assert_allclose(value, reference, rtol=rtol, atol=rtol * np.abs(reference).max(), err_msg=what)


def channels_first(x):
    return np.moveaxis(np.asarray(x), -1, 1)


def assert_agrees(model, reference, names, shape, *, train=False, dtype=np.float32, rtol=1e-5, zero=()):
    """Forward and gradients of parameters and inputs agree.

    Args:
      model: ours, called as `model(x, train=...)`.
      reference: the torch module; its weights are overwritten.
      names: PyTorch's module names by ours, as `{"Conv_0": "conv"}`.
      shape: of the inputs `[B, *S, C]`.
      train: whether batch statistics are used.
      dtype: of everything.
      rtol: relative tolerance, of the largest entry of an array.
      zero: endings of PyTorch's names of parameters whose gradient is zero but for rounding.
    """
    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        shapes = nn.unbox(jax.eval_shape(model.init, jax.random.key(1), x))
        variables = drawn(shapes, random, dtype)
        state = {name: tree for name, tree in variables.items() if name != "params"}
        out = jax.eval_shape(model.apply, variables, x)
        cotangent = random.normal(size=out.shape).astype(dtype)

        def loss(params, x):
            out, new = model.apply({"params": params, **state}, x, train=train, mutable=["batch_stats"])
            return jnp.sum(out * cotangent), (out, new)

        gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True), compiler_options=RIGHT)
        (grads, x_grad), (out, new) = gradient(variables.get("params", {}), x)
        weights = {k: v for tree in variables.values() for k, v in torch_names(tree, names).items()}
        grads = torch_names(grads, names)
        stats = torch_names(new.get("batch_stats", {}), names)

    reference = reference.to(torch.tensor(x).dtype).train(train)
    loaded = reference.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    assert not loaded.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in loaded.missing_keys)
    inputs = torch.tensor(channels_first(x), requires_grad=True)
    expected = reference(inputs)
    value = channels_first(out) if out.ndim > 2 else np.asarray(out)
    weight = channels_first(cotangent) if out.ndim > 2 else np.asarray(cotangent)
    (expected * torch.tensor(weight)).sum().backward()

    close(value, expected.detach().numpy(), rtol, "outputs")
    assert inputs.grad is not None and inputs.grad.abs().max() > 0, "no gradient: nothing would be compared"
    close(channels_first(x_grad), inputs.grad.numpy(), rtol, "gradient of x")
    for name, parameter in reference.named_parameters():
        if name.endswith(tuple(zero)):
            size = np.abs(grads[name.replace("bias", "weight")]).max()
            np.testing.assert_allclose(grads[name], 0, atol=10 * rtol * size, err_msg=name)
        else:
            close(grads[name], parameter.grad.numpy(), rtol, name)
    for name, buffer in reference.named_buffers():
        if name.endswith("running_mean"):
            close(stats[name], buffer.numpy(), rtol, name)
