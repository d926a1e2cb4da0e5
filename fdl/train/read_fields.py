"""Which fields of a config a training step reads."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval

from fdl.train.check import built
from fdl.train.run import Build, Member, advance_once, init


def read_by_step(build: Build, config: Any) -> frozenset[str]:
    """The traced fields on which something in a run depends after a step, beside the state before it.

    A field that only the beginning reads, as the scale of the initial parameters or a learning rate that
    `optax.inject_hyperparams` keeps in the state, is none of them. Traced once; nothing is compiled.

    Args:
      build: the experiment as a function of the config.
      config: one of the structure that is asked about.
    """
    shape = lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jax.dtypes.canonicalize_dtype(leaf.dtype))  # noqa: E731
    traced = jax.tree.map(lambda _: jax.ShapeDtypeStruct((), jnp.float32), config)
    member = Member(traced, jax.random.key(0), jnp.bool_(True))
    arrays = {"train": jax.tree.map(shape, built(build, config).train.arrays)}
    carry = jax.eval_shape(functools.partial(init, build), member)
    jaxpr = jax.make_jaxpr(functools.partial(advance_once, build))(member, arrays, carry).jaxpr
    _, used = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    paths = jax.tree_util.tree_flatten_with_path(config)[0]
    return frozenset(path[0].name for (path, _), needed in zip(paths, used, strict=False) if needed)
