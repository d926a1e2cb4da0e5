"""Heads for learning by comparison, against PyTorch and Transformers."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.heads import CosineHead, DualEncoder, WithHead, unit
from fdl.models.mlp import MLP
from fdl.models.norms import batch_norm
from fdl.tasks.contrastive_losses import clip_loss

pytestmark = pytest.mark.slow  # minutes of compiling


class Identity(nn.Module):
    def __call__(self, x, train=False):
        return x


def test_unit_vectors_and_their_gradient_at_zero():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    x[2] = 0
    expected = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    np.testing.assert_allclose(unit(jnp.asarray(x)), expected, rtol=1e-6)
    assert np.isfinite(jax.grad(lambda x: jnp.sum(unit(x) ** 2))(x)).all()


def test_features_are_the_encoders_and_outputs_the_heads():
    encoder: Any = MLP((8,), 6)
    head: Any = MLP((7,), 5, norm=batch_norm)
    model: Any = WithHead(encoder, head)
    x = jax.random.normal(jax.random.key(1), (4, 3))
    out, variables = model.init_with_output(jax.random.key(0), x)
    assert out.shape == (4, 5)
    features = model.apply(variables, x, method="features")
    np.testing.assert_allclose(
        features, encoder.apply({"params": variables["params"]["encoder"]}, x), rtol=1e-6
    )
    of_head = {name: tree["head"] for name, tree in variables.items()}
    np.testing.assert_allclose(out, head.apply(of_head, features), rtol=1e-6)
    trained, new = model.apply(variables, x, train=True, mutable=["batch_stats"])
    assert not np.allclose(trained, out)
    assert set(new["batch_stats"]) == {"head"}


def test_one_encoder_given_twice_shares_its_parameters():
    tower, x = MLP((8,), 6), jnp.ones((2, 3))
    model = DualEncoder(tower, tower, 4)
    params = jax.jit(model.init)(jax.random.key(0), x, x)["params"]
    assert set(params) == {"x_encoder", "x_projection", "y_projection", "log_scale"}


def test_cosines_and_gradients_agree_with_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    model: Any = CosineHead(4)
    variables = nn.unbox(jax.jit(model.init)(jax.random.key(0), x))
    weight = torch.tensor(np.array(variables["params"]["kernel"]).T.copy(), requires_grad=True)
    inputs = torch.tensor(x, requires_grad=True)
    normalize = torch.nn.functional.normalize
    expected = torch.nn.functional.linear(normalize(inputs), normalize(weight))
    expected.exp().sum().backward()
    loss = lambda v, x: jnp.sum(jnp.exp(model.apply(v, x)))  # noqa: E731
    of_params, of_x = jax.grad(loss, (0, 1))(variables, x)
    np.testing.assert_allclose(model.apply(variables, x), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_params["params"]["kernel"].T, weight.grad, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_x, inputs.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("temperature", "scale"), [(0.07, 1 / 0.07), (1.0, 1.0), (0.001, 100.0)])
def test_the_scale_starts_at_the_inverse_temperature_and_has_a_bound(temperature, scale):
    model, x = DualEncoder(Identity(), Identity(), 4, temperature), jnp.ones((2, 3))
    (_, _, out), _ = model.init_with_output(jax.random.key(0), x, x)
    np.testing.assert_allclose(out, scale, rtol=1e-5)


def test_clip_agrees_with_transformers():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    transformers = pytest.importorskip("transformers", reason="Transformers is the reference")
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=size
        | {"vocab_size": 20, "max_position_embeddings": 8, "bos_token_id": 18, "eos_token_id": 19},
        vision_config=size | {"image_size": 8, "patch_size": 4},
        projection_dim=6,
    )
    torch.manual_seed(0)
    theirs = transformers.CLIPModel(config).eval()
    tokens = torch.tensor(np.random.default_rng(0).integers(0, 19, (5, 7)))
    tokens[:, -1] = 19
    images = torch.tensor(np.random.default_rng(1).normal(size=(5, 3, 8, 8)).astype(np.float32))
    out = theirs(input_ids=tokens, pixel_values=images, return_loss=True)
    out.loss.backward()
    x = theirs.vision_model(images).pooler_output.detach().numpy()
    y = theirs.text_model(tokens).pooler_output.detach().numpy()
    layers = {"x_projection": theirs.visual_projection.weight, "y_projection": theirs.text_projection.weight}
    params = {name: weight.detach().numpy().T for name, weight in layers.items()}
    params["log_scale"] = np.float32(theirs.logit_scale.item())
    model: Any = DualEncoder(Identity(), Identity(), 6)

    def loss(params):
        u, v, scale = model.apply({"params": params}, x, y)
        return jnp.mean(clip_loss(u, v, scale, jnp.ones(5))), scale * u @ v.T

    (value, logits), grads = jax.value_and_grad(loss, has_aux=True)(params)
    np.testing.assert_allclose(logits, out.logits_per_image.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(value, out.loss.item(), rtol=1e-5)
    np.testing.assert_allclose(grads["log_scale"], theirs.logit_scale.grad, rtol=1e-4, atol=1e-6)
    for name, weight in layers.items():
        expected = weight.grad.numpy().T
        np.testing.assert_allclose(grads[name], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
