"""Does a linear map forecast time series better than a transformer?

Zeng et al. 2023, Are Transformers Effective for Time Series Forecasting?, table 2: one linear layer from what
was seen to what comes errs less than five transformers on nine series, by 20 to 50 % in most cases. Here from
16 steps to 6: yearly sunspots and weekly CO2 (real), the Mackey-Glass equation with a delay of 17, which is
chaotic and exactly known, and a random walk, whose best forecast is its last value. The nets are a linear
map, a GRU and a transformer of each step as a token, trained by Adam; beside them are an autoregression
(statsmodels', its order by AIC) and the last value. All read and forecast differences to the last
value seen (NLinear of Zeng et al.), so that a rising level is no obstacle. What is measured is the *ratio* of
the mean squared error on the last fifth of a series to that of the last value. Each net has the best of two
learning rates by validation of 3 seeds; 8 others judge.

Against it: seeds vary the start and the order of batches alone. Each series is one, and the intervals say
nothing of others like it. Nets are small and train for 400 steps, and windows are shorter than a year of CO2.

    fdl sweep experiments/series.py
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import fdl
from fdl import data, metrics, models, tasks

SEEN, AHEAD, STEPS, RATES = 16, 6, 400, (3e-3, 1e-2)


@fdl.config
class Config:
    series: str = "sunspots"
    """sunspots, co2, mackey_glass or walk"""
    kind: str = "linear"
    """of the forecast: last, autoregression, linear, gru or transformer"""
    lr: float = fdl.traced(RATES[0], low=0.0)
    """Adam's highest learning rate, which falls to 0 as a cosine"""


@functools.cache
def windows(series: str) -> data.Splits:
    """What was seen `[N, SEEN]` and what came `[N, AHEAD]`, less the last value that was seen."""
    if series == "mackey_glass":
        splits = data.series(data.synthetic.mackey_glass(1000), length=SEEN, horizon=AHEAD)
    elif series == "walk":
        steps = np.random.default_rng(0).normal(size=1000)
        splits = data.series(np.cumsum(steps), length=SEEN, horizon=AHEAD)
    else:
        splits = {"sunspots": data.sunspots, "co2": data.co2}[series](length=SEEN, horizon=AHEAD)
    parts = [{name: rows[name][..., 0] for name in ("x", "y")} for rows in splits[:3]]
    return data.Splits(*({name: one[name] - one["x"][:, -1:] for name in ("x", "y")} for one in parts))


def autoregression(series: str) -> tuple[np.ndarray, np.ndarray]:
    """The kernel `[SEEN, AHEAD]` and the bias `[AHEAD]` of an autoregression of differences, iterated."""
    from statsmodels.tsa.ar_model import ar_select_order

    changes = np.diff(windows(series).train["x"].astype(np.float64))
    changes = np.concatenate([changes[0], changes[1:, -1]])
    constant, *weights = ar_select_order(changes, maxlag=SEEN - 1, ic="aic").model.fit().params
    made = list(np.eye(SEEN + 1))  # each value, of the SEEN and of 1
    one = made.pop()
    for _ in range(AHEAD):
        lags = [weight * (made[-1 - lag] - made[-2 - lag]) for lag, weight in enumerate(weights)]
        made.append(made[-1] + constant * one + sum(lags))
    ahead = np.stack(made[SEEN:], axis=1)
    return ahead[:SEEN], ahead[SEEN]


def net(kind: str) -> Any:
    """The net, and the shape in which it reads a window."""
    if kind == "gru":
        return models.RecurrentNet((16,), AHEAD, models.GRUCell), (SEEN, 1)
    if kind == "transformer":
        return models.vision_transformer(AHEAD, size=4, patch=1, width=16, layers=2, heads=2), (4, 4, 1)
    return models.MLP((), AHEAD), (SEEN,)


