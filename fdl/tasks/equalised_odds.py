"""Equalised odds after training: thresholds by group, by which errors come as often in one as in another."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked


class OddsRule(NamedTuple):
    """When a row gets a yes, by its group g.

    It gets one of two thresholds by chance, or, more rarely, a yes that does not look at its score.

    Attributes:
      low: a threshold, `[G]`: scores of at least this get a yes.
      high: another, `[G]`, at least `low`; infinity gives none.
      share: the chance that `high` decides, and not `low`, `[G]`.
      blind: the chance that neither does, `[G]`.
      yes: the chance of a yes then, a scalar: the false positive rate of every group.

    Example:
      >>> from fdl import tasks
      >>> tasks.OddsRule(*jnp.array([[0.25], [0.75], [0.5], [0.0]]), yes=jnp.array(0.1)).high.tolist()
      [0.75]
    """

    low: jax.Array
    high: jax.Array
    share: jax.Array
    blind: jax.Array
    yes: jax.Array


@checked
def equalised_odds(
    scores: jax.Array,
    labels: jax.Array,
    groups: jax.Array,
    *,
    count: Count,
    thresholds: Count = 50,
    grid: Count = 1001,
) -> OddsRule:
    """The rule of the most right rows of those with equal true and equal false positive rates in all groups.

    Hardt, Price and Srebro 2016, Equality of Opportunity in Supervised Learning, sec. 3.2: a group can have
    any point between the diagonal and the upper hull of its ROC curve. What is chosen is the best point that
    all groups can have. Rates are equal on the rows that are given, about equal on others: give rows that the
    net was not trained on, as those of validation. It needs each row's group when it decides.

    Equal rates are paid by the group that is read best: it gets no better rule than the worst can have.

    Args:
      scores: higher for a yes, `[N]`.
      labels: 0 or 1, `[N]`.
      groups: integers from 0 to `count` - 1, `[N]`; each needs rows of both labels, or all is NaN.
      count: G, how many groups there are.
      thresholds: how many are tried, at quantiles of all scores.
      grid: how many false positive rates are tried, from 0 to 1.

    Example:
      >>> from fdl import tasks
      >>> scores = jnp.array([0.1, 0.6, 0.4, 0.9, 0.2, 0.3, 0.7, 0.8])
      >>> labels, groups = jnp.array([0, 1, 0, 1, 0, 0, 1, 1]), jnp.array([0, 0, 0, 0, 1, 1, 1, 1])
      >>> rule = tasks.equalised_odds(scores, labels, groups, count=2)
      >>> tasks.chance_of_yes(rule, scores, groups).round().astype(int).tolist()
      [0, 1, 0, 1, 0, 0, 1, 1]
    """
    at = jnp.append(jnp.quantile(scores, jnp.linspace(0, 1, thresholds)), jnp.inf)
    said = (scores[:, None] >= at).astype(jnp.float32)  # [N, T], from all to none

    def rates(label: int) -> jax.Array:
        of = ((groups[:, None] == jnp.arange(count)) & (labels == label)[:, None]).astype(jnp.float32)
        return (of.T @ said) / jnp.sum(of, axis=0)[:, None]  # [G, T]

    false, true = rates(0), rates(1)
    places = jnp.linspace(0, 1, grid)
    found = jax.lax.map(lambda place: _on_hull(false, true, place), places)
    reached = jnp.min(found[0], axis=1)
    positive = jnp.mean(labels.astype(jnp.float32))
    best = jnp.argmax(positive * reached - (1 - positive) * places)
    height, low, high, share = (one[best] for one in found)
    yes = places[best]
    room = height - yes  # above the diagonal, where a rule does not look at the score
    blind = jnp.where(room > 0, (height - reached[best]) / jnp.where(room > 0, room, 1), 0.0)
    # A group without a rate has made `best` arbitrary.
    known = jnp.where(jnp.all(jnp.isfinite(false)) & jnp.all(jnp.isfinite(true)), 1.0, jnp.nan)
    return OddsRule(at[low] * known, at[high] * known, share * known, blind * known, yes * known)


@checked
def chance_of_yes(rule: OddsRule, scores: jax.Array, groups: jax.Array) -> jax.Array:
    """The chance that each row gets a yes, `[N]`: draw by it, or take it for the mean of many draws.

    Args:
      rule: of `equalised_odds`.
      scores: `[N]`.
      groups: integers `[N]`.

    Example:
      >>> from fdl import tasks
      >>> rule = tasks.OddsRule(*jnp.array([[0.2], [0.8], [0.25], [0.0]]), yes=jnp.array(0.1))
      >>> tasks.chance_of_yes(rule, jnp.array([0.1, 0.5, 0.9]), jnp.zeros(3, int)).tolist()
      [0.0, 0.75, 1.0]
    """
    low, high, share, blind = (one[groups] for one in rule[:4])
    seen = (1 - share) * (scores >= low) + share * (scores >= high)
    return (1 - blind) * seen + blind * rule.yes


def _on_hull(false: jax.Array, true: jax.Array, place: jax.Array) -> tuple[jax.Array, ...]:
    """The highest point of each group's hull at a false positive rate: its true positive rate, the places of
    the two thresholds that it lies between, and the second one's share, each `[G]`."""
    left, right = (
        false[:, None, :],
        false[:, :, None],
    )  # [G, low, high]: a lower threshold says yes more often
    width = right - left
    share = jnp.where(width > 0, (right - place) / jnp.where(width > 0, width, 1), 0.0)
    heights = (1 - share) * true[:, :, None] + share * true[:, None, :]
    heights = jnp.where((left <= place) & (place <= right), heights, -jnp.inf)
    flat = heights.reshape(len(false), -1)
    best = jnp.argmax(flat, axis=1)
    low, high = jnp.divmod(best, false.shape[1])
    pick = lambda array: jnp.take_along_axis(array.reshape(len(false), -1), best[:, None], axis=1)[:, 0]  # noqa: E731
    return pick(flat), low, high, pick(share)
