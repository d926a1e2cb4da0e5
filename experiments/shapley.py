"""Do Shapley values and LIME open the black box?

Lundberg and Lee 2017, A Unified Approach to Interpreting Model Predictions: of all ways to add an output up
from its features, only Shapley's has three properties that one would ask for; sampled coalitions come near
it. Ribeiro et al. 2016, "Why Should I Trust You?", sec. 3: a linear model near a row explains it. Against
both: Visani et al. 2022, Statistical Stability Indices for LIME: another draw, another explanation; Krishna
et al. 2022, The Disagreement Problem: methods name different features; Slack et al. 2020, Fooling LIME and
SHAP (not tried here). That values add up does not say that they are what a reader takes them for.

A linear net and a perceptron learn the progression of diabetes from ten measurements. Of 12 patients for test
the exact values of all 1,024 coalitions, 20 patients for training standing for what is not known, are
compared with estimates of 110 outputs each. "Exact" is so far as float32 tells: errors are shares of the mean
size of a value.

    fdl sweep experiments/shapley.py

67 s of CPU time.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

import fdl
from fdl import analysis, data, metrics, models, rng, stats, tasks

ESTIMATES = {
    "kernel": functools.partial(analysis.kernel_shapley, pairs=54),
    "permutation": functools.partial(analysis.permutation_shapley, permutations=5),
    "lime": functools.partial(analysis.lime, samples=110),
    "lime_many": functools.partial(analysis.lime, samples=1100),
}
"""110 outputs of each row and background row, but the last, which has ten times as many."""


@fdl.config
class Config:
    widths: tuple[int, ...] = (32, 32)
    """hidden layers; none: the model is linear"""
    lr: float = fdl.traced(3e-3, low=0.0)
    """Adam's learning rate"""


def experiment(config: Config) -> fdl.Experiment:
    splits = data.diabetes()
    model = models.MLP(config.widths, 1)
    made = tasks.regression(model, splits, optax.adam(config.lr), steps=300)
    explained = data.sequential({"x": splits.test["x"][:12]}, batch_size=12)

    def evaluate(state: tasks.State, batch: Any, key: jax.Array) -> dict[str, Any]:
        if "y" in batch:
            return dict(made.learner.evaluate(state, batch, key))
        rows = jax.random.choice(rng.stream(key, "background"), jnp.asarray(splits.train["x"]), (20,), False)
        return judged(model, {"params": state.params}, batch["x"], rows, key)

    return made._replace(
        learner=made.learner._replace(evaluate=evaluate),
        evaluation={**made.evaluation, "explained": explained},
    )


def judged(model: Any, variables: Any, x: jax.Array, background: jax.Array, key: jax.Array) -> dict[str, Any]:
    """What is true of the exact values, and how far the estimates are from these and from themselves."""
    target = jnp.zeros(len(x), jnp.int32)
    given = (model.apply, variables, x, target, background)
    exact = analysis.exact_shapley(*given)
    total = model.apply(variables, x)[:, 0] - jnp.mean(model.apply(variables, background))
    slopes = analysis.gradient(model.apply, variables, x, target)
    size = jnp.mean(jnp.abs(exact))
    found = {
        "additivity_error": jnp.abs(exact.sum(1) - total) / size,
        "closed_form_error": jnp.max(jnp.abs(exact - slopes * (x - jnp.mean(background, 0))), 1) / size,
    }
    for name, estimate in ESTIMATES.items():
        one, other = (estimate(*given, rng.stream(key, draw)) for draw in ("one", "other"))
        found[f"{name}_agrees"] = analysis.rank_agreement(one, exact)
        found[f"{name}_stable"] = analysis.top_agreement(one, other, top=3)
    return {name: metrics.mean(each) for name, each in found.items()}


SWEEP = fdl.grid(Config(), widths=((), (32, 32)), seeds=20)


def at_most(result: fdl.Result, metric: str, bound: float) -> fdl.Verdict:
    """Whether no seed's error is above a bound: counted out, not tested."""
    largest = result.last()[f"explained/{metric}"].max()
    told = f"the largest {metric} of any seed is {largest:.1e}."
    return fdl.Verdict("SUPPORTED" if largest <= bound else "REFUTED", told, f"at most {bound:.0e}", ())


def exact(result: fdl.Result) -> fdl.Verdict:
    linear = result.where(widths=())
    return fdl.all_of(at_most(result, "additivity_error", 1e-4), at_most(linear, "closed_form_error", 1e-4))


def near(result: fdl.Result, *estimates: str) -> fdl.Verdict:
    """Whether estimates rank a perceptron's features as the exact values do, in most nets."""
    arms = {name: f"explained/{name}_agrees" for name in estimates}
    each = stats.metrics_as_arms(result.where(widths=(32, 32)), arms)
    return fdl.compare_rates(
        each, metric="measure/value", threshold=0.95, at_least=0.8, arms="measure"
    ).verdict


def stabler(result: fdl.Result, estimate: str) -> fdl.Verdict:
    """Whether permutations name the same three features again more often than an estimate does."""
    arms = {name: f"explained/{name}_stable" for name in (estimate, "permutation")}
    two = stats.metrics_as_arms(result.where(widths=(32, 32)), arms)
    return fdl.compare(two, metric="measure/value", arms="measure", baseline=estimate, at_least=0.1).verdict


CLAIMS = (
    fdl.Claim(
        "U4.4",
        "Exact values add up to the output, and of a linear model are its coefficient times the difference.",
        exact,
        control=lambda result: at_most(result.where(widths=(32, 32)), "closed_form_error", 1e-4),
        published="additivity and the linear form (Lundberg and Lee 2017, eq. 1 and 8)",
    ),
    fdl.Claim(
        "U4.5",
        "From 110 outputs kernel and permutations rank features as exact values do, by 0.95 in most nets.",
        lambda result: near(result, "kernel", "permutation"),
        control=lambda result: near(result, "lime"),
    ),
    fdl.Claim(
        "U4.6",
        "From 110 outputs, LIME twice has 0.1 less of three features in common than permutations twice.",
        lambda result: stabler(result, "lime"),
        control=lambda result: stabler(result, "lime_many"),
    ),
)
