"""Lottery tickets against the algorithm written out in NumPy, round by round."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.optim.lottery_ticket import lottery_ticket

RNG = np.random.default_rng(0)
START = {
    "Dense_0": {"kernel": RNG.normal(size=(4, 5)).astype(np.float32), "bias": np.zeros(5, np.float32)},
    "Dense_1": {"kernel": RNG.normal(size=(5, 2)).astype(np.float32), "bias": np.ones(2, np.float32)},
}
GRADIENTS = [
    jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), START) for _ in range(9)
]
KEY = jax.random.key(1)


def states(optimizer, start=START, gradients=GRADIENTS):
    """The parameters after each step."""

    @jax.jit
    def step(params, state, gradient, key):
        updates, state = optimizer.update(gradient, state, params, key=key)
        return optax.apply_updates(params, updates), state

    params, state, found = start, optimizer.init(start), []
    for count, gradient in enumerate(gradients):
        params, state = step(params, state, gradient, jax.random.fold_in(KEY, count))
        found.append(jax.tree.map(np.asarray, params))
    return found


def written_out(sparsity, steps, rounds, rewind_to):
    """The parameters after each step, by momentum of 0.9 and a rate of 0.1."""
    layers = [(name, part) for name in START for part in START[name]]
    w = {at: START[at[0]][at[1]].astype(float) for at in layers}
    mask, speed, start, found = (
        {at: np.ones(w[at].shape) for at in layers},
        dict.fromkeys(layers, 0.0),
        {},
        [],
    )
    for count, gradient in enumerate(GRADIENTS):
        if count == rewind_to:
            start = dict(w)
        for at in layers:
            speed[at] = 0.9 * speed[at] + gradient[at[0]][at[1]]
            w[at] = mask[at] * (w[at] - 0.1 * speed[at])
        done = (count + 1) // steps
        if (count + 1) % steps == 0 and done <= rounds:
            for at in layers:
                if at[1] == "kernel":
                    gone = int(np.floor((1 - (1 - sparsity) ** (done / rounds)) * w[at].size + 0.5))
                    size = np.where(mask[at] == 1, np.abs(w[at]), -1).ravel()
                    mask[at] = mask[at].copy()
                    mask[at].reshape(-1)[np.argsort(size, kind="stable")[:gone]] = 0
                w[at] = mask[at] * start[at]
            speed = dict.fromkeys(layers, 0.0)
        found.append(dict(w))
    return found


@pytest.mark.parametrize(("rounds", "rewind_to"), [(1, 0), (2, 0), (2, 1)])
def test_it_is_the_algorithm(rounds, rewind_to):
    optimizer = lottery_ticket(optax.sgd(0.1, momentum=0.9), 0.8, steps=3, rounds=rounds, rewind_to=rewind_to)
    for got, wanted in zip(states(optimizer), written_out(0.8, 3, rounds, rewind_to), strict=True):
        for (name, part), value in wanted.items():
            np.testing.assert_allclose(got[name][part], value, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(got[name][part] == 0, value == 0)


def test_another_start_has_the_same_mask_and_the_same_numbers_elsewhere():
    options: Any = {"steps": 3, "rounds": 1}
    back = states(lottery_ticket(optax.sgd(0.1), 0.0, **options))[2]
    mixed = states(lottery_ticket(optax.sgd(0.1), 0.0, reinitialise=True, **options))[2]
    for name in START:
        np.testing.assert_allclose(back[name]["kernel"], START[name]["kernel"], atol=1e-6)
        assert np.abs(mixed[name]["kernel"] - START[name]["kernel"]).max() > 0.1
        np.testing.assert_allclose(
            np.sort(mixed[name]["kernel"].ravel()), np.sort(START[name]["kernel"].ravel()), atol=1e-6
        )
        np.testing.assert_allclose(mixed[name]["bias"], START[name]["bias"], atol=1e-6)
    masks = [
        jax.tree.map(
            lambda leaf: leaf == 0,
            states(lottery_ticket(optax.sgd(0.1), 0.5, reinitialise=one, **options))[-1],
        )
        for one in (False, True)
    ]
    for name in START:
        np.testing.assert_array_equal(masks[0][name]["kernel"], masks[1][name]["kernel"])


def test_traced_sparsities_side_by_side_are_each_alone():
    def last(sparsity):
        optimizer = lottery_ticket(optax.sgd(0.1), sparsity, steps=2)
        params, state = START, optimizer.init(START)
        for gradient in GRADIENTS[:3]:
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params

    together = jax.jit(jax.vmap(last))(jnp.array([0.3, 0.8]))
    alone = last(0.8)
    for name in START:
        np.testing.assert_allclose(together[name]["kernel"][1], alone[name]["kernel"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: lottery_ticket(one, 1.5, steps=2), "sparsity is 1.5; expected from 0 to 1"),
        (lambda one: lottery_ticket(one, 0.5, steps=2, rewind_to=2), "rewind_to is 2, steps 2; expected"),
        (
            lambda one: lottery_ticket(one, 0.5, steps=2).update(START, None),
            "lottery_ticket got no parameters",
        ),
        (
            lambda one: (made := lottery_ticket(one, 0.5, steps=1, reinitialise=True)).update(
                START, made.init(START), START
            ),
            "lottery_ticket got no key",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_line(call, message):
    with pytest.raises(ValueError, match=message):
        call(optax.sgd(0.1))
