"""What does it cost to err as often about people with a physical limitation as about others?

Hardt, Price and Srebro 2016, Equality of Opportunity in Supervised Learning: thresholds by group make true
and false positive rates equal (equalised odds); on FICO scores the best such rule keeps 80.2 % of the profit
(sec. 6). Kamiran and Calders 2012, Data Preprocessing Techniques for Classification without Discrimination:
weights of the training's rows, under which the label says nothing of the group. Against both: where base
rates differ a rule that is equally right in all groups is not calibrated in each (Kleinberg et al. 2017), and
thresholds by group must look at the group, which the law may forbid.

The RAND Health Insurance Experiment (Deb and Trivedi 2002), 20,190 years of people's care, in the public
domain, comes with statsmodels. Who sees a doctor three times or more in a year is predicted, 51 % of those
with a limitation and 34 % of the others; rows whose limitation was imputed are left out. People are in it
for several years, so that train and test share some: these accuracies are no forecast for new people.

    fdl sweep experiments/fairness.py

Each method at the best of three learning rates by the loss on validation, where thresholds are fitted too: 4
seeds choose, 8 others judge. All have one split: intervals are of training, not of other people. 56 s
of CPU time.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fdl
from fdl import data, metrics, models, tasks

VISITS, STEPS, MODEL = 3, 600, models.MLP((32,), 2)


def plain() -> None:
    """Training as usual; a yes from one half on."""


def reweighed() -> None:
    """Rows weighted so that the label says nothing of the group."""


def group_dro() -> None:
    """The worst of the four groups of limitation and label."""


def thresholds() -> None:
    """Training as usual, then thresholds by group."""


def thresholds_at_random() -> None:
    """The control: thresholds for two groups that were drawn."""


@fdl.config
class Config:
    method: Callable = plain
    """what is done for equal rates"""
    lr: float = fdl.traced(3e-3, low=0.0)
    """Adam's learning rate"""


@functools.cache
def table() -> data.Splits:
    """Features, whether there were so many visits, and the group, no feature: 1 has a limitation."""
    import statsmodels.api as sm

    rows = sm.datasets.randhie.load_pandas().data
    rows = rows[rows["physlm"].isin((0, 1))]
    y = (rows.pop("mdvis") >= VISITS).to_numpy(np.int32)
    group, x = rows.pop("physlm").to_numpy(np.int32), rows.to_numpy(np.float32)
    cuts = data.split_rows(y, len(y))
    x = (x - x[cuts[0]].mean(0)) / x[cuts[0]].std(0)
    train, validation, test = ({"x": x[cut], "y": y[cut], "group": group[cut]} for cut in cuts)
    return data.Splits(train, validation, test)


def gaps(rows: tuple[jax.Array, ...], weight: jax.Array, *, odds: bool) -> jax.Array:
    """The largest difference between the groups of the rates of yes: by label, or of all rows."""
    yes, y, group = rows

    def rate(of: jax.Array) -> jax.Array:
        return jnp.sum(of * weight * yes) / jnp.sum(of * weight)

    sides = [y == 0, y == 1] if odds else [jnp.ones_like(y)]
    return jnp.max(jnp.stack([abs(rate(one * (group == 1)) - rate(one * (group == 0))) for one in sides]))


GAPS = {"odds_gap": functools.partial(gaps, odds=True), "parity_gap": functools.partial(gaps, odds=False)}


def experiment(config: Config) -> fdl.Experiment:
    splits, method = table(), config.method
    train = splits.train
    options: Any = {"steps": STEPS, "evaluate_every": STEPS, "batch_size": 256}
    if method is group_dro:
        given = {**train, "group": 2 * train["y"] + train["group"]}
        part = data.Splits(given, splits.validation, splits.test)
        made = tasks.group_dro(MODEL, part, optax.adam(config.lr), groups=4, **options)
    else:
        given = {"x": train["x"], "y": train["y"]}
        if method is reweighed:
            given["sample_weight"] = np.float32(data.reweighed(train["y"], train["group"]))
        made = tasks.classification(MODEL, splits._replace(train=given), optax.adam(config.lr), **options)
    said = made.learner.predict
    assert said is not None
    seen = splits.validation
    fitted = seen["group"]
    if method is thresholds_at_random:
        fitted = np.random.default_rng(0).permutation(fitted)

    def chance(state: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
        """That of class 1, and that of a yes."""
        score = said(state, batch)["probability"][:, 1]
        if method not in (thresholds, thresholds_at_random):
            return score, (score >= 0.5).astype(jnp.float32)
        known = said(state, seen)["probability"][:, 1]
        rule = tasks.equalised_odds(known, seen["y"], jnp.asarray(fitted), count=2, grid=201)
        return score, tasks.chance_of_yes(rule, score, batch["group"])

    def evaluate(state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
        y, weight = batch["y"], batch["weight"]
        score, yes = chance(state, batch)
        loss = -jnp.log(jnp.where(y == 1, score, 1 - score))
        found: dict[str, Any] = {
            "loss": metrics.mean(loss, weight),
            "accuracy": metrics.mean(jnp.where(y == 1, yes, 1 - yes), weight),
        }
        return found | {
            name: metrics.all_rows(of, (yes, y, batch["group"]), weight) for name, of in GAPS.items()
        }

    whole = {"validation": splits.validation, "test": splits.test}
    evaluation = {name: data.sequential(part, batch_size=2000) for name, part in whole.items()}
    return made._replace(learner=made.learner._replace(evaluate=evaluate), evaluation=evaluation)


METHODS = (plain, reweighed, group_dro, thresholds, thresholds_at_random)
SWEEP = fdl.grid(Config(), method=METHODS, lr=(1e-3, 3e-3, 1e-2), seeds=12)


def fairer(result: fdl.Result, method: Callable) -> fdl.Verdict:
    """Whether a method lowers the difference between the groups' rates by a tenth."""
    two = result.where(method=[plain, method]).best("lr", by="validation/loss", better="lower", seeds=4)
    return fdl.compare(
        two, metric="test/odds_gap", arms="method", baseline=plain, better="lower", at_least=0.1
    ).verdict


def price(result: fdl.Result, method: Callable) -> fdl.Verdict:
    two = result.where(method=[plain, method]).best("lr", by="validation/loss", better="lower", seeds=4)
    return fdl.compare(two, metric="test/accuracy", arms="method", baseline=method, at_least=0.01).verdict


CLAIMS = (
    fdl.Claim(
        "R1.1",
        "Thresholds by group lower the largest difference of true or false positive rates by 0.1.",
        functools.partial(fairer, method=thresholds),
        control=functools.partial(fairer, method=thresholds_at_random),
    ),
    fdl.Claim(
        "R1.2",
        "They cost at least 1 point of accuracy.",
        functools.partial(price, method=thresholds),
        published="80.2 % of the profit is left, FICO scores (Hardt et al. 2016, sec. 6)",
    ),
    fdl.Claim(
        "R1.3",
        "Reweighing, which does not look at the group when it decides, lowers the difference by 0.1 too.",
        functools.partial(fairer, method=reweighed),
    ),
)
