"""Distillation: PyTorch's divergence, a teacher that stays as it is, and a student that becomes like it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import tasks
from fdl.data import digits
from fdl.models import MLP, batch_norm
from fdl.tasks.distillation import distillation, softened_divergence
from fdl.tasks.gradient import variables
from tests.tasks.test_supervised import batch_of, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling

DIGITS = digits()
TEACHER, STUDENT = MLP((128,), 10, norm=batch_norm), MLP((6,), 10)
RNG = np.random.default_rng(0)


@functools.cache
def taught():
    """The variables of a teacher, trained in a second."""
    return variables(trained(tasks.classification(TEACHER, DIGITS, optax.adam(5e-3), steps=1), 150))


def task(model=STUDENT, optimizer=None, **options: Any):
    optimizer = optax.adam(1e-2) if optimizer is None else optimizer
    options = {"steps": 10} | options
    return distillation(model, TEACHER, taught(), DIGITS, optimizer, **options)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_divergence_and_its_gradient_are_torchs(temperature):
    torch = pytest.importorskip("torch", reason="PyTorch is missing: the reference")
    logits, teacher = (jnp.asarray(RNG.normal(size=(9, 5), scale=3), jnp.float32) for _ in range(2))
    theirs = torch.tensor(np.asarray(logits), requires_grad=True)
    rows = torch.nn.KLDivLoss(reduction="none", log_target=True)(
        torch.log_softmax(theirs / temperature, -1),
        torch.log_softmax(torch.tensor(np.asarray(teacher)) / temperature, -1),
    ).sum(-1)
    rows.mean().backward()
    run = jax.jit(lambda x: softened_divergence(x, teacher, temperature=temperature))
    np.testing.assert_allclose(run(logits), rows.detach().numpy(), rtol=1e-4, atol=1e-6)
    gradient = jax.grad(lambda x: jnp.mean(run(x)))(logits)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_a_step_minimises_the_mixture_and_leaves_the_teacher():
    learner, source = task(optimizer=optax.sgd(1.0), temperature=3.0, share=0.7)[:2]
    state, batch = jax.jit(learner.init)(jax.random.key(0)), batch_of(source)
    logits: Any = TEACHER.apply(taught(), batch["x"])

    def loss(params):
        said: Any = STUDENT.apply({"params": params}, batch["x"])
        hard = optax.softmax_cross_entropy_with_integer_labels(said, batch["y"])
        true = jax.nn.softmax(logits / 3)
        soft = jnp.sum(true * (jnp.log(true) - jax.nn.log_softmax(said / 3)), axis=-1)
        return jnp.mean(0.3 * hard + 0.7 * 9 * soft)

    after, _ = jax.jit(learner.step)(state, batch, jax.random.key(1))
    wanted = jax.tree.map(lambda p, g: p - g, state.params, jax.jit(jax.grad(loss))(state.params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), after.params, wanted)
    jax.tree.map(np.testing.assert_array_equal, after.model_state["teacher"], dict(taught()))


def test_without_a_share_it_is_classification():
    alone = tasks.classification(STUDENT, DIGITS, optax.sgd(0.1), steps=10)
    ours = task(optimizer=optax.sgd(0.1), share=0.0)
    a, b = (trained(experiment, 5).params for experiment in (alone, ours))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


def test_temperature_and_share_may_be_traced_and_vmapped():
    batch = batch_of(task().train)

    def run(temperature, share):
        learner = task(temperature=temperature, share=share).learner
        state = learner.init(jax.random.key(0))
        return learner.step(state, batch, jax.random.key(1))[0].params

    together = jax.jit(jax.vmap(run))(jnp.array([2.0, 5.0]), jnp.array([0.2, 1.0]))
    alone = jax.jit(lambda: run(5.0, 1.0))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5), together, alone)


def test_the_teachers_own_copy_agrees_with_it():
    same = task(model=TEACHER)
    state = jax.jit(same.learner.init)(jax.random.key(0))
    got = evaluated(same, state, "test")
    assert got["agreement"] < 0.5 and got["divergence"] > 0.1
    model_state = {"batch_stats": taught()["batch_stats"], "teacher": taught()}
    copied = state._replace(params=taught()["params"], model_state=model_state)
    got = evaluated(same, copied, "test")
    assert got["agreement"] == 1.0 and abs(got["divergence"]) < 1e-6


def test_a_small_student_becomes_more_like_its_teacher_than_without_it():
    closer = []
    for seed in range(3):
        with_it, without = (
            evaluated(one, trained(one, 400, seed), "test")
            for one in (task(share=1.0, temperature=2.0), task(share=0.0))
        )
        assert with_it["accuracy"] > 0.8  # of 0.1 by chance, from the teacher alone
        closer.append(float(without["divergence"] - with_it["divergence"]))
    assert min(closer) > 0, closer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: task(steps=0), "steps is 0"),
        (lambda: task(temperature=0.0), "temperature is 0.0; expected above 0"),
        (lambda: task(share=1.5), "share is 1.5; expected from 0 to 1"),
        (lambda: task(model=MLP((), 9)), "train labels go from 0 to 9; expected 0 to 8"),
        (lambda: task(model=MLP((), 12)), r"teacher's outputs .* \[1, 10\], the student's \[1, 12\]"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
