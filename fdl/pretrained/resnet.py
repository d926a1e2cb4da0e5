"""Residual networks' published weights, with the running statistics of batch norm."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.models.resnet import ResNet
from fdl.pretrained.checkpoint import Checkpoint, count, read_checkpoint, require
from fdl.pretrained.fit import fit_variables, outputs_of, renamed
from fdl.pretrained.names import Names, dense_names, same
from fdl.pretrained.writing import named_tensors, numbered_labels, write_weights

_COUNTERS = r".*\.normalization\.num_batches_tracked"
_HEAD = r"classifier\..*"


def load_resnet(
    path: str | os.PathLike[str], *, outputs: int | None = None, sha256: str | None = None
) -> tuple[ResNet, dict[str, Any]]:
    """A ResNet and its variables, `{"params": ..., "batch_stats": ...}`.

    Args:
      path: the file of weights in Hugging Face's layout with `config.json` beside it, or their folder.
      outputs: of a new head, which the variables then lack: `fdl.tasks.fine_tuning.warm_start` starts it
        fresh. None: the published head.
      sha256: of the file of weights, in hexadecimal, or None: not checked.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged or of another model; all differences are told.
    """
    checkpoint = renamed(read_checkpoint(path, "resnet", sha256=sha256), _prefixed)
    blocks, width, bottleneck = _architecture(checkpoint)
    given = outputs_of(checkpoint, "classifier.1.bias") if outputs is None else outputs
    model = ResNet(blocks, given, width=width, bottleneck=bottleneck)
    params, statistics = resnet_names(blocks, bottleneck=bottleneck)
    ignored = (_COUNTERS,)
    if outputs is not None:
        head = dense_names("Dense_0", "classifier.1")
        params, ignored = {k: v for k, v in params.items() if k not in head}, (_COUNTERS, _HEAD)
    image = (jax.ShapeDtypeStruct((1, 32, 32, count(checkpoint, "num_channels")), jnp.float32),)
    names = {"params": params, "batch_stats": statistics}
    return model, fit_variables(checkpoint, model, image, names, ignored=ignored)


def write_resnet(folder: str | os.PathLike[str], model: ResNet, variables: Mapping[str, Any]) -> None:
    """Writes a `fdl.models.ResNet` of large images in Hugging Face's layout, what `load_resnet` reads.

    Args:
      folder: new or empty, local; `config.json` and `model.safetensors` are written, as Transformers reads
        them.
      model: as `fdl.models.resnet18` and others make it, of any sizes.
      variables: its variables, as `fdl.load(...).run(...).variables`.

    Raises:
      ValueError: a folder that holds something, or a model that such a file cannot tell of.
      OSError: a file cannot be written.
    """
    channels = np.shape(dict(variables["params"])["Conv_0"]["kernel"])[2]
    widths = [model.width * 2**stage * (4 if model.bottleneck else 1) for stage in range(len(model.blocks))]
    config = {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "num_channels": channels,
        "embedding_size": model.width,
        "hidden_sizes": widths,
        "depths": list(model.blocks),
        "layer_type": "bottleneck" if model.bottleneck else "basic",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
        **numbered_labels(model.outputs),
    }
    params, statistics = resnet_names(model.blocks, bottleneck=model.bottleneck)
    names = {"params": params, "batch_stats": statistics}
    tensors = named_tensors(names, variables, {_kernel: lambda kernel: kernel.transpose(3, 2, 0, 1)})
    # PyTorch counts batches there; averages that fade, as these, make no use of it.
    norms = [name.removesuffix("running_mean") for name in tensors if name.endswith("running_mean")]
    tensors |= {f"{norm}num_batches_tracked": np.zeros((), np.int64) for norm in norms}
    image = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
    write_weights(folder, config, tensors, load_resnet, model, variables, (image,))


def _architecture(checkpoint: Checkpoint) -> tuple[tuple[int, ...], int, bool]:
    """Blocks of each stage, width of the first, and whether there are bottlenecks."""
    bottleneck = checkpoint.config.get("layer_type") != "basic"
    require(checkpoint, layer_type="bottleneck" if bottleneck else "basic", hidden_act="relu")
    require(checkpoint, downsample_in_first_stage=False, downsample_in_bottleneck=False)
    width, blocks = count(checkpoint, "embedding_size"), checkpoint.config.get("depths")
    if not isinstance(blocks, list) or not all(type(n) is int and n > 0 for n in blocks) or not blocks:
        raise ValueError(
            f"{checkpoint.path.parent / 'config.json'}: depths is {blocks!r}; expected integers from 1"
        )
    sizes = [width * 2**stage * (4 if bottleneck else 1) for stage in range(len(blocks))]
    require(checkpoint, hidden_sizes=sizes)
    return tuple(blocks), width, bottleneck


def _prefixed(name: str) -> str:
    """The name that ResNetForImageClassification has for what ResNetModel calls without a prefix."""
    return f"resnet.{name}" if name.startswith(("embedder.", "encoder.")) else name


def resnet_names(blocks: Sequence[int], *, bottleneck: bool) -> tuple[Names, Names]:
    """Of a `ResNet`'s parameters and running statistics, from ResNetForImageClassification.

    Args:
      blocks: how many each stage has.
      bottleneck: whether a block has three convolutions, else two.
    """
    pairs = [("", 0, "resnet.embedder.embedder")]
    stages = [(stage, index) for stage, number in enumerate(blocks) for index in range(number)]
    layers = 3 if bottleneck else 2
    for block, (stage, index) in enumerate(stages):
        a, b = f"Residual_{block}/", f"resnet.encoder.stages.{stage}.layers.{index}"
        pairs += [(a, layer, f"{b}.layer.{layer}") for layer in range(layers)]
        if not index and (stage or bottleneck):
            pairs.append((a, layers, f"{b}.shortcut"))
    params, statistics = dense_names("Dense_0", "classifier.1"), {}
    for a, number, b in pairs:
        params[f"{a}Conv_{number}/kernel"] = (f"{b}.convolution.weight", _kernel)
        params[f"{a}BatchNorm_{number}/scale"] = (f"{b}.normalization.weight", same)
        params[f"{a}BatchNorm_{number}/bias"] = (f"{b}.normalization.bias", same)
        statistics[f"{a}BatchNorm_{number}/mean"] = (f"{b}.normalization.running_mean", same)
        statistics[f"{a}BatchNorm_{number}/var"] = (f"{b}.normalization.running_var", same)
    return params, statistics


def _kernel(array: np.ndarray) -> np.ndarray:
    """A convolution's weight `[O, I, H, W]` as our kernel `[H, W, I, O]`."""
    return array.transpose(2, 3, 1, 0)
