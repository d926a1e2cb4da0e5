"""Group DRO and invariant risk minimisation against their papers' formulas, written out group by group."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import tasks
from tests.parallel.task_driver import GROUPED, MLP, X, Y, splits
from tests.train.test_run import same

KEY = jax.random.key(0)
GROUP = GROUPED.train["group"]
RATE = 0.1


def model_loss(params: Any, rows: np.ndarray, scale: Any = 1.0) -> jax.Array:
    """The mean cross-entropy of some rows, by a formula of its own."""
    logits: Any = MLP.apply({"params": params}, X[rows], train=True)
    chance = jax.nn.log_softmax(scale * logits)
    return -jnp.mean(chance[jnp.arange(int(rows.sum())), Y[rows]])


def close(ours: Any, theirs: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, theirs)


@pytest.mark.medium
def test_group_dro_is_the_paper_s_algorithm():
    """Sagawa et al. 2020, algorithm 1, with the losses of all groups in a batch; the third group has no row
    in the second batch, and counts with a loss of 0 there, as in their program."""
    group, step_size = np.array([0, 0, 0, 1, 1, 2, 2, 2]), 0.7
    learner = tasks.group_dro_learner(MLP, GROUPED, optax.sgd(RATE), groups=3, step_size=step_size)
    state = learner.init(KEY)
    params, q = state.params, np.ones(3) / 3
    for there in (np.ones(8, bool), group < 2):
        batch = {"x": X, "y": Y, "group": group, "weight": there.astype(np.float32)}
        state, _ = jax.jit(learner.step)(state, batch, KEY)
        groups = [there & (group == one) for one in range(3) if (there & (group == one)).any()]
        each = np.array([model_loss(params, rows) for rows in groups] + [0.0] * (3 - len(groups)))
        q = q * np.exp(step_size * each)
        q /= q.sum()

        def weighed(params: Any, groups: Any = groups, q: Any = q) -> jax.Array:
            return sum(share * model_loss(params, rows) for share, rows in zip(q, groups, strict=False))  # pyright: ignore[reportReturnType]

        params = jax.tree.map(lambda a, b: a - RATE * b, params, jax.grad(weighed)(params))
        close(state.params, params)
        np.testing.assert_allclose(np.exp(state.model_state["group_dro"]), q, rtol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize(("penalty", "factors"), [(50.0, (1.0, 50.0)), (0.25, (1.0, 0.25))])
def test_invariant_risk_is_the_paper_s_penalty(penalty, factors):
    """Arjovsky et al. 2019, appendix D: the derivative by a factor of the logits, by JAX."""
    learner = tasks.invariant_risk_learner(
        MLP, GROUPED, optax.sgd(RATE), groups=2, penalty=penalty, anneal=1, l2=0.1
    )
    state = learner.init(KEY)
    params = state.params
    for factor in factors:
        state, _ = jax.jit(learner.step)(state, GROUPED.train, KEY)

        def risk(params: Any, factor: float = factor) -> jax.Array:
            environments = [one == GROUP for one in range(2)]
            kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
            total = jnp.sum(jnp.stack([0.05 * jnp.sum(kernel**2) for kernel in kernels]))
            for rows in environments:
                slope = jax.grad(lambda scale, rows=rows: model_loss(params, rows, scale))(1.0)
                total += (model_loss(params, rows) + factor * slope**2) / 2
            return total / max(factor, 1.0)

        params = jax.tree.map(lambda a, b: a - RATE * b, params, jax.grad(risk)(params))
        close(state.params, params)


@pytest.mark.medium
@pytest.mark.parametrize("task", [tasks.group_dro, tasks.invariant_risk])
def test_the_worst_group_is_that_of_those_which_have_rows(task):
    more = {"penalty": 1.0} if task is tasks.invariant_risk else {}
    experiment = task(MLP, GROUPED, optax.sgd(RATE), groups=5, steps=1, **more)
    state = experiment.learner.init(KEY)
    right = np.isin(np.arange(8), (3, 4), invert=True)
    said = np.argmax(np.asarray(MLP.apply({"params": state.params}, X)), axis=1)
    y = np.where(right, said, (said + 1) % 3)
    group = np.array([0, 0, 3, 3, 3, 4, 4, 4])
    weight = np.array([1, 1, 1, 1, 0, 1, 1, 1], np.float32)
    batch = {"x": X, "y": y, "group": group, "weight": weight}
    found = jax.jit(experiment.learner.evaluate)(state, batch, KEY)
    assert found["worst_group_accuracy"].value == pytest.approx(1 / 2), "of group 3, whose third row counts 0"
    assert found["accuracy"].value == pytest.approx(6 / 7)
    without = {name: rows for name, rows in batch.items() if name != "group"}
    assert sorted(experiment.learner.evaluate(state, without, KEY)) == ["accuracy", "loss"]


@pytest.mark.medium
def test_a_batch_of_padding_moves_nothing():
    for learner in (
        tasks.group_dro_learner(MLP, GROUPED, optax.sgd(RATE), groups=2, l2=0.1),
        tasks.invariant_risk_learner(MLP, GROUPED, optax.sgd(RATE), groups=2, penalty=2.0, l2=0.1),
    ):
        state = learner.init(KEY)
        after, metrics = learner.step(state, {**GROUPED.train, "weight": np.zeros(8, np.float32)}, KEY)
        same(after, state)
        assert metrics["loss"].weight == 0


@pytest.mark.parametrize(
    ("part", "groups", "said"),
    [
        ({}, 2, "train has no column 'group'; expected one: integers"),
        ({"group": GROUP.astype(np.float32)}, 2, r"train group is float32\['N'\]; expected integers"),
        ({"group": GROUP[:, None]}, 2, r"train group is int32\['N', 1\]; expected integers"),
        ({"group": GROUP}, 1, "row 5 has 1"),
    ],
)
def test_groups_that_are_none_are_refused(part, groups, said):
    given = splits(x=X, y=Y, **part)
    for make in (
        lambda: tasks.group_dro(MLP, given, optax.sgd(RATE), groups=groups, steps=1),
        lambda: tasks.invariant_risk(MLP, given, optax.sgd(RATE), groups=groups, penalty=1.0, steps=1),
    ):
        with pytest.raises(ValueError, match=said) as error:
            make()
        assert "\n" not in str(error.value)
