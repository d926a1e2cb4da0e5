"""A chaotic time series, exactly specified."""

import numpy as np

from fdl.arguments import Count, NotNegative, checked

_STEP = 0.1  # of time


@checked
def mackey_glass(
    size: Count,
    *,
    delay: NotNegative[float] = 17.0,
    spacing: NotNegative[float] = 6.0,
    warmup: NotNegative[float] = 500.0,
) -> np.ndarray:
    """Values of Mackey and Glass's delay differential equation, chaotic for delays above 16.8.

    Mackey and Glass 1977, Oscillation and Chaos in Physiological Control Systems, with the usual constants:
    x'(t) = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x(t), and x = 1.2 up to t = 0; by Heun's method in
    steps of 0.1. No noise: a seed would change nothing.

    Args:
      size: T, values.
      delay: a multiple of 0.1, at least 0.1.
      spacing: time from one value to the next, likewise.
      warmup: time before the first value, a multiple of 0.1.

    Returns:
      float64 `[T]`, between 0.2 and 1.4 at a delay of 17.

    Raises:
      ValueError: times that are no multiples of 0.1, or too small.

    Example:
      >>> fdl.data.synthetic.mackey_glass(5, spacing=1.0, warmup=0.0).round(3).tolist()
      [1.2, 1.118, 1.043, 0.975, 0.914]
    """
    times = {"delay": delay, "spacing": spacing, "warmup": warmup}
    steps = {name: round(time / _STEP) for name, time in times.items()}
    for name, time in times.items():
        if abs(steps[name] * _STEP - time) > 1e-9 or (name != "warmup" and not steps[name]):
            raise ValueError(f"{name} is {time}; expected a multiple of 0.1, at least 0.1 but for warmup")
    lag = steps["delay"]
    x = np.full(lag + 1 + steps["warmup"] + (size - 1) * steps["spacing"], 1.2)
    for now in range(lag, len(x) - 1):
        fed, after = (0.2 * past / (1 + past**10) for past in x[now - lag : now - lag + 2])
        slope = fed - 0.1 * x[now]
        x[now + 1] = x[now] + _STEP / 2 * (slope + after - 0.1 * (x[now] + _STEP * slope))
    return x[lag + steps["warmup"] :: steps["spacing"]]
