"""The gradient of a batch that tells little of any one row: each row's is clipped, their sum made noisy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fdl import rng, shards
from fdl.arguments import Count, NotNegative, Positive, checked
from fdl.experiment import Batch
from fdl.metrics import Mean
from fdl.tasks.accumulation import Loss, Passed, added_up, micro_batches, of_batch


@checked
class Privacy(NamedTuple):
    """DP-SGD's numbers.

    Attributes:
      clip: C, the Euclidean norm that a row's gradient has at most, over all parameters together.
      noise_multiplier: σ; the noise on the sum of the rows' gradients is normal, of deviation σ C.
      rows: what the sum is divided by: the rows that a batch has on average. How many it has is itself a
        secret.

    Example:
      >>> fdl.tasks.Privacy(clip=1.0, noise_multiplier=2.0, rows=100).rows
      100
    """

    clip: Positive[float | jax.Array]
    noise_multiplier: NotNegative[float | jax.Array]
    rows: Count


def passed_privately(
    loss: Loss,
    params: Any,
    model_state: Any,
    batch: Batch,
    key: jax.Array,
    *,
    privacy: Privacy,
    accumulate: int = 1,
) -> Passed:
    """As `fdl.tasks.accumulation.passed`, with the gradient of DP-SGD (Abadi et al. 2016, Deep Learning with
    Differential Privacy, algorithm 1), and a metric `clipped`, the share of the rows whose gradient was.

    The loss sees each row by itself, as a batch of one with a key of its own. The rows' clipped gradients are
    added up over micro-batches and devices; noise, drawn once from the step's key, is added to the sum, which
    then is divided by a number that does not depend on the rows. (Optax's `differentially_private_aggregate`
    would add noise on each device and for each micro-batch, and divide by the places of a batch.)

    The value and the metrics are those of the rows, without noise.

    Raises:
      ValueError: a model that keeps more than parameters.
    """
    if model_state:
        raise ValueError(
            f"the model keeps {', '.join(map(repr, model_state))} beside its parameters, which tells of "
            "rows; expected parameters alone: take another norm, as models.group_norm"
        )
    row_keys = shards.draw(jax.random.split, key, (len(jax.tree.leaves(batch)[0]),))

    def one(state: Any, part: Batch, keys: jax.Array) -> tuple[tuple[Any, Mean, Any], Any]:
        return _clipped_sum(loss, params, part, keys, privacy.clip), state

    if accumulate == 1:
        sums, _ = one({}, batch, row_keys)
    else:
        sums, _ = added_up(one, {}, micro_batches((batch, row_keys), accumulate))
    total, mean, metrics = shards.total(sums)
    noise = optax.tree.random_like(rng.stream(key, "privacy"), total, jax.random.normal)
    deviation = privacy.noise_multiplier * privacy.clip
    made = lambda leaf, drawn, param: ((leaf + deviation * drawn) / privacy.rows).astype(param.dtype)  # noqa: E731
    gradient = jax.tree.map(made, total, noise, params)
    return Passed(*of_batch(mean), gradient, {name: of_batch(part) for name, part in metrics.items()}, {})


def _clipped_sum(
    loss: Loss, params: Any, batch: Batch, keys: jax.Array, clip: float | jax.Array
) -> tuple[Any, Mean, dict[str, Mean]]:
    """The sum of the rows' clipped gradients in float32, and those of what is reported."""

    def of_row(row: Batch, key: jax.Array) -> tuple[Any, Mean, dict[str, Mean]]:
        alone = jax.tree.map(lambda leaf: leaf[None], row)

        def total(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
            mean, (metrics, _) = loss({"params": params}, alone, key)
            return mean.total, (mean.weight, dict(metrics))

        (value, (weight, metrics)), gradient = jax.value_and_grad(total, has_aux=True)(params)
        kept = lambda leaf: jnp.where(weight > 0, leaf, 0).astype(jnp.float32)  # noqa: E731
        return jax.tree.map(kept, gradient), Mean(value, weight), metrics

    gradients, means, metrics = jax.vmap(of_row)(batch, keys)
    leaves, form = jax.tree.flatten(gradients)
    clipped, many = optax.per_example_global_norm_clip(leaves, clip)
    mean, metrics = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), (means, metrics))
    share = Mean(many.astype(jnp.float32), jnp.sum(means.weight > 0).astype(jnp.float32))
    return jax.tree.unflatten(form, clipped), mean, {**metrics, "clipped": share}
