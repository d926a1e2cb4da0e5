"""Mean average precision over a split: one ranking of all batches, without the padding."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.data.batching import sequential
from fdl.data.splits import on_host
from fdl.metrics import mean_average_precision
from fdl.models.detector import Maps
from fdl.tasks.detection import precision_over


class Pixels(nn.Module):
    """A detector of boxes of two pixels a side around pixels, which are as sure as these are bright."""

    @nn.compact
    def __call__(self, x, train=False):
        two = jnp.ones((*x.shape[:3], 2))
        return Maps(x, 2 * two, 0.5 * two)


def images(rows, seed=0):
    """Noise of two classes, in which two pixels that have a box are brighter than most."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6, 6, 2)).astype(np.float32)
    labels = rng.integers(0, 2, (rows, 2)).astype(np.int32)
    cells = np.stack([rng.permutation(36)[:2] for _ in range(rows)])
    centre = np.stack([cells // 6, cells % 6], axis=-1) + 0.5
    for n, k in np.ndindex(rows, 2):
        x[n, cells[n, k] // 6, cells[n, k] % 6, labels[n, k]] += 2.0
    labels[::3, 1] = -1
    boxes = np.concatenate([centre - 1, centre + 1], axis=-1).astype(np.float32)
    return {"x": x, "boxes": boxes, "labels": labels}


def brightest(part, count):
    """The boxes, scores and labels of each image's brightest pixels that no neighbour outshines."""
    found = []
    for image in part["x"]:
        peaks = []
        for row, column, label in np.ndindex(6, 6, 2):
            here = image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2, label]
            if image[row, column, label] == here.max():
                box = [row - 0.5, column - 0.5, row + 1.5, column + 1.5]
                peaks.append((1 / (1 + np.exp(-image[row, column, label])), box, label))
        found.append(sorted(peaks, reverse=True)[:count])
    scores, boxes, labels = ([[peak[i] for peak in peaks] for peaks in found] for i in range(3))
    return boxes, scores, labels


@pytest.mark.parametrize("iou", [0.5, 1.0])
@pytest.mark.parametrize("batch_size", [7, 20, 32])
@pytest.mark.parametrize("place", [dict, on_host])
def test_the_precision_is_that_of_all_images_ranked_together(place, batch_size, iou):
    part = images(20)
    truth = part["boxes"], part["labels"]
    expected = mean_average_precision(*brightest(part, 3), *truth, iou=iou)
    assert 0.2 < expected < 0.9
    source = sequential(place(part), batch_size=batch_size)
    got = precision_over(Pixels(), {}, source, count=3, iou=iou)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.medium
def test_padding_is_neither_found_nor_missed():
    part = images(9)
    twice = {name: np.concatenate([rows, rows[-1:]]) for name, rows in part.items()}
    padded = precision_over(Pixels(), {}, sequential(part, batch_size=10), count=2)
    assert padded == precision_over(Pixels(), {}, sequential(part, batch_size=3), count=2)
    assert padded != precision_over(Pixels(), {}, sequential(twice, batch_size=10), count=2)


def test_a_split_without_objects_is_refused():
    part = images(4) | {"labels": np.full((4, 2), -1, np.int32)}
    with pytest.raises(ValueError, match=r"with 0 true boxes; expected .* at least one true box"):
        precision_over(Pixels(), {}, sequential(part, batch_size=4), count=2)
