# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# Flax types what `apply` returns as a union that no array function takes.

"""What every model keeps: one line each in `MODELS`."""

import ast
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import models
from fdl.models.detector import Maps
from fdl.models.gan import Conditional
from fdl.models.mixture_density import Mixture
from fdl.models.text_encoder import first_token

KEY = jax.random.key(0)
TEXT = np.array([[1, 2, 3, 4, 0, 2], [3, 3, 1, 2, 4, 1], [2, 0, 1, 1, 3, 4]], np.int32)


class Case(NamedTuple):
    """A tiny model, its inputs, the shapes of what it gives, and why `jax.grad` is not its derivative."""

    model: nn.Module
    inputs: tuple[Any, ...]
    output: Any
    no_derivative: str = ""


def image(*shape: int) -> tuple[np.ndarray]:
    """Inputs `[2, *shape]` of both signs."""
    size = 2 * int(np.prod(shape))
    return (np.sin(np.arange(size, dtype=np.float32) * 1.3).reshape(2, *shape),)


SMALL = {"width": 16, "layers": 2, "heads": 4}
MODELS = {
    "MLP": Case(models.MLP((5, 5), 3, norm=models.layer_norm, skip=True), image(4), (2, 3)),
    "deep MLP": Case(models.MLP((4,) * 20, 3, activation=nn.tanh, skip=True), image(4), (2, 3)),
    "convolutional": Case(models.conv_net((4,), (6,), 3, activation=nn.tanh), image(4, 4, 2), (2, 3)),
    "one-dimensional": Case(models.conv_net((4,), (), 3, activation=nn.tanh), image(8, 2), (2, 3)),
    "LeNet-5": Case(models.lenet5(activation=nn.tanh), image(32, 32, 1), (2, 10)),
    "ResNet": Case(models.cifar_resnet(8, 3, activation=nn.tanh), image(8, 8, 3), (2, 3)),
    "MobileNet": Case(models.small_mobilenet(3, activation=nn.tanh), image(16, 16, 3), (2, 3)),
    "U-Net": Case(models.UNet(2, widths=(3, 4), activation=nn.tanh), image(8, 8, 1), (2, 8, 8, 2)),
    "recurrent": Case(models.RecurrentNet((5,), 3), image(4, 3), (2, 3)),
    "simple recurrent": Case(models.RecurrentNet((5,), 3, models.RNNCell), image(4, 3), (2, 3)),
    "linear recurrent": Case(models.LinearRecurrentNet(6, 2, 3, 5), image(4, 3), (2, 3)),
    "acoustic": Case(models.AcousticModel(4, channels=6, widths=(5,)), image(8, 3), (2, 4, 4)),
    "sequence to sequence": Case(models.Seq2Seq(5, 4, 6), (TEXT[:, :3], TEXT[:, 3:] % 4), (3, 3, 4)),
    "GPT-2": Case(models.gpt2(13, length=8, **SMALL), (TEXT,), (3, 6, 13)),
    "Llama": Case(models.llama(13, shared=2, **SMALL), (TEXT,), (3, 6, 13)),
    "LoRA": Case(
        models.LoRA(models.MLP((4,), 3), 2, chosen=lambda path: path[-1] == "kernel"), image(4), (2, 3)
    ),
    "RoBERTa": Case(models.roberta(13, length=6, **SMALL), (TEXT,), (3, 6, 16)),
    "BERT": Case(models.MaskedLanguageModel(models.bert(13, length=8, **SMALL)), (TEXT,), (3, 6, 13)),
    "T5": Case(models.t5(13, width=16, layers=1, heads=2, head_width=8, hidden=24), (TEXT, TEXT), (3, 6, 13)),
    "ViT": Case(models.vision_transformer(3, size=8, patch=4, **SMALL), image(8, 8, 3), (2, 3)),
    "maxout": Case(models.Maxout((4,), 3), image(4), (2, 3)),
    "Fourier features": Case(models.FourierNet(models.MLP((4,), 3, nn.tanh), features=4), image(4), (2, 3)),
    "random features": Case(models.RandomFeatureNet(3, features=4), image(4), (2, 3)),
    "deep linear": Case(models.DeepLinear((4,), 3), image(4), (2, 3)),
    "Deep Sets": Case(models.DeepSets(models.MLP((4,), 4, nn.tanh), models.MLP((), 2)), image(5, 3), (2, 2)),
    "graph convolution": Case(
        models.GCN((4,), 2, nn.tanh), (*image(5, 3), np.full((2, 5, 5), 0.2, np.float32)), (2, 5, 2)
    ),
    "first neuron": Case(
        models.Neuron(initializer=nn.initializers.lecun_normal),
        image(4),
        (2, 1),
        no_derivative="a step function's derivative is zero wherever it has one",
    ),
    "ADALINE's neuron": Case(
        models.Neuron(lambda x: x, initializer=nn.initializers.lecun_normal), image(4), (2, 1)
    ),
    "spiking": Case(
        models.SpikingNet((6,), 3, threshold=0.5),
        image(6, 3),
        (2, 3),
        no_derivative="a surrogate stands for the derivative of a spike",
    ),
    "autoencoder": Case(
        models.Autoencoder(models.MLP((4,), 2, nn.tanh), models.MLP((4,), 5)), image(5), (2, 5)
    ),
    "convolutional autoencoder": Case(
        models.Autoencoder(
            models.ConvEncoder(2, (3,), nn.tanh), models.ConvDecoder((4, 4, 1), (3,), nn.tanh)
        ),
        image(4, 4, 1),
        (2, 4, 4, 1),
    ),
    "VAE": Case(models.VAE(models.MLP((4,), 4, nn.tanh), models.MLP((4,), 5, nn.tanh)), image(5), (2, 5)),
    "VQ-VAE": Case(
        models.VQVAE(models.MLP((4,), 3, nn.tanh), models.VectorQuantiser(6), models.MLP((4,), 5), 2),
        image(5),
        (2, 5),
        no_derivative="the straight-through gradient is that of the latents, not of their nearest code",
    ),
    "detector": Case(
        models.Detector(3, (4,), layers=1, activation=nn.tanh),
        image(2, 2, 1),
        Maps((2, 2, 2, 3), (2, 2, 2, 2), (2, 2, 2, 2)),
    ),
    "mixture density": Case(
        models.MixtureDensity(models.MLP((4,), 3, nn.tanh), 2, components=3),
        image(4),
        Mixture((2, 3), (2, 3, 2), (2, 3, 2)),
    ),
    "policy and value": Case(
        models.PolicyValue(models.BoardTower(4, 1, nn.tanh), 5, hidden=4, activation=nn.tanh),
        image(3, 3, 2),
        ((2, 5), (2,)),
    ),
    "dual encoder": Case(
        models.DualEncoder(models.MLP((4,), 3, nn.tanh), models.MLP((4,), 3, nn.tanh), 5),
        (*image(4), *image(6)),
        ((2, 5), (2, 5), ()),
    ),
    "DCGAN generator": Case(models.DCGANGenerator((8,), 1), image(3), (2, 8, 8, 1)),
    "DCGAN discriminator": Case(models.DCGANDiscriminator((8,)), image(8, 8, 1), (2,)),
    "MLP generator": Case(models.MLPGenerator((8,), (2,)), image(3), (2, 2)),
    "MLP discriminator": Case(
        models.MLPDiscriminator((8,), nn.tanh, weight=models.spectral_norm), image(3), (2,)
    ),
    "conditional generator": Case(
        Conditional(models.MLPGenerator((4,), (2,)), 3), (*image(3), np.array([2, 0])), (2, 2)
    ),
    "cosine head": Case(
        models.WithHead(models.MLP((8,), 6, nn.tanh), models.CosineHead(5)), image(3), (2, 5)
    ),
    "DiT": Case(models.DiT(2, 8, 1, 2), (*image(4, 4, 1), np.array([0.2, 0.7], np.float32)), (2, 4, 4, 1)),
    "diffusion MLP": Case(models.DiffusionMLP((6,)), (*image(4), np.array([0.2, 0.7], np.float32)), (2, 4)),
    "diffusion U-Net": Case(
        models.DiffusionUNet((4,), 1, (False,), norm=functools.partial(models.group_norm, groups=2)),
        (*image(4, 4, 1), np.array([0.2, 0.7], np.float32)),
        (2, 4, 4, 1),
    ),
}

