"""Exposure of canaries in a small language model, against its definition over all texts that there are."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import analysis, data, models, tasks
from fdl.train import fit

TOKENS, LENGTH = 5, 4
EVERY = np.array(list(itertools.product(range(TOKENS), repeat=LENGTH)), np.int32)
"""All 625 texts."""


@pytest.mark.medium
def test_a_canary_that_was_trained_on_is_exposed_by_its_rank_among_all_texts():
    rng = np.random.default_rng(0)
    rows = EVERY[rng.integers(0, len(EVERY), 60)]
    canary = np.array([4, 1, 4, 2], np.int32)
    rows = np.concatenate([rows, np.repeat(canary[None], 4, 0)])
    mask = np.broadcast_to(np.arange(LENGTH) < LENGTH - 1, rows.shape)
    part = {"x": rows, "y": np.concatenate([rows[:, 1:], rows[:, :1]], 1), "mask": mask}
    model = models.RecurrentNet((16,), TOKENS, last=False, vocabulary=TOKENS)
    built = tasks.language_modelling(
        model, data.Splits(part, part, part), optax.adam(0.02), steps=80, batch_size=32, evaluate_every=80
    )
    state = fit(built, jax.random.key(0)).state
    assert built.learner.predict
    losses = -np.asarray(built.learner.predict(state, {"x": EVERY})["log_probability"])
    own = int(np.flatnonzero((canary == EVERY).all(1))[0])
    rank = int(np.flatnonzero(np.argsort(losses, kind="stable") == own)[0]) + 1
    found = float(analysis.exposure(jnp.asarray(losses[[own]]), jnp.asarray(np.delete(losses, own)))[0])
    assert found == pytest.approx(np.log2(len(EVERY)) - np.log2(rank), abs=1e-4)
    assert found > 5  # one in 32 at most is as likely by chance