def experiment(config: Config) -> fdl.Experiment:
    model, shape = net(config.kind)
    read = lambda batch: {**batch, "x": batch["x"].reshape(-1, *shape)}  # noqa: E731
    splits = windows(config.series)._replace(prepare=read)
    optimizer = optax.adam(optax.cosine_decay_schedule(config.lr, STEPS))
    made = tasks.regression(model, splits, optimizer, steps=STEPS, batch_size=32, evaluate_every=STEPS)
    inner, predict = made.learner, made.learner.predict
    assert predict is not None

    def evaluate(state: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        y, weight = batch["y"], batch["weight"][:, None]
        errors = weight * (predict(state, batch)["prediction"].reshape(y.shape) - y) ** 2
        return {"ratio": metrics.Mean(jnp.sum(errors), jnp.sum(weight * y**2))}

    def init(key: jax.Array) -> Any:
        state, (kernel, bias) = inner.init(key), autoregression(config.series)
        kept = float(config.kind != "last")
        written = [kept * jnp.asarray(one, jnp.float32) for one in (bias, kernel)]
        return state._replace(params=jax.tree.unflatten(jax.tree.structure(state.params), written))

    learner = inner._replace(evaluate=evaluate, required=("ratio",))
    if config.kind in ("last", "autoregression"):
        learner = learner._replace(init=init, step=lambda state, batch, key: (state, {}))
    return made._replace(learner=learner)


SERIES = ("sunspots", "co2", "mackey_glass", "walk")
KINDS = ("last", "autoregression", "linear", "gru", "transformer")
SWEEP = fdl.grid(Config(), series=SERIES, kind=KINDS, lr=RATES, seeds=11)


def forecasts(result: fdl.Result, series: str, *kinds: str) -> fdl.Result:
    """Of a series the forecasts of some kinds, each net at the rate that its validation chose."""
    own = result.where(series=series, kind=list(kinds))
    return own.best("lr", by="validation/ratio", better="lower", seeds=3)


def less(result: fdl.Result, series: str, kind: str, than: str, at_least: float = 0.0) -> fdl.Verdict:
    """Whether a kind's ratio is below another's."""
    options = {"metric": "test/ratio", "arms": "kind", "baseline": than, "better": "lower"}
    return fdl.compare(forecasts(result, series, than, kind), at_least=at_least, **options).verdict


def linear_wins(key: str, series: str, named: str) -> fdl.Claim:
    return fdl.Claim(
        f"L20.{key}",
        f"Of {named} a linear map forecasts better than a transformer.",
        functools.partial(less, series=series, kind="linear", than="transformer"),
        published="of nine series and four horizons it wins in nearly all (Zeng et al. 2023, table 2)",
    )


CLAIMS = (
    linear_wins("1", "sunspots", "sunspots"),
    linear_wins("2", "co2", "CO2"),
    linear_wins("3", "mackey_glass", "a chaotic map"),
    fdl.Claim(
        "L20.4",
        "Of a chaotic map a transformer errs less than a linear map by at least 0.1 of the last value.",
        functools.partial(less, series="mackey_glass", kind="transformer", than="linear", at_least=0.1),
        control=functools.partial(less, series="walk", kind="transformer", than="linear", at_least=0.1),
    ),
    fdl.Claim(
        "L20.5",
        "Of sunspots a linear map errs less than the last value by at least a quarter of it.",
        functools.partial(less, series="sunspots", kind="linear", than="last", at_least=0.25),
        control=functools.partial(less, series="walk", kind="linear", than="last", at_least=0.25),
    ),
)


def figure(result: fdl.Result) -> Figure:
    """The ratio of each seed, by series and kind."""
    drawing = Figure(figsize=(7.2, 2.6), layout="constrained")
    for axis, series in zip(drawing.subplots(1, len(SERIES)), SERIES, strict=True):
        last = forecasts(result, series, *KINDS).last()
        for place, kind in enumerate(KINDS):
            found = last.loc[last["kind"] == kind, "test/ratio"]
            axis.plot(found, np.full(len(found), place), "o", color="#2f7fc1", alpha=0.5, markersize=4)
        axis.axvline(1, color="#808080", linestyle="--", linewidth=1)
        axis.set_yticks(range(len(KINDS)), KINDS if series == SERIES[0] else [""] * len(KINDS))
        axis.set(title=series.replace("_", "-"), xlim=(0, None), ylim=(-0.5, len(KINDS) - 0.5))
    drawing.supxlabel("mean squared error over the last value's", fontsize=9)
    return drawing
