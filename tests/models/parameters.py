"""Parameters drawn by NumPy: nothing is compiled to make them, and none of them is zero."""

import flax.linen as nn
import jax
import numpy as np


def drawn(model, *arguments, deviation=0.3, seed=0) -> dict:
    """Normal parameters of a model for such arguments; those called `scale` have mean 1."""
    rng = np.random.default_rng(seed)
    shapes = nn.unbox(jax.eval_shape(lambda: model.init(jax.random.key(0), *arguments)))["params"]

    def draw(path, leaf):
        mean = 1.0 if path[-1].key == "scale" else 0.0
        return jax.numpy.asarray(mean + deviation * rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)
