"""Sharpness-aware minimisation: the gradient is taken where the loss is worst nearby."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fdl.arguments import NotNegative, checked


@checked
def sharpness_aware(
    optimizer: optax.GradientTransformation, *, radius: NotNegative[float | jax.Array] = 0.05
) -> optax.GradientTransformationExtraArgs:
    """`optimizer`, fed with the gradient at the worst point of a small ball around the parameters.

    Foret et al. 2021, Sharpness-Aware Minimization for Efficiently Improving Generalization, eq. 2 and
    algorithm 1: the worst point is, to first order, `params + radius * g / |g|`. It is Optax's
    `contrib.sam` with one inner step, where a gradient of zero moves nothing instead of giving NaN, so
    a step costs two gradients, both on the same batch.

    `update` needs `grad_fn(params, index) -> gradient`, the same batch's at other parameters.

    Args:
      optimizer: what makes the step from the gradient.
      radius: ρ, in the parameters' unit, over all of them together; it may be traced.

    Example:
      >>> import optax
      >>> optimizer, loss = fdl.optim.sharpness_aware(optax.sgd(0.1), radius=0.1), lambda w: w**2
      >>> w, gradient = jnp.array(1.0), jax.grad(loss)
      >>> updates, _ = optimizer.update(gradient(w), optimizer.init(w), w, grad_fn=lambda w, _: gradient(w))
      >>> round(float(updates), 3)  # -0.1 * 2 * 1.1, the gradient at 1.1
      -0.22
    """

    def unit(gradient: Any, params: Any) -> Any:
        del params
        length = optax.tree.norm(gradient)
        return jax.tree.map(lambda leaf: leaf / jnp.where(length > 0, length, 1), gradient)

    # Optax turns the sign of the inner step round: it ascends.
    ascent = optax.chain(optax.stateless(unit), optax.scale_by_learning_rate(radius))
    both = optax.contrib.sam(optimizer, ascent, opaque_mode=True)

    def update(
        updates: Any, state: Any, params: Any = None, *, grad_fn: Any = None, **more: Any
    ) -> tuple[Any, Any]:
        del more  # Optax's takes no others, such as the `key` that a learner gives
        return both.update(updates, state, params, grad_fn=grad_fn)

    return optax.GradientTransformationExtraArgs(both.init, update)
