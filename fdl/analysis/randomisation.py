"""Whether an attribution depends on the model: the test by random parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fdl.analysis.agreement import rank_agreement
from fdl.arguments import NotEmpty, checked


@checked
def parameter_randomisation(
    explain: Callable[[Any], jax.Array], variables: Any, fresh: Any, layers: NotEmpty[Sequence[str]]
) -> jax.Array:
    """The cascading randomisation test (Adebayo et al. 2018, Sanity Checks for Saliency Maps, sec. 3): how
    far an attribution agrees with that of the model whose upper layers are random. One that stays the same
    does not depend on what these have learned, and explains no prediction.

    The test of the same paper by random labels (sec. 4) is `rank_agreement` of the attributions of two
    models, one trained with its labels permuted.

    Args:
      explain: `explain(variables)` gives attributions `[B, *S]`, as
        `lambda v: jnp.abs(analysis.gradient(model.apply, v, x, target))`.
      variables: of the trained model, by collection, as Flax has them.
      fresh: of the model before training, from another seed: `model.init(key, x)`.
      layers: paths of modules in the parameters, from the output down: `("Dense_0", "Conv_1", "Conv_0")`; all
        variables below a path become random, in every collection.

    Returns:
      `[L, B]`: `rank_agreement` with the first 1, 2, ... L layers random.

    Raises:
      ValueError: variables of another structure, or a layer that is not there.

    Example:
      >>> model = fdl.models.MLP(widths=(8,), outputs=3)
      >>> x = jax.random.normal(jax.random.key(0), (4, 5))
      >>> trained, fresh = (model.init(jax.random.key(seed), x) for seed in (1, 2))
      >>> explain = lambda v: fdl.analysis.gradient(model.apply, v, x, jnp.zeros(4, int))
      >>> layers = ("Dense_0", "Layer_0")
      >>> fdl.analysis.parameter_randomisation(explain, trained, fresh, layers).shape
      (2, 4)
    """
    if jax.tree.structure(variables) != jax.tree.structure(fresh):
        raise ValueError("fresh variables have another structure than the trained ones; expected one model's")
    before = explain(variables)
    found = []
    for layer in layers:
        variables = _replaced(variables, fresh, layer)
        found.append(rank_agreement(before, explain(variables)))
    return jnp.stack(found)


def _replaced(variables: Any, fresh: Any, layer: str) -> Any:
    """Variables, those below a module's path being fresh."""
    below, there = tuple(layer.split("/")), False

    def choose(path: Any, old: jax.Array, new: jax.Array) -> jax.Array:
        nonlocal there
        names = tuple(str(getattr(key, "key", key)) for key in path[1:])  # without the collection
        inside = names[: len(below)] == below
        there = there or inside
        return new if inside else old

    chosen = jax.tree.map_with_path(choose, variables, fresh)
    if not there:
        raise ValueError(
            f"there is no layer {layer!r} in the variables; expected a path such as 'stage/Conv_0'"
        )
    return chosen
