"""A model is traced for any number of rows at once, so that one exported program serves all."""

import functools

import jax
import jax.export
import pytest

from tests.models.test_contract import KEY, MODELS


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_shapes_follow_from_a_symbolic_number_of_rows(name):
    case = MODELS[name]
    (rows,) = jax.export.symbolic_shape("N")

    def symbolic(leaf):
        return jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype)

    variables = jax.eval_shape(functools.partial(case.model.init, KEY), *case.inputs)
    found = jax.eval_shape(case.model.apply, variables, *jax.tree.map(symbolic, case.inputs))
    wanted = jax.eval_shape(case.model.apply, variables, *case.inputs)
    few = jax.tree.leaves(case.inputs)[0].shape[0]
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert [few if size is rows or size == rows else size for size in one.shape] == list(other.shape)
