"""RandAugment: each row gets one of the operations a round, each as often as the others."""

import jax
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from fdl.data.augmentation.base import by_row
from fdl.data.augmentation.rand_augment import colour, geometry, rand_augment
from tests.data.augmentation.test_base import KEY, batch_of, x_of

ADD = [by_row(lambda x, key, n=n: x + 10.0**n) for n in range(3)]


@pytest.mark.parametrize("count", [1, 2])
def test_every_row_gets_count_operations_each_as_likely(count):
    batch = {"x": np.zeros((1500, 2), np.float32)}
    x = x_of(rand_augment(ADD, count=count), batch)[:, 0]
    digits = np.stack([x // 10**n % 10 for n in range(3)], axis=1)
    np.testing.assert_array_equal(digits.sum(axis=1), np.full(1500, count))
    outcomes = np.unique(x, return_counts=True)[1]
    if count == 1:
        assert stats.chisquare(digits.sum(axis=0)).pvalue > 1e-4
    else:  # twice the same one, or two of them in either order
        expected = np.where(np.isin(np.unique(x), [2, 20, 200]), 1 / 9, 2 / 9) * 1500
        assert stats.chisquare(outcomes, expected).pvalue > 1e-4


def test_a_row_is_what_its_operation_makes_of_it():
    batch = batch_of(size=40)
    mirrored = by_row(lambda x, key: x[:, ::-1])
    turned = by_row(lambda x, key: x[::-1])
    x = x_of(rand_augment([mirrored, turned], count=1), batch)
    either = (x == batch["x"][:, :, ::-1]).all(axis=(1, 2, 3)), (x == batch["x"][:, ::-1]).all(axis=(1, 2, 3))
    assert (either[0] ^ either[1]).all() and either[0].any() and either[1].any()


def test_each_operation_is_pillows_at_its_strength_of_either_sign():
    """M = 6 of 10: each row is one of what Pillow makes by the documented strength, and both signs occur."""
    random = np.random.default_rng(0)
    image = random.integers(20, 200, (31, 37, 3)).astype(np.uint8)
    batch, pillow, size = {"x": np.tile(image, (24, 1, 1, 1))}, Image.fromarray(image), (37, 31)
    affine = lambda *matrix: pillow.transform(  # noqa: E731
        size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=(128,) * 3
    )
    enhanced = lambda name: lambda s: getattr(ImageEnhance, name)(pillow).enhance(1 + 0.54 * s)  # noqa: E731
    wanted = [
        lambda s: pillow,
        lambda s: pillow.rotate(18 * s, Image.Resampling.NEAREST, fillcolor=(128,) * 3),
        lambda s: affine(1, 0.18 * s, 0, 0, 1, 0),
        lambda s: affine(1, 0, 0, 0.18 * s, 1, 0),
        lambda s: affine(1, 0, 90 / 331 * 37 * s, 0, 1, 0),
        lambda s: affine(1, 0, 0, 0, 1, 90 / 331 * 31 * s),
        lambda s: ImageOps.autocontrast(pillow),
        lambda s: ImageOps.equalize(pillow),
        lambda s: ImageOps.solarize(pillow, 103),  # 256 - 25.6 * 6 is 102.4
        lambda s: ImageOps.posterize(pillow, 6),  # 8 - 2.4, rounded
        enhanced("Color"),
        enhanced("Contrast"),
        enhanced("Brightness"),
        enhanced("Sharpness"),
    ]
    every = geometry(6.0) + colour(6.0)
    assert len(every) == 14
    made = jax.jit(lambda batch, key: [operation(batch, key)["x"] for operation in every])(batch, KEY)
    for number, (ours, theirs) in enumerate(zip(made, wanted, strict=True)):
        signs = [np.asarray(theirs(sign)).astype(int) for sign in (1, -1)]
        away = [np.abs(np.asarray(ours).astype(int) - one).max(axis=(1, 2, 3)) for one in signs]
        limit = 1 if number >= 6 else 0  # Pillow drops fractions of colours
        near = [gap <= limit for gap in away]
        assert (near[0] | near[1]).all(), number
        if (signs[0] != signs[1]).any():
            assert near[0].any() and near[1].any(), number


@pytest.mark.medium
def test_no_magnitude_moves_nothing_and_it_may_be_traced():
    batch = batch_of(size=64, dtype=np.uint8)

    @jax.jit
    def made(magnitude):  # without the two that have no strength
        return rand_augment(geometry(magnitude) + colour(magnitude)[2:])(batch, KEY)

    still = made(0.0)
    assert still["x"].dtype == np.uint8
    for name in batch:
        np.testing.assert_array_equal(still[name], batch[name])
    changes = [np.abs(np.asarray(made(m)["x"]).astype(int) - batch["x"]).mean() for m in (1.0, 9.0)]
    assert changes[1] > 2 * changes[0] > 0


@pytest.mark.medium
def test_rows_move_as_by_their_own_operation_alone():
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3)).astype(np.uint8)
    batch = {"x": np.tile(image, (60, 1, 1, 1))}
    moves = geometry(7.0, fill=np.array([1, 2, 3]))[1:]
    made = x_of(rand_augment(moves, count=1), batch)
    alone = np.concatenate([x_of(move, batch) for move in moves])  # each with both signs
    wanted = np.unique(alone.reshape(len(alone), -1), axis=0)
    found = np.unique(made.reshape(60, -1), axis=0)
    assert len(wanted) == 10 and np.isin(found.view("V216"), wanted.view("V216")).all() and len(found) > 6


def test_floats_have_no_bytes_to_change():
    with pytest.raises(ValueError, match="the images are float32; expected uint8"):
        rand_augment(colour(5.0))(batch_of(), KEY)


def test_rows_do_not_depend_on_others():
    batch, other = batch_of(), batch_of(seed=5)
    some = {**batch, "x": np.concatenate([batch["x"][:3], other["x"][3:]])}
    run = rand_augment(geometry(5.0))
    np.testing.assert_array_equal(x_of(run, some)[:3], x_of(run, batch)[:3])


@pytest.mark.parametrize(("operations", "count"), [([], 2), (ADD, 0)])
def test_nothing_to_do_is_refused(operations, count):
    with pytest.raises(ValueError, match=r"expected at least (one value|1)"):
        rand_augment(operations, count=count)
