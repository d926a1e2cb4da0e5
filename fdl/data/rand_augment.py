"""RandAugment: a few augmentations of one strength, drawn for each row."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from fdl.data.augment import compose, row_keys, whole
from fdl.data.augment_images import affine, colour_jitter
from fdl.data.from_splits import Augmentation


def rand_augment(operations: Sequence[Augmentation], *, count: int = 2) -> Augmentation:
    """Does `count` operations to each row, one after the other, each drawn anew from all.

    Cubuk et al. 2020, RandAugment: Practical Automated Data Augmentation with a Reduced Search Space,
    sec. 3, as `rand_augment(geometry(0.3) + colour(0.3))`. A batch is given to every operation, and
    each row takes the result that it drew.

    Args:
      operations: each keeps the shape and dtype of `x` `[B, ...]` and changes nothing else.
      count: N, 1 or more.

    Raises:
      ValueError: no operations, or a count below 1.
    """
    if not operations or count < 1:
        raise ValueError(f"{len(operations)} operations, count {count}; expected at least 1 of each")

    def once(batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        drawing, changing = jax.random.split(key)
        old = jnp.asarray(batch["x"])
        drawn = jax.vmap(jax.random.uniform)(row_keys(drawing, len(old)))
        choice = whole(drawn, len(operations)).reshape(-1, *[1] * (old.ndim - 1))
        x = old
        for number, operation in enumerate(operations):
            changed = operation({**batch, "x": old}, jax.random.fold_in(changing, number))["x"]
            x = jnp.where(choice == number, changed, x)
        return {**batch, "x": x}

    return compose(*[once] * count)


def geometry(magnitude: float | jax.Array) -> tuple[Augmentation, ...]:
    """Five operations on images `[H, W, C]`, each of a random strength up to its greatest.

    Args:
      magnitude: 0 to 1; at 1 the greatest strengths are: nothing at all; a rotation by 30 degrees; a shear
        by 17 degrees; a translation by a third of the sides; a scaling by 0.5 or by 1.5.
    """
    return (
        compose(),
        affine(rotate=30.0 * magnitude),
        affine(shear=17.0 * magnitude),
        affine(translate=magnitude / 3),
        affine(scale=(1 - 0.5 * magnitude, 1 + 0.5 * magnitude)),
    )


def colour(magnitude: float | jax.Array) -> tuple[Augmentation, ...]:
    """Three operations on images `[H, W, 3]`: brightness, contrast and saturation.

    Args:
      magnitude: 0 to 1; at 1 the factors are from 0.1 to 1.9.
    """
    names = ("brightness", "contrast", "saturation")
    return tuple(colour_jitter(**dict.fromkeys(names, 0.0) | {name: 0.9 * magnitude}) for name in names)
