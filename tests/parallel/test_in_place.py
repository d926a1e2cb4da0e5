"""Updates of an array from itself: found in compiled programs, and compiled rightly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fdl.parallel.in_place import compiled_rightly, reads_what_it_wrote
from fdl.parallel.plan import Plan
from fdl.train.lowering import lower

UPDATES = {
    "down": (lambda b, i: b.at[1:].set(b[:-1]), True),
    "up": (lambda b, i: b.at[:-1].set(b[1:]), True),
    "added": (lambda b, i: b.at[1:].add(b[:-1]), True),
    "doubled": (lambda b, i: lax.dynamic_update_slice(b, 2 * b[:3], (i, 0, 0)), True),
    "turned round": (lambda b, i: b.at[1:].set(b[1:][::-1]), True),
    "gathered": (lambda b, i: b.at[:3].set(b[jnp.array([3, 2, 1]) * i]), True),
    "same place": (
        lambda b, i: lax.dynamic_update_slice(b, -lax.dynamic_slice(b, (i, 0, 0), (2, 1, 1)), (i, 0, 0)),
        False,
    ),
    "one more": (lambda b, i: b.at[i].add(3), False),
    "of another": (lambda b, i: b.at[1:].set(jnp.arange(3.0)[:, None, None] * i), False),
}


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_of_an_array_from_itself_is_right(name):
    update, wrong = UPDATES[name]
    x, i = jnp.arange(4.0).reshape(4, 1, 1), 1
    function = lambda x, i: update(x + 1, i).reshape(1, 4, 1)  # noqa: E731
    lowered = jax.jit(function).lower(x, i)
    assert reads_what_it_wrote(lowered.compile().as_text()) == wrong
    np.testing.assert_array_equal(compiled_rightly(lowered, "cpu", {})(x, i), function(x, i))


def test_programs_of_a_plan_are_compiled_rightly():
    x = jnp.arange(4.0).reshape(4, 1, 1)
    mesh = jax.make_mesh((1,), ("population",))
    queue = lambda x: (x + 1).at[1:].set((x + 1)[:-1]).reshape(1, 4, 1)  # noqa: E731
    run = lower(queue, (x,), Plan(1, "vmap", "scan"), mesh, donate=False)().run
    np.testing.assert_array_equal(run(x).ravel(), [1, 1, 2, 3])
