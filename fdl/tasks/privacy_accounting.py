"""What a run with DP-SGD tells of any one row: its epsilon, by the package `dp-accounting`."""

import functools
import math
from typing import Any

import numpy as np
from scipy import stats

from fdl.arguments import Count, InnerShare, Positive, checked

_OVERFLOW = 1e-13  # of a run's batches drawing more rows than they hold
_RESERVED = 1 / 128  # the share of delta that is kept for that


@checked
def privacy_spent(
    *,
    rows: Count,
    batch_size: Count,
    steps: Count,
    noise_multiplier: Positive[float],
    delta: InnerShare[float],
) -> float:
    """The epsilon of a run of `private_classification`: its parameters, after every step, are
    (epsilon, delta)-differentially private.

    Two data sets are neighbours if one has a row that the other lacks. The step is the Gaussian mechanism on
    a Poisson sample (Abadi et al. 2016, Deep Learning with Differential Privacy), and the steps are composed
    by privacy loss distributions (Koskela et al. 2020; Doroshenko et al. 2022), whose discretisation errs
    upwards. Of delta one part in 128 pays for batches that drew more rows than they hold.

    What it does not cover: see `docs/howto/privacy.md`.

    Args:
      rows: N, of the training part.
      batch_size: rows of a batch on average; each row joins with chance `batch_size / rows`.
      steps: updates; a run that ends before spent less.
      noise_multiplier: deviation of the noise over the clipping norm.
      delta: as 1e-5, and below 1 / N.

    Returns:
      Epsilon; infinity where nothing can be promised, as for an epsilon above about 13.

    Raises:
      ValueError: a batch of more rows than there are, or `dp-accounting` is missing.

    Example:
      >>> spent = fdl.tasks.privacy_spent(
      ...     rows=1000, batch_size=100, steps=500, noise_multiplier=2.0, delta=1e-5
      ... )
      >>> round(spent, 2)
      5.56
    """
    accounting = _accounting(rows, batch_size)
    accountant = accounting.pld.PLDAccountant()
    accountant.compose(_event(noise_multiplier, rows=rows, batch_size=batch_size, steps=steps))
    epsilon = float(accountant.get_epsilon(delta * (1 - _RESERVED)))
    # Leaving rows out changes a run with a chance of at most `lost`, with the row and without it.
    lost = overflow(rows, batch_size, steps, capacity(rows, batch_size, steps))
    covered = lost == 0 or math.log(lost) + np.logaddexp(0, epsilon) <= math.log(delta * _RESERVED)
    return epsilon if covered else math.inf


@checked
def noise_multiplier_for(
    *,
    epsilon: Positive[float],
    rows: Count,
    batch_size: Count,
    steps: Count,
    delta: InnerShare[float],
) -> float:
    """The least noise by which a run spends at most `epsilon`, to 0.001.

    Args:
      epsilon: up to 12.
      rows: see `privacy_spent`, as for those below.
      batch_size: see there.
      steps: see there.
      delta: see there.

    Raises:
      ValueError: as there, or an epsilon above 12.

    Example:
      >>> sizes = {"rows": 1000, "batch_size": 100, "steps": 500, "delta": 1e-5}
      >>> noise = fdl.tasks.noise_multiplier_for(epsilon=1.0, **sizes)
      >>> 0.99 < fdl.tasks.privacy_spent(noise_multiplier=noise, **sizes) <= 1.0
      True
    """
    if epsilon > 12:
        raise ValueError(f"epsilon is {epsilon:g}; expected at most 12: more promises next to nothing")
    accounting = _accounting(rows, batch_size)
    event = functools.partial(_event, rows=rows, batch_size=batch_size, steps=steps)
    found = accounting.calibrate_dp_mechanism(
        accounting.pld.PLDAccountant, event, epsilon, delta * (1 - _RESERVED), tol=1e-3
    )
    return float(found)


def capacity(rows: int, batch_size: int, steps: int, *, multiple: int = 1) -> int:
    """How many rows a batch must hold so that none of a run's batches is likely (1e-13) to draw more; a
    multiple of some number."""
    most = int(min(stats.binom.isf(_OVERFLOW / steps, rows, min(batch_size / rows, 1.0)), rows))
    return -(-most // multiple) * multiple


def overflow(rows: int, batch_size: int, steps: int, held: int) -> float:
    """The chance, at most, that any of `steps` batches draws more rows than it holds."""
    return float(steps * stats.binom.sf(held, rows, batch_size / rows)) if held < rows else 0.0


def _event(noise_multiplier: float, *, rows: int, batch_size: int, steps: int) -> Any:
    import dp_accounting

    sampled = dp_accounting.PoissonSampledDpEvent(
        batch_size / rows, dp_accounting.GaussianDpEvent(noise_multiplier)
    )
    return dp_accounting.SelfComposedDpEvent(sampled, steps)


def _accounting(rows: int, batch_size: int) -> Any:
    try:
        import dp_accounting
        from dp_accounting import pld  # noqa: F401 (makes dp_accounting.pld)
    except ImportError as error:
        raise ValueError(
            "what privacy is spent needs the extra 'privacy': pip install fdl[privacy]"
        ) from error
    if batch_size > rows:
        raise ValueError(f"batch_size is {batch_size}; expected at most the {rows} rows that there are")
    return dp_accounting
