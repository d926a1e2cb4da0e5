"""RandAugment: a few augmentations of one strength, drawn for each row."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fdl.arguments import Count, NotEmpty, NotNegative, checked
from fdl.data.augmentation.base import by_image, compose, row_keys, whole
from fdl.data.augmentation.operations import (
    Matrix,
    autocontrast,
    brighten,
    contrast,
    equalise,
    posterise,
    rotation,
    saturate,
    sharpen,
    solarise,
    transform,
)
from fdl.data.sources import Augmentation

Number = float | jax.Array


@dataclasses.dataclass(frozen=True, eq=False)  # jit holds functions weakly, which no tuple allows
class Move:
    """An augmentation that takes each pixel from another place; `rand_augment` does several as one.

    Attributes:
      matrix: `matrix(key, height, width)`, of one row; see `fdl.data.augmentation.operations.transform`.
      fill: what comes from outside the image, one value or one a channel.
    """

    matrix: Callable[[jax.Array, int, int], Matrix]
    fill: ArrayLike

    def __call__(self, batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        """Moves the pixels of `x` `[B, H, W, C]`."""
        row = lambda image, key: transform(image, self.matrix(key, *image.shape[:2]), fill=self.fill)  # noqa: E731
        return by_image(row)(batch, key)


@checked
def rand_augment(operations: NotEmpty[Sequence[Augmentation]], *, count: Count = 2) -> Augmentation:
    """Does `count` operations to each row, one after the other, each drawn anew from all, all as likely.

    Cubuk et al. 2020, RandAugment: Practical Automated Data Augmentation with a Reduced Search Space,
    sec. 3: the paper's 14 operations at M = 9 are `rand_augment(geometry(9) + colour(9))`, with both from
    this module. A batch is given to every operation, and each row takes the result that it drew.

    Args:
      operations: each keeps the shape and dtype of `x` `[B, ...]` and changes nothing else.
      count: N, 1 or more.

    Raises:
      ValueError: no operations, or a count below 1.

    Example:
      >>> augment = fdl.data.rand_augment([fdl.data.flip_horizontal(), fdl.data.gaussian_noise(scale=9.0)])
      >>> batch = {"x": np.zeros((4, 8, 8, 1), np.uint8)}
      >>> jax.eval_shape(augment, batch, jax.random.key(0))["x"].shape
      (4, 8, 8, 1)
    """

    def once(batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        drawing, changing = jax.random.split(key)
        old = jnp.asarray(batch["x"])
        drawn = jax.vmap(jax.random.uniform)(row_keys(drawing, len(old)))
        drawn = whole(drawn, len(operations))
        choice = drawn.reshape(-1, *[1] * (old.ndim - 1))
        x = _moved(operations, old, drawn, row_keys(changing, len(old)))
        for number, operation in enumerate(operations):
            if isinstance(operation, Move):
                continue
            changed = operation({**batch, "x": old}, jax.random.fold_in(changing, number))["x"]
            x = jnp.where(choice == number, changed, x)
        return {**batch, "x": x}

    return compose(*[once] * count)


def _moved(operations: Sequence[Augmentation], x: jax.Array, drawn: jax.Array, keys: jax.Array) -> jax.Array:
    """The rows `x` that drew a `Move` as it moves them, the others as they are."""
    moves = {number: one for number, one in enumerate(operations) if isinstance(one, Move)}
    if not moves:
        return x

    def row(image: jax.Array, drawn: jax.Array, key: jax.Array) -> jax.Array:
        height, width, channels = image.shape
        matrix, fill = jnp.array([1.0, 0, 0, 0, 1, 0]), jnp.zeros(channels)
        for number, one in moves.items():
            own = jnp.stack([jnp.asarray(entry, jnp.float32) for entry in one.matrix(key, height, width)])
            matrix = jnp.where(drawn == number, own, matrix)
            fill = jnp.where(drawn == number, jnp.asarray(one.fill), fill)
        return transform(image, tuple(matrix), fill=fill)

    return jax.vmap(row)(x, drawn, keys)


@checked
def geometry(magnitude: NotNegative[Number], *, fill: ArrayLike = 128) -> tuple[Augmentation, ...]:
    """RandAugment's six that move pixels, on images `[H, W, C]`: identity, rotate, shear and translate in
    x and in y.

    Pixels are not interpolated, as in the authors' code. Each has one strength, whose sign is random: 3 M
    degrees; a shear of 0.03 M, about the upper left corner; a translation by 15 / 331 M of the side, the
    authors' 15 M pixels of 331.

    Args:
      magnitude: M of the paper, 0 to 10 (torchvision's and timm's greatest is 30 or 31: it is 3 M there);
        it may be traced. At 0 nothing changes.
      fill: what comes from outside the image, one value or one a channel; grey of bytes by default.
    """
    share = jnp.asarray(magnitude) / 10

    def moved(matrix: Callable[[jax.Array, int, int], Matrix]) -> Augmentation:
        sign = lambda key: jax.random.rademacher(key, (), jnp.float32)  # noqa: E731
        return Move(lambda key, height, width: matrix(share * sign(key), height, width), fill)

    return (
        compose(),
        moved(lambda one, height, width: rotation(30 * one, height, width)),
        moved(lambda one, height, width: (1, 0.3 * one, 0, 0, 1, 0)),
        moved(lambda one, height, width: (1, 0, 0, 0.3 * one, 1, 0)),
        moved(lambda one, height, width: (1, 0, 150 / 331 * width * one, 0, 1, 0)),
        moved(lambda one, height, width: (1, 0, 0, 0, 1, 150 / 331 * height * one)),
    )


@checked
def colour(magnitude: NotNegative[Number]) -> tuple[Augmentation, ...]:
    """RandAugment's eight that change colours, on images uint8 `[H, W, 3]`: autocontrast, equalise,
    solarise, posterise, and colour (saturation), contrast, brightness and sharpness.

    The first two have no strength. Values from 256 - 25.6 M on are solarised, 8 - 0.4 M bits (rounded)
    are kept, and the last four have a factor of 1 + 0.09 M or 1 - 0.09 M. These are torchvision's
    strengths, which all grow with M; in the authors' code posterise, solarise and the factors (from 0.1
    to 1.9) change an image most at M = 0, and some of them least at 5 or 10.

    Args:
      magnitude: as for `geometry`.
    """
    share = jnp.asarray(magnitude) / 10

    def fixed(operation: Callable[[jax.Array], jax.Array]) -> Augmentation:
        return by_image(lambda image, key: operation(image))

    def enhanced(operation: Callable[[jax.Array, jax.Array], jax.Array]) -> Augmentation:
        def row(image: jax.Array, key: jax.Array) -> jax.Array:
            return operation(image, 1 + 0.9 * share * jax.random.rademacher(key, (), jnp.float32))

        return by_image(row)

    return (
        fixed(autocontrast),
        fixed(equalise),
        fixed(lambda image: solarise(image, 256 * (1 - share))),
        fixed(lambda image: posterise(image, 8 - jnp.round(4 * share))),
        enhanced(saturate),
        enhanced(contrast),
        enhanced(brighten),
        enhanced(sharpen),
    )
