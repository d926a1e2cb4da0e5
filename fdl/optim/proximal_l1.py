"""The proximal step of an L1 penalty: weights become exactly zero."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fdl.arguments import NotNegative, checked
from fdl.optim.paths import map_kernels


@checked
def proximal_l1(
    factor: NotNegative[float | jax.Array], *, learning_rate: optax.ScalarOrSchedule
) -> optax.GradientTransformation:
    """Pulls the weights towards zero by `learning_rate * factor` after the update, and not beyond it.

    Daubechies et al. 2004, An Iterative Thresholding Algorithm for Linear Inverse Problems with a
    Sparsity Constraint: with plain gradient descent this is proximal gradient (ISTA) on the loss plus
    `factor` times the sum of |w|, which a subgradient's sign does not bring to zero. It must come
    last: `optax.chain(optax.sgd(rate), proximal_l1(0.01, learning_rate=rate))`.

    Weights are the leaves named `kernel`, as for `fdl.losses.l1`.

    Args:
      factor: of the penalty; it may be traced.
      learning_rate: the optimizer's own, a number or a schedule.

    Example:
      >>> shrink = fdl.optim.proximal_l1(1.0, learning_rate=0.5)
      >>> params = {"kernel": jnp.array([[0.25, 2.0]])}
      >>> updates, _ = shrink.update({"kernel": jnp.zeros((1, 2))}, shrink.init(params), params)
      >>> (params["kernel"] + updates["kernel"]).tolist()
      [[0.0, 1.5]]
    """

    def init(params: Any) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(
        updates: Any, state: optax.ScaleByScheduleState, params: Any = None
    ) -> tuple[Any, optax.ScaleByScheduleState]:
        if params is None:
            raise ValueError("proximal_l1 got no parameters; call update(updates, state, params)")
        rate = jnp.asarray(learning_rate(state.count) if callable(learning_rate) else learning_rate)

        def shrink(change: jax.Array, param: jax.Array) -> jax.Array:
            new = param + change
            return jnp.sign(new) * jnp.maximum(jnp.abs(new) - rate * factor, 0) - param

        count = optax.safe_increment(state.count)
        return map_kernels(shrink, updates, params), optax.ScaleByScheduleState(count=count)

    return optax.GradientTransformation(init, update)
