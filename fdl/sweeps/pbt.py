"""Population-based training: bad arms go on from the states of good ones, with configs near theirs."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import jax
import numpy as np

from fdl.arguments import Count, Limit, NotEmpty, Positive, Share, checked
from fdl.configs import check_paths, replaced, traced_fields
from fdl.result import Better
from fdl.sweeps.distributions import Distribution
from fdl.sweeps.schedulers import LONGEST, Curves, Next, Scheduler

Half = Annotated[float, Limit(lambda share: 0 < share <= 0.5, "above 0 and at most 0.5")]


@checked
def pbt(
    *,
    metric: str,
    better: Better,
    every: Count,
    quantile: Half = 0.2,
    factors: NotEmpty[tuple[Positive[float], ...]] = (0.8, 1.2),
    resample: Share[float] = 0.25,
    population: Count | None = None,
    draw_seed: int = 0,
    **fields: Distribution,
) -> Scheduler:
    """Every so many steps each of the worst arms takes the state and the config of one of the best, and goes
    on with a config near that. Nobody leaves, and what comes out is a schedule of the fields.

    Jaderberg et al. 2017, "Population Based Training of Neural Networks", sec. 3 and 4: exploited by
    truncation selection, explored by perturbing each field or drawing it anew. Departs from it in that the
    arms of a population wait for each other, and in that each seed takes the state of the same seed: it goes
    on with its own seed's batches and random numbers, which were those of the state that it took, so that
    the two arms differ in their fields alone. A value beyond the bounds that the config declares
    (`fdl.traced(low=..., high=...)`) becomes the bound; an interval bounds only what is drawn from it.

    Args:
      metric: of validation, as `"validation/loss"`.
      better: which way it is better.
      every: updates between two rungs.
      quantile: this share of a population is replaced, each by one, drawn evenly, of as many of the best. It
        is rounded, is at least one arm and at most every second.
      factors: a field is multiplied by one of these, each as likely; each field by its own.
      resample: with this probability a field is drawn from its distribution instead, each by itself.
      population: arms that are trained together, one population after another; all if None.
      draw_seed: names the draws.
      **fields: those that are explored, traced ones, with the `uniform` or `log_uniform` that they come from;
        the others are copied.

    Raises:
      ValueError: no field, or one whose distribution is no interval.

    Example:
      >>> import fdl
      >>> drawn = {"lr": fdl.log_uniform(1e-4, 1e-1)}  # for fdl.sample(Config(), n=20, **drawn) too
      >>> fdl.pbt(metric="validation/loss", better="lower", every=50, **drawn).rungs[:3]
      range(50, 200, 50)
    """
    _check_explored(fields)
    sign = -1 if better == "higher" else 1

    def decide(curves: Curves, configs: Sequence[Any], key: jax.Array) -> list[Next]:
        order = sorted(curves.waiting, key=lambda arm: (sign * curves.values[arm, -1], arm))
        few = min(max(1, round(quantile * len(order))), len(order) // 2)
        stay, worst = order[: len(order) - few], order[len(order) - few :]
        words = np.asarray(jax.random.key_data(key)).tolist()
        going = [Next(arm) for arm in stay]
        for arm in worst:
            random = np.random.default_rng([*words, arm])
            giver = order[int(random.random() * few)]
            going.append(Next(arm, explored(configs[giver], random), giver))
        return going

    def explored(config: Any, random: np.random.Generator) -> Any:
        return replaced(config, {name: near(config, name, random.random(3)) for name in fields})

    def near(config: Any, name: str, draws: np.ndarray) -> float:
        anew, where, which = map(float, draws)
        low, high = _bounds(config, name)
        moved = getattr(config, name) * factors[int(which * len(factors))]
        return float(np.clip(fields[name].draw(where) if anew < resample else moved, low, high))

    return Scheduler(metric, better, range(every, LONGEST, every), decide, population, 0.0, draw_seed)


def _check_explored(fields: dict[str, Distribution]) -> None:
    if not fields:
        raise ValueError("pbt() has no fields to explore; name some, as lr=fdl.log_uniform(1e-4, 1e-1)")
    for name, one in fields.items():
        if not isinstance(one, Distribution) or one.values or one.condition:
            kind = "it is a choice" if isinstance(one, Distribution) else f"it is {one!r}"
            kind = "it counts only for some values of others" if getattr(one, "condition", None) else kind
            raise ValueError(f"pbt() cannot explore {name!r}: {kind}; expected fdl.uniform or log_uniform")


def _bounds(config: Any, name: str) -> tuple[float, float]:
    """Those that a config declares for a traced field; infinite where it has none.

    Raises:
      ValueError: it has no such field, or one that no factor changes.
    """
    check_paths(config, [name])
    value = getattr(config, name, None)
    if name not in traced_fields(type(config)) or not isinstance(value, float):
        raise ValueError(
            f"pbt() cannot explore {name!r}, which is {value!r}: expected a traced float, as all values of "
            "such a field share one program"
        )
    declared = {field.name: field.metadata for field in dataclasses.fields(config)}[name]
    low, high = declared.get("low"), declared.get("high")
    return -np.inf if low is None else low, np.inf if high is None else high
