"""How a state measures on a split of its experiment, as the training's own evaluations did."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.experiment import Experiment, Metrics, State
from fdl.text import hint
from fdl.train.batches import joined_parts
from fdl.train.run import Member, measure


def measured(experiment: Experiment, seed: int, state: State, split: str) -> dict[str, float]:
    """The metrics of a split, by name, with the keys of the run of this seed.

    Raises:
      ValueError: the experiment has no such split.
      OSError: its data cannot be read.
    """
    if split not in experiment.evaluation:
        raise ValueError(f"the experiment has no split {split!r}; {hint(split, experiment.evaluation)}")
    source = experiment.evaluation[split]
    member = Member((), jax.random.key(seed), jnp.bool_(True))

    @jax.jit
    def one(arrays: Any, state: State, index: jax.Array) -> Metrics:
        return measure(experiment, member, {split: arrays}, state, split, index)

    def parts() -> Iterator[Metrics]:
        for index in range(source.batches):
            words = np.asarray(jax.random.key_data(jax.random.key(0)))
            arrays = source.fetch(index, words, slice(None)) if source.fetch else source.arrays
            yield jax.tree.map(
                functools.partial(jnp.expand_dims, axis=0), one(arrays, state, jnp.int32(index))
            )

    found = joined_parts(parts())
    return {name: float(np.asarray(jax.vmap(lambda m: m.value)(metric))[0]) for name, metric in found.items()}
