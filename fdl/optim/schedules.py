"""Learning-rate schedules whose values may be traced."""

import jax
import optax

from fdl.arguments import Count, NotNegative, checked


@checked
def warmup_cosine(
    peak: NotNegative[float | jax.Array], *, steps: Count, warmup: NotNegative[int]
) -> optax.Schedule:
    """A learning rate that rises linearly from 0 to `peak`, then falls as half a cosine to 0.

    Optax's `warmup_cosine_decay_schedule` with both ends at 0, except that `peak` may be traced
    (Optax's compares it with 0 in Python). Loshchilov & Hutter 2017, SGDR, eq. 5, without
    restarts; warm-up as in Goyal et al. 2017, Accurate, Large Minibatch SGD, sec. 2.2.

    Args:
      peak: the learning rate at step `warmup`.
      steps: the step at which the rate is 0 again; warm-up included.
      warmup: steps of rise; 0 starts at the peak.

    Raises:
      ValueError: `warmup` is not in 0 to steps - 1.

    Example:
      >>> schedule = fdl.optim.warmup_cosine(0.1, steps=100, warmup=10)
      >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 100)]
      [0.0, 0.05, 0.1, 0.0]
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup is {warmup}, steps {steps}; expected 0 <= warmup < steps")
    fall = optax.cosine_decay_schedule(peak, steps - warmup)
    if warmup == 0:
        return fall
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), fall], [warmup])