PIXELS = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
TOKENS = jax.ShapeDtypeStruct((1, 2), jnp.int32)
COUNTS = [
    ("AlexNet, one tower", models.alexnet(groups=1), (PIXELS,), 62_378_344),
    ("ResNet-50", models.resnet50(), (PIXELS,), 25_557_032),
    ("ViT-B/16", models.vision_transformer(1000), (PIXELS,), 86_567_656),
    ("GPT-2, 124 M", models.gpt2(), (TOKENS,), 124_439_808),
    ("RoBERTa-base", models.TextClassifier(models.roberta(), 0, first_token), (TOKENS,), 124_645_632),
    ("BERT-base", models.TextClassifier(models.bert(), 0, first_token), (TOKENS,), 109_482_240),
    ("T5-small", models.t5(), (TOKENS, TOKENS), 60_506_624),
]


PUBLISHED = "a published form of a model in the list, tested in the file of that model"
NOT_LISTED = {
    "DropPath": "a layer without parameters: test_drop_path",
    "Experts": "a layer whose routing is no smooth function: test_experts",
    "FakeQuantised": "another model, rounded, with ranges from training: test_fake_quantised",
    "Local": "a layer: test_conv",
    "MixedPrecision": "another model in another type: test_precision",
    "cifar_alexnet": PUBLISHED,
    "ddpm_unet": PUBLISHED,
    "mobilenet": PUBLISHED,
    "original_transformer": PUBLISHED,
    "resnet18": PUBLISHED,
    "resnet34": PUBLISHED,
    "vgg": PUBLISHED,
}


