"""Losses per row, and penalties on weights. Every factor may be traced."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from fdl.arguments import Count, Share, checked


@checked
def cross_entropy(
    logits: jax.Array, labels: jax.Array, *, label_smoothing: Share[float | jax.Array] = 0.0
) -> jax.Array:
    """Cross-entropy of softmax(logits) against labels, in nats, as PyTorch's with reduction "none".

    Args:
      logits: `[B, C]`; minus infinity for classes that are ruled out.
      labels: `[B]`, integers from 0 to C - 1; or `[B, C]`, a distribution over the classes.
      label_smoothing: the share ε of the target that is spread evenly over all C classes: the label
        has 1 - ε + ε/C (Szegedy et al. 2016, Rethinking the Inception Architecture, sec. 7).

    Returns:
      `[B]`, float32 at least; NaN, with no gradient, where a label is none of the C classes; infinity
      where a class that the target has is ruled out.

    Raises:
      ValueError: labels of another shape, or a label smoothing that is a number, but none from 0 to 1.

    Example:
      >>> logits = jnp.array([[0.0, 0.0], [9.0, -9.0]])
      >>> print(fdl.losses.cross_entropy(logits, jnp.array([1, 0])).round(3))
      [0.693 0.   ]
    """
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if labels.shape not in (logits.shape, logits.shape[:-1]):  # [B, 1] would count as a distribution
        raise ValueError(
            f"labels have shape {list(labels.shape)}; expected {list(logits.shape[:-1])} or "
            f"{list(logits.shape)}, as logits have {list(logits.shape)}"
        )
    shifted = logits - lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    total = jnp.log(jnp.sum(jnp.exp(shifted), axis=-1))
    if labels.ndim < logits.ndim:
        known = is_class(labels, logits.shape[-1])
        mine = labels[..., None].astype(jnp.int32) == jnp.arange(logits.shape[-1])
        values = total - jnp.sum(jnp.where(mine, shifted, 0), axis=-1)
    else:
        # A class without a share of the target adds nothing, however unlikely it is: 0 log 0 is 0.
        known = True
        values = -jnp.sum(jnp.where(labels == 0, 0, labels * (shifted - total[..., None])), axis=-1)
    if not isinstance(label_smoothing, int | float) or label_smoothing > 0:
        even = total - jnp.mean(shifted, axis=-1)  # the loss against all classes alike
        values = _share(1 - label_smoothing, values) + _share(label_smoothing, even)
    return jnp.where(known, values, jnp.nan)


def _share(share: float | jax.Array, values: jax.Array) -> jax.Array:
    """A share of values; of infinity too, none is 0."""
    return share * jnp.where(jnp.asarray(share) == 0, 0, values)


@checked
def is_class(labels: jax.Array, classes: Count) -> jax.Array:
    """Which labels are 0 to `classes` - 1, bool of the same shape.

    Example:
      >>> fdl.losses.is_class(jnp.array([0, 2, 3, -1]), 3).tolist()
      [True, True, False, False]
    """
    labels = labels.astype(jnp.int32)  # a narrow type might not hold the number of classes
    return (labels >= 0) & (labels < classes)


@checked
def one_hot(labels: jax.Array, classes: Count, *, dtype: Any = jnp.float32) -> jax.Array:
    """1 at each label's place and 0 elsewhere, `[..., C]`; NaN where a label is not 0 to C - 1.

    `jax.nn.one_hot` gives zeros there, which read as "no class at all", and counts classes in the labels'
    own type, so that of more than 256 classes a uint8 label has two.

    Example:
      >>> fdl.losses.one_hot(jnp.array([0, 2]), 3).tolist()
      [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    ones = (labels[..., None].astype(jnp.int32) == jnp.arange(classes)).astype(dtype)
    return jnp.where(is_class(labels, classes)[..., None], ones, jnp.nan)


@checked
def squared_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean squared difference of each row, as PyTorch's `mse_loss` of that row.

    Args:
      predictions: `[B, ...]`.
      targets: the same shape.

    Returns:
      `[B]`.

    Raises:
      ValueError: the shapes differ (broadcasting them would compare rows with other rows).

    Example:
      >>> fdl.losses.squared_error(jnp.array([[1.0, 3.0], [0.0, 0.0]]), jnp.zeros((2, 2))).tolist()
      [5.0, 0.0]
    """
    return _row_means(jnp.square(_difference(predictions, targets)))


@checked
def absolute_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean absolute difference of each row, `[B]`; arguments and errors as for `squared_error`.

    Example:
      >>> fdl.losses.absolute_error(jnp.array([[1.0, -3.0]]), jnp.zeros((1, 2))).tolist()
      [2.0]
    """
    return _row_means(jnp.abs(_difference(predictions, targets)))


def l1(params: Any) -> jax.Array:
    """Sum of |w| over the weight matrices of a model's parameters, a scalar.

    Weight matrices are the leaves whose own name is `kernel`; biases, and the scales and shifts of
    norms, are exempt.

    Example:
      >>> params = {"Dense_0": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([5.0])}}
      >>> float(fdl.losses.l1(params))
      3.0
    """
    return sum((jnp.sum(jnp.abs(w)) for w in _kernels(params)), jnp.zeros(()))


def l2(params: Any) -> jax.Array:
    """Half the sum of w² over the weight matrices (as in `l1`), a scalar; its gradient is w.

    Example:
      >>> params = {"Dense_0": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([5.0])}}
      >>> float(fdl.losses.l2(params))
      2.5
    """
    return sum((0.5 * jnp.sum(jnp.square(w)) for w in _kernels(params)), jnp.zeros(()))


def _kernels(params: Any) -> list[jax.Array]:
    def own_name(path: Any) -> str | None:  # a box with the axes' names may be around the leaf
        names = [entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)]
        return names[-1] if names else None

    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [leaf for path, leaf in leaves if own_name(path) == "kernel"]


def _difference(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    if predictions.shape != targets.shape:
        raise ValueError(
            f"predictions have shape {predictions.shape} and targets {targets.shape}; "
            "expected one shape: reshape the targets"
        )
    return predictions - targets


def _row_means(values: jax.Array) -> jax.Array:
    return jnp.mean(values, axis=range(1, values.ndim))
