"""How a learner's state is split over a mesh, and what is refused."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec

from fdl import models
from fdl.experiment import Learner
from fdl.parallel.plan import Plan
from fdl.parallel.sharding import state_specs
from tests import toy


def learner(width: int) -> Learner:
    """Of a multilayer perceptron of 32 inputs, with momentum."""
    model, optimizer = models.MLP((width,), 10), optax.sgd(0.1, momentum=0.9)

    def init(key: jax.Array):
        params = model.init(key, jnp.zeros((1, 32)))["params"]
        return params, optimizer.init(params)

    return Learner(init, lambda state, batch, key: (state, {}), lambda state, batch, key: {})


def split(width: int, **sizes: int) -> set[PartitionSpec]:
    found = state_specs(learner(width), Plan(1, "map", "calls")._replace(**sizes))
    return set(jax.tree.leaves(found, is_leaf=lambda leaf: isinstance(leaf, PartitionSpec)))


def test_matrices_are_split_by_the_names_of_their_axes_and_small_arrays_are_whole():
    assert split(64, tensor=4) == {PartitionSpec(), PartitionSpec(None, "tensor")}
    assert split(64, tensor=4, fsdp=2) == {PartitionSpec(), PartitionSpec("fsdp", "tensor")}
    assert split(64, fsdp=2) == {PartitionSpec(), PartitionSpec(None, "fsdp")}


@pytest.mark.parametrize(("width", "tensor"), [(64, 7), (8, 2)], ids=["no divisor", "all is small"])
def test_an_axis_of_the_mesh_that_splits_nothing_of_the_model_is_refused(width, tensor):
    with pytest.raises(ValueError, match=rf"tensor={tensor} splits no parameter .*mlp of {width}"):
        split(width, tensor=tensor)


def test_a_model_without_names_is_refused():
    with pytest.raises(ValueError, match="no parameter has an axis named heads, mlp, vocab"):
        state_specs(toy.experiment(toy.Config()).learner, Plan(1, "map", "calls", tensor=2))
