"""Early stopping on a metric of an evaluation."""

from typing import Literal

import jax
import jax.numpy as jnp

from fdl.experiment import Best, Metrics, Stopper


def early_stopping(
    metric: str, *, patience: int, better: Literal["higher", "lower"] = "lower", at_least: float = 0.0
) -> Stopper:
    """Stops a run when a metric has not become better for a while; its result is the state that was best.

    Args:
      metric: by split and name, as `"validation/loss"`.
      patience: how many evaluations without an improvement are tolerated; the next one stops.
      better: which way is better.
      at_least: the smallest change that counts as an improvement, in the metric's unit.

    Raises:
      ValueError: `patience` is negative; when the run is built, there is no such metric.

    Example:
      >>> from fdl import train
      >>> stop = train.early_stopping("validation/loss", patience=3)  # the option `stop` of every task
      >>> stop.best
      Best(metric='validation/loss', better='lower')
    """
    if patience < 0:
        raise ValueError(f"patience is {patience}; expected 0 or more evaluations")
    sign = 1.0 if better == "higher" else -1.0

    def init() -> tuple[jax.Array, jax.Array]:
        return jnp.float32(-jnp.inf), jnp.int32(0)

    def update(
        state: tuple[jax.Array, jax.Array], metrics: Metrics
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        if metric not in metrics:
            raise ValueError(f"early stopping on {metric!r}; the metrics are: {', '.join(metrics)}")
        best, waited = state
        value = sign * metrics[metric]
        improved = value > best + at_least
        best, waited = jnp.where(improved, value, best), jnp.where(improved, 0, waited + 1)
        return (best, waited), waited > patience

    return Stopper(init, update, Best(metric, better))
