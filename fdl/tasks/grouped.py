"""What is learned of rows that belong to groups: each group's mean loss, and the worst group's accuracy."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import losses, metrics, rng, shards
from fdl.data import Splits
from fdl.data.splits import prepared_row
from fdl.data.verified import outside, verified
from fdl.experiment import Batch, Learner
from fdl.metrics.all_rows import Of
from fdl.tasks.checks import check_labels
from fdl.tasks.columns import WEIGHT, row_weights
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.predictions import applied, one_of_classes

GROUP = "group"
"""The column of the group of each row, integers `[N]` from 0."""
COLUMNS = ("x", "y", GROUP, WEIGHT)
"""What a learner of groups reads."""
Means = Callable[[jax.Array], jax.Array]
"""`means(values)`, `[B]` to `[G]`: of each group of the whole batch, 0 where it has no row there."""
Combine = Callable[[Any, jax.Array, jax.Array, Means, Any], tuple[jax.Array, Any]]
"""`combine(params, logits, labels, means, kept) -> (loss, kept)`: a scalar to minimise, and what the learner
keeps from step to step beside the parameters."""


def check_groups(model: nn.Module, splits: Splits, groups: int) -> Splits:
    """The data set, after a look at its labels and groups. Only train needs to tell groups.

    Raises:
      ValueError: data that does not fit together or to the model, or a group that is none of 0 to groups - 1.
    """
    form = prepared_row(splits).get(GROUP)
    if form is None:
        raise ValueError(f"train has no column {GROUP!r}; expected one: integers [N] from 0 to {groups - 1}")
    if not np.issubdtype(form.dtype, np.integer) or form.shape != (1,):
        shape = ["N", *form.shape[1:]]
        raise ValueError(f"train {GROUP} is {form.dtype}{shape}; expected integers [N]: number the groups")
    why, fix = f"as groups is {groups}", "change `groups` or number them anew"
    fault = outside(GROUP, 0, groups - 1, what="groups", why=why, fix=fix)
    return verified(check_labels(model, splits), (GROUP,), fault)


def group_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    combine: Combine,
    kept: Any,
    *,
    groups: int,
    name: str,
) -> Learner:
    """The three functions; of `splits` only the shape of a row matters.

    Metrics are `loss` and `accuracy`, means over rows as of `classification`, and, in evaluations of a part
    that tells groups, `worst_group_accuracy`, the least of the groups that have rows there.

    Args:
      model: to logits `[B, C]`.
      splits: the data set.
      optimizer: any Optax transformation.
      combine: what is minimised, see `Combine`.
      kept: what it keeps, before the first step.
      groups: G.
      name: of the collection where that is kept beside the model's own.
    """
    row = prepared_row(splits)["x"]

    def init(key: jax.Array) -> Any:
        zeros = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), row)
        return {**model.init(key, zeros, train=False), name: kept}

    def objective(variables: Any, batch: Batch, key: jax.Array) -> tuple[metrics.Mean, Any]:
        own = dict(variables)
        before = own.pop(name)
        mutable = [one for one in own if one != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        logits, state = model.apply(own, batch["x"], train=True, rngs=rngs, mutable=mutable)
        weight = row_weights(batch)
        means = functools.partial(group_means, group=batch[GROUP], groups=groups, weight=weight)
        value, after = combine(own["params"], logits, batch["y"], means, before)
        # A batch of padding alone moves nothing.
        there = jnp.ones(()) if weight is None else (shards.total(jnp.sum(weight)) > 0).astype(jnp.float32)
        after = jax.tree.map(lambda new, old: jnp.where(there > 0, new, old), after, before)
        found = {one: metrics.mean(rows, weight) for one, rows in _measures(logits, batch["y"]).items()}
        return metrics.Mean(value * there, there), (found, {**state, name: jax.lax.stop_gradient(after)})

    def evaluate(variables: Any, batch: Batch, key: jax.Array) -> dict[str, Any]:
        logits, _ = model.apply(_without(variables, name), batch["x"], train=False, mutable=[])
        rows, weight = _measures(logits, batch["y"]), row_weights(batch)
        found: dict[str, Any] = {one: metrics.mean(values, weight) for one, values in rows.items()}
        if GROUP in batch:
            pair = (rows["accuracy"], batch[GROUP])
            found["worst_group_accuracy"] = metrics.all_rows(_worst(groups), pair, weight)
        return found

    def predict(variables: Any, batch: Batch) -> Mapping[str, jax.Array]:
        return applied(model, one_of_classes)(_without(variables, name), batch)

    return gradient_learner(init, objective, evaluate, optimizer, predict=predict)


def group_means(
    values: jax.Array, *, group: jax.Array, groups: int, weight: jax.Array | None = None
) -> jax.Array:
    """The mean of each group's rows in the whole batch, weighted, `[G]`; 0 where none counts.

    Args:
      values: `[B]`.
      group: integers `[B]` from 0 to G - 1.
      groups: G.
      weight: what each row counts, `[B]`; 1 if None.
    """
    weight = jnp.ones(len(values)) if weight is None else weight
    member = (group[:, None] == jnp.arange(groups)) * weight[:, None]
    # What a row of weight 0 says is not looked at: it may be no number.
    sums = jnp.sum(jnp.where(member > 0, member * values[:, None], 0), axis=0)
    sums, counts = shards.total((sums, jnp.sum(member, axis=0)))
    return sums / jnp.where(counts > 0, counts, 1)


@functools.cache
def _worst(groups: int) -> Of:
    """For `metrics.all_rows`, the least of the groups' means; the same function for the same number."""

    def worst(rows: tuple[jax.Array, jax.Array], weight: jax.Array) -> jax.Array:
        values, group = rows
        member = (group[:, None] == jnp.arange(groups)) * weight[:, None]
        counts = jnp.sum(member, axis=0)
        means = jnp.sum(member * values[:, None], axis=0) / jnp.where(counts > 0, counts, 1)
        least = jnp.min(jnp.where(counts > 0, means, jnp.inf))
        return jnp.where(jnp.any(counts > 0), least, jnp.nan)

    return worst


def _measures(logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    return {"loss": losses.cross_entropy(logits, labels), "accuracy": metrics.accuracy(logits, labels)}


def _without(variables: Any, name: str) -> dict[str, Any]:
    return {one: held for one, held in variables.items() if one != name}
