"""Augmentations: pure functions of a batch and a key, made by functions of their strength.

Each is `augmentation(batch, key) -> batch` of a dictionary of arrays `[B, ...]`, changes `x` and keeps its
shape and dtype (integers are rounded, and clipped to what the dtype holds), and is deterministic in
the key. Row r draws from `fold_in(key, r)`, so its result depends on no sharding, and on no other row
unless rows are mixed (`fdl.data.augmentation.mixing`). Strengths that are floats may be traced. So an
ablation is another function, or `compose()`.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.data.sources import Augmentation

Row = Callable[[jax.Array, jax.Array], jax.Array]
"""`row(x, key) -> x` of one row."""


@checked
def by_row(row: Row) -> Augmentation:
    """Does `row` to every row of `x` `[B, ...]`, each with a key of its own.

    Example:
      >>> double = fdl.data.by_row(lambda x, key: 2 * x)
      >>> double({"x": np.arange(3)}, jax.random.key(0))["x"].tolist()
      [0, 2, 4]
    """

    def augmentation(batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        x = jnp.asarray(batch["x"])
        return {**batch, "x": jax.vmap(row)(x, row_keys(key, len(x)))}

    return augmentation


@checked
def by_image(row: Row) -> Augmentation:
    """`by_row` for images `[H, W, C]`; ValueError when it is given rows of another rank.

    Example:
      >>> darker = fdl.data.by_image(lambda image, key: image // 2)
      >>> batch = {"x": np.full((1, 2, 2, 1), 100)}
      >>> darker(batch, jax.random.key(0))["x"].ravel().tolist()
      [50, 50, 50, 50]
    """

    def checked(x: jax.Array, key: jax.Array) -> jax.Array:
        if x.ndim != 3:
            raise ValueError(f"a row of x has shape {x.shape}; expected an image [H, W, C], so reshape it")
        return row(x, key)

    return by_row(checked)


def row_keys(key: jax.Array, size: int) -> jax.Array:
    """A key for each row, `[size]`: `fold_in(key, r)`."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, lax.iota(jnp.uint32, size))


def cast_like(values: jax.Array, x: jax.Array) -> jax.Array:
    """`values` in the dtype of `x`: for integers rounded, and clipped to what the dtype holds."""
    if not jnp.issubdtype(x.dtype, jnp.integer):
        return values.astype(x.dtype)
    return limited(jnp.round(values), x.dtype).astype(x.dtype)


def limited(values: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """`values` clipped to what an integer dtype holds; floats have no limits."""
    if not jnp.issubdtype(dtype, jnp.integer):
        return values
    return jnp.clip(values, jnp.iinfo(dtype).min, jnp.iinfo(dtype).max)


def between(draw: jax.Array, low: ArrayLike, high: ArrayLike) -> jax.Array:
    """A draw from [0, 1) as one that is uniform from `low` to `high`."""
    return jnp.asarray(low) + draw * (jnp.asarray(high) - low)


def whole(draw: jax.Array, count: ArrayLike) -> jax.Array:
    """A draw from [0, 1) as one of `range(count)`, each as likely as float32 allows; int32.

    One call of `uniform` for all that a row needs and this compile and run in a fraction of the time
    of a `randint` for each.
    """
    return jnp.floor(draw * count).astype(jnp.int32)


@checked
def compose(*augmentations: Augmentation) -> Augmentation:
    """One after the other, the first first, each with a key of its own; none leaves a batch as it is.

    Example:
      >>> double = fdl.data.by_row(lambda x, key: 2 * x)
      >>> fdl.data.compose(double, double)({"x": np.arange(3)}, jax.random.key(0))["x"].tolist()
      [0, 4, 8]
    """

    def augmentation(batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        for number, one in enumerate(augmentations):
            batch = one(batch, jax.random.fold_in(key, number))
        return dict(batch)

    return augmentation


@checked
def sometimes(augmentation: Augmentation, *, rate: Share[float | jax.Array] = 0.5) -> Augmentation:
    """Does `augmentation` to each row with probability `rate`, and leaves the others as they are.

    Args:
      augmentation: one that keeps the shapes and dtypes of all arrays.
      rate: 0 to 1.

    Example:
      >>> some = fdl.data.sometimes(fdl.data.flip_horizontal(rate=1.0), rate=0.3)
      >>> batch = {"x": np.zeros((8, 32, 32, 3), np.uint8)}
      >>> jax.eval_shape(some, batch, jax.random.key(0))["x"].shape
      (8, 32, 32, 3)
    """

    def some(batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        choosing, changing = jax.random.split(key)
        keys = row_keys(choosing, len(batch["x"]))
        chosen = jax.vmap(lambda one: jax.random.bernoulli(one, rate))(keys)
        changed = augmentation(batch, changing)
        return {
            name: jnp.where(chosen.reshape(-1, *[1] * (jnp.ndim(old) - 1)), changed[name], old)
            for name, old in batch.items()
        }

    return some


@checked
def two_views(augmentation: Augmentation) -> Augmentation:
    """Two augmentations of every row, for contrastive learning.

    Returns:
      A function whose batch has `x` `[B, 2, ...]`, the views of a row side by side, so that a batch
      is sharded by rows as before; the other arrays stay as they are.

    Example:
      >>> views = fdl.data.two_views(fdl.data.gaussian_noise(scale=0.1))
      >>> batch = {"x": np.zeros((8, 5), np.float32)}
      >>> jax.eval_shape(views, batch, jax.random.key(0))["x"].shape
      (8, 2, 5)
    """

    def views(batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        both = [augmentation(batch, jax.random.fold_in(key, number))["x"] for number in range(2)]
        return {**batch, "x": jnp.stack(both, axis=1)}

    return views


@checked
def flip_horizontal(*, rate: Share[float | jax.Array] = 0.5) -> Augmentation:
    """Mirrors an image left to right with probability `rate`.

    Example:
      >>> flip = fdl.data.flip_horizontal(rate=1.0)
      >>> flip({"x": np.arange(3).reshape(1, 1, 3, 1)}, jax.random.key(0))["x"].ravel().tolist()
      [2, 1, 0]
    """

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key, rate), image[:, ::-1], image)

    return by_image(row)


@checked
def random_crop(*, padding: Count) -> Augmentation:
    """A crop of the image's own size out of the image with `padding` zeros on every side.

    He et al. 2016, Deep Residual Learning for Image Recognition, sec. 4.2, with 4 for 32 × 32 pixels; there
    images are standardised before, and zeros are the mean.

    Args:
      padding: P, in pixels; the crop's corner is uniform in 0..2P in both directions.

    Raises:
      ValueError: a padding below 1.

    Example:
      >>> crop = fdl.data.random_crop(padding=4)
      >>> batch = {"x": np.zeros((8, 32, 32, 3), np.float32)}
      >>> jax.eval_shape(crop, batch, jax.random.key(0))["x"].shape
      (8, 32, 32, 3)
    """

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        top, left = whole(jax.random.uniform(key, (2,)), 2 * padding + 1)
        padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        return lax.dynamic_slice(padded, (top, left, jnp.zeros_like(top)), image.shape)

    return by_image(row)


@checked
def shift(*, most: NotNegative[int | jax.Array], axes: tuple[int, ...] = (0, 1)) -> Augmentation:
    """Moves a row around a circle: what leaves at one end comes in at the other.

    Args:
      most: the distance is a whole number, uniform in -most..most, along each axis on its own.
      axes: of a row, so (0,) for a signal `[T]` or `[T, C]` and (0, 1) for an image `[H, W, C]`.

    Example:
      >>> moved = fdl.data.shift(most=2, axes=(0,))({"x": np.arange(4)[None]}, jax.random.key(0))["x"]
      >>> sorted(moved.ravel().tolist())
      [0, 1, 2, 3]
    """

    def row(x: jax.Array, key: jax.Array) -> jax.Array:
        distances = whole(jax.random.uniform(key, (len(axes),)), 2 * most + 1) - most
        for axis, distance in zip(axes, distances, strict=True):
            x = jnp.roll(x, distance, axis)
        return x

    return by_row(row)


@checked
def gaussian_noise(*, scale: NotNegative[float | jax.Array]) -> Augmentation:
    """Adds independent normal noise of standard deviation `scale`, in the units of `x`.

    Example:
      >>> noisy = fdl.data.gaussian_noise(scale=0.5)({"x": np.zeros((1, 1000))}, jax.random.key(0))["x"]
      >>> round(float(noisy.std()), 1)
      0.5
    """

    def row(x: jax.Array, key: jax.Array) -> jax.Array:
        return cast_like(x + scale * jax.random.normal(key, x.shape), x)

    return by_row(row)
