"""What all augmentations have in common, and those that only move, flip or disturb: NumPy's results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fdl.data.augmentation.base import (
    compose,
    flip_horizontal,
    gaussian_noise,
    random_crop,
    shift,
    sometimes,
    two_views,
)
from fdl.data.augmentation.images import (
    affine,
    colour_jitter,
    gaussian_blur,
    grey,
    random_resized_crop,
)
from fdl.data.augmentation.mixing import cutmix, cutout, mixup, random_erasing

KEY = jax.random.key(7)
ROWS = {
    "flip_horizontal": flip_horizontal(),
    "random_crop": random_crop(padding=3),
    "shift": shift(most=3),
    "gaussian_noise": gaussian_noise(scale=5.0),
    "affine": affine(rotate=20.0, scale=(0.8, 1.2), shear=10.0, translate=0.1),
    "random_resized_crop": random_resized_crop(),
    "colour_jitter": colour_jitter(),
    "grey": grey(rate=0.5),
    "gaussian_blur": gaussian_blur(),
    "cutout": cutout(size=5),
    "random_erasing": random_erasing(),
    "sometimes": sometimes(gaussian_noise(scale=5.0)),
    "compose": compose(flip_horizontal(), random_crop(padding=2), cutout(size=3)),
}
MIXING = {"mixup": mixup(classes=4), "cutmix": cutmix(classes=4)}
ALL = ROWS | MIXING


def batch_of(size=8, dtype: type = np.float32, shape=(12, 10, 3), seed=0):
    x = np.random.default_rng(seed).integers(1, 256, (size, *shape)).astype(dtype)
    return {"x": x, "y": np.arange(size, dtype=np.int32) % 4}


def x_of(augmentation, batch, key=KEY):
    return np.asarray(jax.jit(augmentation)(batch, key)["x"])


@pytest.mark.parametrize("name", sorted(set(ALL) - {"compose", "sometimes"}))
def test_jit_changes_nothing(name):
    batch = batch_of()
    eager, jitted = ALL[name](batch, KEY), jax.jit(ALL[name])(batch, KEY)
    np.testing.assert_allclose(eager["x"], jitted["x"], rtol=1e-5, atol=1e-3)  # of 255
    np.testing.assert_allclose(eager["y"], jitted["y"], rtol=1e-6)
    assert (eager["x"] != batch["x"]).any()
    if name in ROWS:
        np.testing.assert_array_equal(jitted["y"], batch["y"])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", ALL)
def test_shape_and_dtype_are_kept(name, dtype):
    batch = batch_of(dtype=dtype)
    x = jax.eval_shape(ALL[name], batch, KEY)["x"]
    assert x.shape == batch["x"].shape and x.dtype == dtype


@pytest.mark.parametrize("name", ALL)
def test_the_key_decides(name):
    batch = batch_of()
    first = x_of(ALL[name], batch)
    np.testing.assert_array_equal(first, x_of(ALL[name], batch))
    assert (first != x_of(ALL[name], batch, jax.random.key(1))).any()


@pytest.mark.parametrize("name", ROWS)
def test_a_row_depends_on_no_other(name):
    batch, other = batch_of(), batch_of(seed=5)
    alike = {**batch, "x": np.repeat(batch["x"][:1], 8, axis=0)}
    assert len(np.unique(x_of(ROWS[name], alike), axis=0)) > 1, "each row has randomness of its own"
    some = {**batch, "x": np.concatenate([batch["x"][:3], other["x"][3:]])}
    np.testing.assert_array_equal(x_of(ROWS[name], some)[:3], x_of(ROWS[name], batch)[:3])


@pytest.mark.parametrize("name", ["compose", "mixup"])
def test_sharding_changes_nothing(name):
    count = min(len(jax.devices()), 8)
    mesh = jax.make_mesh(
        (count,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:count]
    )
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    batch = batch_of(size=8 // count * count)
    np.testing.assert_array_equal(x_of(ALL[name], jax.device_put(batch, rows)), x_of(ALL[name], batch))


@pytest.mark.parametrize("name", sorted(set(ALL) - {"shift", "gaussian_noise", "sometimes", "mixup"}))
def test_flat_rows_are_no_images(name):
    batch = batch_of(shape=(64,))
    with pytest.raises(ValueError, match=r"expected (an image|images) \[.*H, W, C\]") as caught:
        ALL[name](batch, KEY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [lambda n: random_crop(padding=n), lambda n: gaussian_blur(radius=n)])
def test_lengths_out_of_range(make):
    with pytest.raises(ValueError, match=r"(padding|radius) is 0; expected at least 1"):
        make(0)


@pytest.mark.parametrize("make", [lambda: grey(), lambda: colour_jitter()])
def test_colours_need_three_channels(make):
    with pytest.raises(ValueError, match="the images have 1 channels; expected 3"):
        make()(batch_of(shape=(4, 4, 1)), KEY)


def test_strengths_may_be_traced():
    batch = batch_of()

    def run(strength, whole):
        return compose(
            flip_horizontal(rate=strength),
            shift(most=whole),
            gaussian_noise(scale=strength),
            affine(rotate=strength, scale=(strength, 1.0), shear=strength, translate=strength),
            colour_jitter(brightness=strength, contrast=strength, saturation=strength),
            grey(rate=strength),
            gaussian_blur(sigma=(strength, 2.0)),
            random_resized_crop(area=(strength, 1.0), ratio=(strength, 2.0)),
            cutout(size=whole, fill=strength),
            random_erasing(rate=strength, area=(0.1, strength)),
            mixup(classes=4, alpha=strength),
            cutmix(classes=4, alpha=strength),
        )(batch, KEY)

    made = jax.eval_shape(run, jnp.float32(0.5), jnp.int32(2))
    assert made["x"].shape == batch["x"].shape and made["y"].shape == (8, 4)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_flips_are_numpys_at_the_rate(rate):
    batch = batch_of(size=2000, shape=(1, 3, 1))
    batch["x"][:] = [[[1], [2], [3]]]
    flipped = (x_of(flip_horizontal(rate=rate), batch) == batch["x"][:, :, ::-1]).all(axis=(1, 2, 3))
    assert stats.binomtest(int(flipped.sum()), 2000, rate).pvalue > 1e-4


def test_sometimes_keeps_or_changes_whole_rows():
    batch = batch_of(size=1000, shape=(2, 2, 3))
    changed = (x_of(sometimes(gaussian_noise(scale=50.0), rate=0.3), batch) != batch["x"]).any(axis=(1, 2, 3))
    assert stats.binomtest(int(changed.sum()), 1000, 0.3).pvalue > 1e-4


def test_every_crop_is_equally_likely():
    image = np.arange(1, 13, dtype=np.uint8).reshape(4, 3, 1)
    batch = {"x": np.repeat(image[None], 3000, axis=0)}
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    crops = [padded[top : top + 4, left : left + 3].tobytes() for top in range(5) for left in range(5)]
    found = [row.tobytes() for row in x_of(random_crop(padding=2), batch)]
    assert set(found) == set(crops)
    assert stats.chisquare([found.count(crop) for crop in crops]).pvalue > 1e-4


@pytest.mark.parametrize(
    ("shape", "axes"), [((5,), (0,)), ((5, 2), (0,)), ((4, 5, 2), (0, 1)), ((4, 5, 2), (1,))]
)
def test_shifts_are_numpys_rolls(shape, axes):
    row = np.arange(np.prod(shape)).reshape(shape)
    found = {
        one.tobytes() for one in x_of(shift(most=1, axes=axes), {"x": np.repeat(row[None], 200, axis=0)})
    }
    distances = np.stack(np.meshgrid(*[[-1, 0, 1]] * len(axes)), axis=-1).reshape(-1, len(axes))
    assert found == {np.roll(row.astype(np.int32), d, axes).tobytes() for d in distances}


def test_noise_is_normal():
    batch = batch_of(size=20, shape=(20, 20, 1))
    noise = (x_of(gaussian_noise(scale=3.0), batch) - batch["x"]).ravel()
    assert stats.kstest(noise, stats.norm(scale=3.0).cdf).pvalue > 1e-4
    saturated = x_of(gaussian_noise(scale=50.0), {"x": np.full((2, 9, 9, 3), 255, np.uint8)})
    assert saturated.max() == 255 and saturated.min() > 20, "integers are clipped, and do not wrap around"


def test_two_views_lie_side_by_side():
    batch = batch_of()
    views = two_views(gaussian_noise(scale=9.0))(batch, KEY)
    assert views["x"].shape == (8, 2, 12, 10, 3) and views["x"].dtype == np.float32
    np.testing.assert_array_equal(views["y"], batch["y"])
    assert (np.asarray(views["x"][:, 0]) != np.asarray(views["x"][:, 1])).any(axis=(1, 2, 3)).all()
    alike = two_views(compose())(batch, KEY)["x"]
    np.testing.assert_array_equal(alike, np.stack([batch["x"]] * 2, axis=1))


def test_composition_is_in_order_with_a_key_for_each():
    noisy = gaussian_noise(scale=9.0)
    batch = batch_of()
    twice = x_of(compose(noisy, noisy), batch) - batch["x"]
    once = x_of(noisy, batch, jax.random.fold_in(KEY, 0)) - batch["x"]
    again = x_of(noisy, batch, jax.random.fold_in(KEY, 1)) - batch["x"]
    np.testing.assert_allclose(twice, once + again, atol=1e-4)
