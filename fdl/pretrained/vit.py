"""The vision transformer's published weights."""

import functools
import math
import os
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.models.norms import layer_norm
from fdl.models.positions import learned
from fdl.models.vit import ViT, vision_transformer
from fdl.pretrained.checkpoint import count, number, read_checkpoint, require
from fdl.pretrained.fit import fit_variables, outputs_of, renamed
from fdl.pretrained.names import Convert, Names, dense_names, norm_names, same
from fdl.pretrained.writing import Backs, heads_of, named_tensors, numbered_labels, write_weights

_TABLE = "transformer/positions/embedding"
_POOLER = r"vit\.pooler\..*"
_HEAD = r"classifier\..*"
_OLDER = (
    (r"^vit\.encoder\.layer\.", "vit.layers."),
    (r"\.attention\.attention\.(q|k|v)(uery|ey|alue)\.", r".attention.\1_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(vit\.layers\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)
_PUBLISHED = (
    (r"^(vit\.layers\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"^vit\.layers\.", "vit.encoder.layer."),
)


def load_vit(
    path: str | os.PathLike[str],
    *,
    outputs: int | None = None,
    size: int | tuple[int, int] | None = None,
    sha256: str | None = None,
    dropout: float | jax.Array = 0.0,
) -> tuple[ViT, dict[str, Any]]:
    """A vision transformer and its variables `{"params": ...}`; the pooler's weights are left out.

    Args:
      path: the file of weights in Hugging Face's layout with `config.json` beside it, or their folder.
      outputs: of a new head, which the variables then lack: `fdl.tasks.fine_tuning.warm_start` starts it
        fresh. None: the published head.
      size: of the images, or their height and width, each a multiple of the patch's. Where it is not the
        published size, the positions are interpolated (Dosovitskiy et al. 2021, sec. 3.2) as Transformers'
        `interpolate_pos_encoding` does: bicubically. None: the published size.
      sha256: of the file of weights, in hexadecimal, or None: not checked.
      dropout: as `fdl.models.vision_transformer`'s, in place of the published ones.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged or of another model; all differences are told.
    """
    checkpoint = renamed(read_checkpoint(path, "vit", sha256=sha256), _today)
    logits = outputs_of(checkpoint, "classifier.bias") if outputs is None else outputs
    layers, patch = count(checkpoint, "num_hidden_layers"), count(checkpoint, "patch_size")
    published = count(checkpoint, "image_size")
    height, width = _sizes(size, published, patch)
    rows, columns, side = height // patch, width // patch, published // patch
    require(checkpoint, hidden_act="gelu", qkv_bias=True)
    model = vision_transformer(
        logits,
        patch=patch,
        width=count(checkpoint, "hidden_size"),
        layers=layers,
        heads=count(checkpoint, "num_attention_heads"),
        hidden=count(checkpoint, "intermediate_size"),
        dropout=dropout,
        positions=learned(1 + rows * columns),
        norm=functools.partial(layer_norm, epsilon=number(checkpoint, "layer_norm_eps", default=1e-12)),
    )
    resize = functools.partial(interpolated, side=side, height=rows, width=columns)
    names = vit_names(layers, resize=same if rows == columns == side else resize)
    ignored = (_POOLER,)
    if outputs is not None:
        names, ignored = {k: v for k, v in names.items() if not k.startswith("head/")}, (_POOLER, _HEAD)
    image = (jax.ShapeDtypeStruct((1, height, width, count(checkpoint, "num_channels")), jnp.float32),)
    return model, fit_variables(checkpoint, model, image, {"params": names}, ignored=ignored)


def write_vit(folder: str | os.PathLike[str], model: ViT, variables: Mapping[str, Any]) -> None:
    """Writes a `fdl.models.vision_transformer` for square images in Hugging Face's layout, what `load_vit`
    reads. The norms' epsilon is the model's, 1e-6 if nothing else was given.

    Args:
      folder: new or empty, local; `config.json` and `model.safetensors` are written, as Transformers reads
        them.
      model: as `fdl.models.vision_transformer` makes it, of any sizes.
      variables: its variables, as `fdl.load(...).run(...).variables`.

    Raises:
      ValueError: a folder that holds something, or a model that such a file cannot tell of.
      OSError: a file cannot be written.
    """
    params, layers, patch = dict(variables["params"]), model.transformer.layers, model.patch
    channels = len(params["patches"]["kernel"]) // patch**2
    side = math.isqrt(len(params["transformer"]["positions"]["embedding"]) - 1) * patch
    epsilon = getattr(model.transformer.norm, "keywords", {}).get("epsilon", 1e-6)
    config = {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "hidden_size": model.width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads_of(model.transformer),
        "intermediate_size": len(params["transformer"]["layer_0"]["feed_forward"]["up"]["bias"]),
        "image_size": side,
        "patch_size": patch,
        "num_channels": channels,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "layer_norm_eps": epsilon,
        **numbered_labels(model.outputs),
    }

    def whole(array: np.ndarray) -> np.ndarray:
        return array.reshape(patch, patch, channels, -1).transpose(3, 2, 0, 1)

    backs: Backs = {_first: lambda one: one[None, None], _positions: lambda one: one[None], _patches: whole}
    tensors = named_tensors({"params": vit_names(layers)}, variables, backs)
    tensors = {_published(name): array for name, array in tensors.items()}
    image = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    write_weights(folder, config, tensors, load_vit, model, variables, (image,))


def _published(name: str) -> str:
    """The name in published files of what `vit_names` calls as Transformers does today; it reads both."""
    for new, old in _PUBLISHED:
        name = re.sub(new, old, name)
    return name


def _sizes(size: int | tuple[int, int] | None, published: int, patch: int) -> tuple[int, int]:
    """Height and width of images."""
    if size is None:
        return published, published
    sides = np.ravel(size)
    whole = sides.dtype.kind == "i" and len(sides) in (1, 2)
    if not whole or (sides < 1).any() or (sides % patch).any():
        raise ValueError(f"size is {size}; expected multiples of the patch's size, {patch}, one or two")
    return int(sides[0]), int(sides[-1])


def _today(name: str) -> str:
    """The name that ViTForImageClassification has for what published files and ViTModel call otherwise."""
    if name.startswith(("embeddings.", "encoder.", "layers.", "layernorm.", "pooler.")):
        name = f"vit.{name}"
    for pattern, new in _OLDER:
        name = re.sub(pattern, new, name)
    return name


def vit_names(layers: int, *, resize: Convert = same) -> Names:
    """Of a `ViT`, from ViTForImageClassification; published files have older names for the layers' parts.

    Args:
      layers: how many.
      resize: what the table of positions `[T, E]` goes through.
    """
    patch = "vit.embeddings.patch_embeddings.projection"
    out = dense_names("head", "classifier") | norm_names("transformer/LayerNorm_0", "vit.layernorm")
    out["patches/kernel"] = (f"{patch}.weight", _patches)
    out["patches/bias"] = (f"{patch}.bias", same)
    out["first"] = ("vit.embeddings.cls_token", _first)
    out[_TABLE] = ("vit.embeddings.position_embeddings", functools.partial(_positions, resize))
    for i in range(layers):
        a, b = f"transformer/layer_{i}", f"vit.layers.{i}"
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
            out |= dense_names(f"{a}/attention/{ours}", f"{b}.attention.{theirs}_proj")
        out |= dense_names(f"{a}/feed_forward/up", f"{b}.mlp.fc1")
        out |= dense_names(f"{a}/feed_forward/down", f"{b}.mlp.fc2")
        out |= norm_names(f"{a}/LayerNorm_0", f"{b}.layernorm_before")
        out |= norm_names(f"{a}/LayerNorm_1", f"{b}.layernorm_after")
    return out


def interpolated(table: np.ndarray, side: int, height: int, width: int) -> np.ndarray:
    """The positions `[1 + side side, E]` of a square of patches as those `[1 + height width, E]` of others.

    The first, of no patch, stays; the others are a picture that is resized bicubically.

    Raises:
      ValueError: a table of another length.
    """
    table = table.astype(np.float32)
    picture = table[1:].reshape(side, side, -1)
    rows, columns = _bicubic(side, height), _bicubic(side, width)
    resized = np.einsum("hi,wj,ije->hwe", rows, columns, picture.astype(np.float64), optimize=True)
    return np.concatenate([table[:1], resized.reshape(height * width, -1).astype(np.float32)])


def _bicubic(old: int, new: int) -> np.ndarray:
    """Weights `[new, old]` of resizing along one axis, as PyTorch's `interpolate`.

    Keys 1981, Cubic Convolution Interpolation, eq. 4 is of a = -1/2, JAX's too; PyTorch's has a = -3/4.
    Pixels beyond the edge are those at the edge, and shrinking does not average (`antialias=False`).
    """
    a = -0.75
    where = (np.arange(new) + 0.5) * old / new - 0.5
    first, weights = np.floor(where).astype(int), np.zeros((new, old))
    for offset in range(-1, 3):
        d = np.abs(where - (first + offset))
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        np.add.at(weights, (np.arange(new), np.clip(first + offset, 0, old - 1)), np.where(d <= 1, near, far))
    return weights


def _first(array: np.ndarray) -> np.ndarray:
    return array[0, 0]


def _positions(resize: Convert, array: np.ndarray) -> np.ndarray:
    return resize(array[0])


def _patches(array: np.ndarray) -> np.ndarray:
    """A convolution's weight `[E, C, P, P]` as the kernel `[P P C, E]` of patches read row by row."""
    return array.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])
