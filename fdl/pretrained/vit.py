"""The vision transformer's published weights."""

import functools
import os
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.models.norms import layer_norm
from fdl.models.vit import ViT, vision_transformer
from fdl.pretrained.checkpoint import count, number, read_checkpoint, require
from fdl.pretrained.fit import fit, outputs_of, renamed
from fdl.pretrained.names import Names, dense, norm, same

_POOLER = r"vit\.pooler\..*"
_HEAD = r"classifier\..*"
_OLDER = (
    (r"^vit\.encoder\.layer\.", "vit.layers."),
    (r"\.attention\.attention\.(q|k|v)(uery|ey|alue)\.", r".attention.\1_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(vit\.layers\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)


def load_vit(
    path: str | os.PathLike[str],
    *,
    outputs: int | None = None,
    sha256: str | None = None,
    dropout: float | jax.Array = 0.0,
) -> tuple[ViT, dict[str, Any]]:
    """A vision transformer and its variables `{"params": ...}`; the pooler's weights are left out.

    Args:
      path: the file of weights in Hugging Face's layout with `config.json` beside it, or their folder.
      outputs: of a new head, which the variables then lack: `fdl.tasks.fine_tuning.warm_start` starts it
        fresh. None: the published head.
      sha256: of the file of weights, in hexadecimal, or None: not checked.
      dropout: as `fdl.models.vision_transformer`'s, in place of the published ones.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged or of another model; all differences are told.
    """
    checkpoint = renamed(read_checkpoint(path, "vit", sha256=sha256), _today)
    layers, size = count(checkpoint, "num_hidden_layers"), count(checkpoint, "image_size")
    require(checkpoint, hidden_act="gelu", qkv_bias=True)
    epsilon = number(checkpoint, "layer_norm_eps", default=1e-12)
    model = vision_transformer(
        outputs_of(checkpoint, "classifier.bias") if outputs is None else outputs,
        size=size,
        patch=count(checkpoint, "patch_size"),
        width=count(checkpoint, "hidden_size"),
        layers=layers,
        heads=count(checkpoint, "num_attention_heads"),
        hidden=count(checkpoint, "intermediate_size"),
        dropout=dropout,
        norm=functools.partial(layer_norm, epsilon=epsilon),
    )
    names, ignored = vit_names(layers), (_POOLER,)
    if outputs is not None:
        names, ignored = {k: v for k, v in names.items() if not k.startswith("head/")}, (_POOLER, _HEAD)
    image = (jax.ShapeDtypeStruct((1, size, size, count(checkpoint, "num_channels")), jnp.float32),)
    return model, fit(checkpoint, model, image, {"params": names}, ignored=ignored)


def _today(name: str) -> str:
    """The name that ViTForImageClassification has for what published files and ViTModel call otherwise."""
    if name.startswith(("embeddings.", "encoder.", "layers.", "layernorm.", "pooler.")):
        name = f"vit.{name}"
    for pattern, new in _OLDER:
        name = re.sub(pattern, new, name)
    return name


def vit_names(layers: int) -> Names:
    """Of a `ViT`, from ViTForImageClassification; published files have older names for the layers' parts."""
    patch = "vit.embeddings.patch_embeddings.projection"
    out = dense("head", "classifier") | norm("transformer/LayerNorm_0", "vit.layernorm")
    out["patches/kernel"] = (f"{patch}.weight", _patches)
    out["patches/bias"] = (f"{patch}.bias", same)
    out["first"] = ("vit.embeddings.cls_token", lambda array: array[0, 0])
    out["transformer/positions/embedding"] = ("vit.embeddings.position_embeddings", lambda array: array[0])
    for i in range(layers):
        a, b = f"transformer/layer_{i}", f"vit.layers.{i}"
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
            out |= dense(f"{a}/attention/{ours}", f"{b}.attention.{theirs}_proj")
        out |= dense(f"{a}/feed_forward/up", f"{b}.mlp.fc1") | dense(f"{a}/feed_forward/down", f"{b}.mlp.fc2")
        out |= norm(f"{a}/LayerNorm_0", f"{b}.layernorm_before")
        out |= norm(f"{a}/LayerNorm_1", f"{b}.layernorm_after")
    return out


def _patches(array: np.ndarray) -> np.ndarray:
    """A convolution's weight `[E, C, P, P]` as the kernel `[P P C, E]` of patches read row by row."""
    return array.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])
