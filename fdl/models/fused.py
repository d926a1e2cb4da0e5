"""Attention by one kernel, which keeps no scores: less time, and memory that grows as the text does."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from fdl.arguments import checked


@checked
def fused_attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    drop: Callable[[jax.Array], jax.Array] | None = None,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> jax.Array:
    """As `attend`, by cuDNN's kernel (`jax.nn.dot_product_attention`), for NVIDIA GPUs of 2020 or later.

    Dao et al. 2022, FlashAttention, sec. 3. The kernel takes bfloat16, so a model that has it is one of
    `MixedPrecision`; heads of widths that 8 divides, up to 128 (256 from Hopper on); and, where there is a
    gradient, texts of even length (JAX before 0.11: only with a mask or a bias). A causal mask is best said
    by `is_causal`: then what it hides is not computed, and a `Transformer` whose mask is `causal` says it.
    Weights cannot be dropped.

    On a GPU only the speed of training with `is_causal` was seen, not yet what it, masks and a bias compute
    there: the part `attention` of `experiments/benchmarks/gpu.py` compares it with `attend`.

    Args:
      query: `[B, T, H, D]`.
      key: `[B, S, K, D]`.
      value: `[B, S, K, D]`.
      mask: see `attend`.
      bias: see `attend`.
      scale: see `attend`.
      is_causal: see `attend`.
      drop: must be None.
      implementation: `"cudnn"`, or `"xla"`, which runs anywhere, in any type, and keeps the scores.

    Returns:
      `[B, T, H, D]`.

    Raises:
      ValueError: dropout of weights, or what the kernel or this machine cannot do.

    Example:
      >>> import jax
      >>> from fdl import models
      >>> model = models.MixedPrecision(models.gpt2(attend=models.fused_attend))
      >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jax.numpy.zeros((1, 1), int))
      >>> sum(leaf.size for leaf in jax.tree.leaves(shapes))
      124439808
    """
    if drop is not None:
        raise ValueError("fused_attend cannot drop weights; expected attention with dropout=0.0, or attend")
    biased = None if bias is None else bias[None].astype(query.dtype)
    masked = None if mask is None else _whole(mask, query.shape[1], key.shape[1])
    try:
        return jax.nn.dot_product_attention(
            query,
            key,
            value,
            biased,
            masked,
            scale=scale,
            is_causal=is_causal,
            implementation=implementation,
        )
    except (NotImplementedError, RuntimeError, ValueError) as error:
        said, given = str(error).strip().splitlines()[0], f"{list(query.shape)} of {query.dtype}"
        raise ValueError(
            f"fused_attend cannot serve queries {given} on {jax.default_backend()} ({said}); "
            "expected bfloat16, as of MixedPrecision, and even lengths, on a GPU with cuDNN; or plain attend"
        ) from error


def _whole(mask: jax.Array, queries: int, keys: int) -> jax.Array:
    """A mask that broadcasts to `[B, 1, T, S]`, with all its T and S: of bias and mask cuDNN wants these."""
    mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    return jnp.broadcast_to(mask, (*mask.shape[:2], queries, keys))
