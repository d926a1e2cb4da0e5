import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core.meta import unbox

from fdl import losses
from fdl.models import MLP, batch_norm

LOGITS = np.asarray(3 * jax.random.normal(jax.random.key(0), (16, 7)))
LABELS = jax.random.randint(jax.random.key(1), (16,), 0, 7)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_is_torchs(smoothing, traced):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")

    def loss(logits, smoothing):
        return losses.cross_entropy(logits, LABELS, label_smoothing=smoothing)

    def total(logits, smoothing):
        return loss(logits, smoothing).sum()

    value, gradient = loss, jax.grad(total)
    if traced:
        value, gradient = jax.jit(value), jax.jit(gradient)
    logits = torch.tensor(LOGITS, requires_grad=True)
    labels = torch.tensor(np.asarray(LABELS), dtype=torch.long)
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    expected.sum().backward()
    np.testing.assert_allclose(value(LOGITS, smoothing), expected.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(gradient(LOGITS, smoothing), logits.grad.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_that_are_ruled_out_have_torchs_loss(smoothing):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    logits = np.array([[0, -np.inf, 1], [2, -np.inf, -np.inf], [-np.inf, 0, 1]], np.float32)
    own = torch.tensor(logits, requires_grad=True)
    labels = jnp.zeros(3, int)
    expected = torch.nn.functional.cross_entropy(
        own, torch.zeros(3, dtype=torch.long), reduction="none", label_smoothing=smoothing
    )

    def loss(logits, smoothing):
        return losses.cross_entropy(logits, labels, label_smoothing=smoothing)

    for got in (loss(logits, smoothing), jax.jit(loss)(logits, smoothing)):
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-6)
    if not smoothing:
        assert loss(logits, 0.0)[0] == pytest.approx(1.3133, abs=1e-4)
        expected[:2].sum().backward()
        gradient = jax.grad(lambda logits: loss(logits, 0.0)[:2].sum())(logits)
        np.testing.assert_allclose(gradient[:2], own.grad.numpy()[:2], atol=1e-6)


@pytest.mark.parametrize("label", [-100, -1, 3, 255])
def test_a_label_of_no_class_has_no_loss_and_no_gradient(label):
    """PyTorch refuses it. Its place may be left out by a weight of zero, and then disturbs nothing."""
    logits, labels = jnp.asarray(LOGITS[:2, :3]), jnp.array([2, label])
    got = losses.cross_entropy(logits, labels, label_smoothing=0.1)
    assert np.isfinite(got[0]) and np.isnan(got[1])
    gradient = jax.grad(lambda x: jnp.where(np.array([1, 0]) > 0, losses.cross_entropy(x, labels), 0).sum())
    np.testing.assert_array_equal(np.isfinite(gradient(logits)), True)
    assert np.isnan(losses.one_hot(labels, 3)).tolist() == [[False] * 3, [True] * 3]


def test_labels_of_a_narrow_type_have_one_class_among_many():
    """Of 300 classes, uint8 labels: 5 is not 261 too."""
    logits, labels = jnp.zeros((1, 300)), jnp.array([5], jnp.uint8)
    assert float(losses.cross_entropy(logits, labels)[0]) == pytest.approx(np.log(300), rel=1e-6)
    assert np.flatnonzero(losses.one_hot(labels, 300)[0]).tolist() == [5]


def test_bfloat16_logits_have_a_float32_loss():
    logits = jnp.asarray(LOGITS, jnp.bfloat16)
    got = losses.cross_entropy(logits, LABELS)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, losses.cross_entropy(logits.astype(jnp.float32), LABELS), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_a_smoothing_that_is_no_share_is_refused(smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing is .*; expected (from 0 to 1|a number)"):
        losses.cross_entropy(jnp.asarray(LOGITS), LABELS, label_smoothing=smoothing)


@pytest.mark.parametrize("shape", [(8,), (8, 3), (8, 3, 2)])
@pytest.mark.parametrize(("ours", "theirs"), [("squared_error", "mse_loss"), ("absolute_error", "l1_loss")])
def test_errors_are_torchs_of_each_row(ours, theirs, shape):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    a, b = (np.asarray(jax.random.normal(jax.random.key(k), shape)) for k in (0, 1))
    inputs = torch.tensor(a, requires_grad=True)
    pairs = zip(inputs, torch.tensor(b), strict=True)
    expected = torch.stack([getattr(torch.nn.functional, theirs)(p, t) for p, t in pairs])
    expected.sum().backward()
    error = getattr(losses, ours)
    np.testing.assert_allclose(error(a, b), expected.detach().numpy(), rtol=1e-5)
    gradient = jax.grad(lambda a: error(a, b).sum())(a)
    np.testing.assert_allclose(gradient, inputs.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("error", [losses.squared_error, losses.absolute_error])
def test_shapes_that_would_broadcast_are_refused(error):
    with pytest.raises(ValueError, match=r"predictions have shape \(8, 1\) and targets \(8,\)"):
        error(jnp.zeros((8, 1)), jnp.zeros(8))


@pytest.mark.parametrize("depth", [2, 20])
def test_penalties_are_over_kernels_only(depth):
    model = MLP((6,) * depth, 3, norm=batch_norm)
    params = unbox(jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4))))["params"]
    params = jax.tree.map(lambda x: x + 0.5, params)
    flat = {jax.tree_util.keystr(p): np.asarray(x) for p, x in jax.tree_util.tree_leaves_with_path(params)}
    kernels = {
        name: x
        for name, x in flat.items()
        if x.ndim > 1 and x.shape[-2:] in ((4, 6), (6, 6), (6, 3)) and "Dense" in name
    }
    assert sum(x.size for x in kernels.values()) == 4 * 6 + (depth - 1) * 36 + 18
    np.testing.assert_allclose(losses.l1(params), sum(np.abs(x).sum() for x in kernels.values()), rtol=1e-5)
    np.testing.assert_allclose(
        losses.l2(params), sum(0.5 * (x**2).sum() for x in kernels.values()), rtol=1e-5
    )
    for penalty, derivative in ((losses.l1, np.sign), (losses.l2, lambda x: x)):
        for path, gradient in jax.tree_util.tree_leaves_with_path(jax.grad(penalty)(params)):
            name = jax.tree_util.keystr(path)
            expected = derivative(flat[name]) if name in kernels else np.zeros_like(flat[name])
            np.testing.assert_array_equal(gradient, expected)


def test_a_model_without_weight_matrices_has_no_penalty():
    params = {"scale": jnp.ones(3), "kernel_scale": jnp.ones((2, 2))}
    assert losses.l1(params) == 0 and losses.l2(params) == 0