@pytest.mark.medium
def test_every_exported_model_is_in_the_list():
    """By name in `MODELS` or `COUNTS`, or as a part that runs in one of `MODELS`."""
    ran = set()

    def note(call: Any, arguments: Any, options: Any, context: Any) -> Any:
        ran.update(cls.__name__ for cls in type(context.module).__mro__)
        return call(*arguments, **options)

    with nn.intercept_methods(note):
        for case in MODELS.values():
            jax.eval_shape(case.model.init, KEY, *case.inputs)
    nodes = ast.walk(ast.parse(Path(__file__).read_text()))
    named = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    exported = {name for name in dir(models) if makes_a_model(getattr(models, name))}
    assert len(exported) > 70
    assert exported - ran - named == NOT_LISTED.keys()


def makes_a_model(value: Any) -> bool:
    """Whether it is a Flax module, or a function that returns one."""
    made = inspect.signature(value).return_annotation if inspect.isfunction(value) else value
    return inspect.isclass(made) and issubclass(made, nn.Module)


@pytest.fixture(params=MODELS, scope="module")
def case(request) -> Case:
    return MODELS[request.param]


@pytest.fixture(scope="module")
def start(case) -> Callable[[jax.Array], Any]:
    """The model's variables by key, for the tests of a model compiled once."""
    return jax.jit(lambda key: case.model.init(key, *case.inputs))


def close(got: Any, wanted: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, wanted)


def weighted(out: Any) -> Any:
    """A sum of all outputs in which each has a weight of its own."""
    return sum(jnp.sum(leaf.ravel() * jnp.cos(jnp.arange(leaf.size))) for leaf in jax.tree.leaves(out))


def cast(tree: Any, dtype: Any) -> Any:
    """Floats as another type, by NumPy, which compiles nothing; integers stay."""
    convert = lambda leaf: np.asarray(leaf, dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf  # noqa: E731
    return jax.tree.map(convert, tree)


@pytest.mark.medium
def test_shape_type_and_compiled_equals_eager(case, start):
    variables, apply = start(KEY), jax.jit(case.model.apply)
    out = apply(variables, *case.inputs)
    assert jax.tree.map(jnp.shape, out) == case.output
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(out))
    close(out, case.model.apply(variables, *case.inputs))
    jax.tree.map(np.testing.assert_array_equal, out, apply(variables, *case.inputs))
    assert apply._cache_size() == 1  # pyright: ignore[reportFunctionMemberAccess]


@pytest.mark.slow
def test_seeds_side_by_side_are_the_seeds_alone(case, start):
    keys = jax.random.split(KEY, 3)

    def run(key):
        variables = case.model.init(key, *case.inputs)
        return case.model.apply(variables, *case.inputs), variables["params"]

    together, params = jax.jit(jax.vmap(run))(keys)
    alone = jax.jit(case.model.apply)(start(keys[1]), *case.inputs)
    close(jax.tree.map(lambda leaf: leaf[1], together), alone)
    assert any(np.abs(leaf[0] - leaf[1]).max() > 1e-3 for leaf in jax.tree.leaves(params))


@pytest.mark.slow
def test_gradients_are_central_differences(case, start):
    if case.no_derivative:
        pytest.skip(f"no derivative to compare with: {case.no_derivative}")
    variables, inputs = cast(start(KEY), np.float64), cast(case.inputs, np.float64)
    with jax.enable_x64(True):
        rest = {name: tree for name, tree in variables.items() if name != "params"}

        @jax.jit
        def both(params):
            value = lambda params: weighted(case.model.apply({"params": params, **rest}, *inputs))  # noqa: E731
            return jax.value_and_grad(value)(params)

        leaves, shape = jax.tree.flatten(variables["params"])
        random = np.random.default_rng(1)  # NumPy: each small program of its own would have to be compiled
        # Away from the start, where a last layer of zeros would hide the gradients of all before it.
        leaves = [leaf + 0.1 * np.sin(np.arange(leaf.size)).reshape(leaf.shape) for leaf in leaves]
        params = jax.tree.unflatten(shape, leaves)
        way = [random.normal(size=leaf.shape) for leaf in leaves]
        step = 1e-6
        moved = [
            jax.tree.unflatten(shape, [leaf + sign * step * d for leaf, d in zip(leaves, way, strict=True)])
            for sign in (1, -1)
        ]
        slope = (both(moved[0])[0] - both(moved[1])[0]) / (2 * step)
        gradient = jax.tree.leaves(both(params)[1])
        expected = sum(np.sum(g * d) for g, d in zip(gradient, way, strict=True))
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_half_precision_is_finite(case, start):
    variables, inputs = cast(start(KEY), jnp.bfloat16), cast(case.inputs, jnp.bfloat16)
    out = jax.jit(case.model.apply)(variables, *inputs)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(out))


@pytest.mark.parametrize(
    ("model", "inputs", "count"), [row[1:] for row in COUNTS], ids=[r[0] for r in COUNTS]
)
def test_parameter_counts_are_the_published_ones(model, inputs, count):
    params = jax.eval_shape(model.init, KEY, *inputs)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
