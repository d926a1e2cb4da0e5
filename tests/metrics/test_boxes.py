"""Overlaps by counting pixels, mean average precision by another program and by hand."""

import jax
import numpy as np
import pytest

from fdl import metrics
from fdl.metrics import mean_average_precision

box_overlap = jax.jit(metrics.box_overlap)


def pixels(box):
    top, left, bottom, right = box
    return {(r, c) for r in range(int(top), int(bottom)) for c in range(int(left), int(right))}


def random_boxes(rng, *shape, side=12):
    corner = rng.integers(0, side - 4, (*shape, 2))
    return np.concatenate([corner, corner + rng.integers(1, 6, (*shape, 2))], axis=-1).astype(np.float32)


def test_overlaps_are_those_of_pixels():
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 2, 9), random_boxes(rng, 2, 7)
    got = box_overlap(first, second)
    for image, a, b in np.ndindex(2, 9, 7):
        one, other = pixels(first[image, a]), pixels(second[image, b])
        assert float(got[image, a, b]) == pytest.approx(len(one & other) / len(one | other), abs=1e-6)


@pytest.mark.parametrize("box", [[3, 3, 3, 9], [5, 5, 2, 2], [0, 0, 0, 0]])
def test_boxes_without_area_overlap_nothing(box):
    boxes = np.asarray([box, [0, 0, 9, 9]], np.float32)
    np.testing.assert_array_equal(box_overlap(boxes[:1], boxes), [[0, 0]])


def by_thresholds(boxes, scores, labels, true_boxes, true_labels, iou):
    """For each recall, the best precision of all cuts that reach it; detections matched one by one."""
    areas = []
    for wanted in sorted(set(true_labels[true_labels >= 0].tolist())):
        total = int((true_labels == wanted).sum())
        ranked = sorted((-scores[n, k], n, k) for n, k in np.ndindex(*scores.shape) if labels[n, k] == wanted)
        taken, outcomes = set(), []
        for _, n, k in ranked:
            best, share = None, 0.0
            for m in range(true_labels.shape[1]):
                if true_labels[n, m] != wanted or (n, m) in taken:
                    continue
                one, other = pixels(boxes[n, k]), pixels(true_boxes[n, m])
                here = len(one & other) / len(one | other)
                if here > share:
                    best, share = (n, m), here
            outcomes.append(share >= iou)
            if share >= iou:
                taken.add(best)
        cuts = [(sum(outcomes[:n]), sum(outcomes[:n]) / n) for n in range(1, len(outcomes) + 1)]
        levels = [max([p for hits, p in cuts if hits >= level], default=0.0) for level in range(1, total + 1)]
        areas.append(sum(levels) / total)
    return sum(areas) / len(areas)


@pytest.mark.parametrize("iou", [0.2, 0.5, 0.75])
@pytest.mark.parametrize("seed", range(4))
def test_is_the_other_programs(seed, iou):
    rng = np.random.default_rng(seed)
    true_boxes, true_labels = random_boxes(rng, 12, 4), rng.integers(-1, 3, (12, 4))
    near = true_boxes[:, rng.integers(0, 4, 6)] + rng.integers(-1, 2, (12, 6, 4))
    near[..., 2:] = np.maximum(near[..., 2:], near[..., :2] + 1)
    labels = np.where(
        rng.random((12, 6)) < 0.7, true_labels[:, rng.integers(0, 4, 6)], rng.integers(-1, 4, (12, 6))
    )
    scores = rng.permutation(72).reshape(12, 6) / 72
    arguments = near, scores, labels, true_boxes, true_labels
    wanted = by_thresholds(*arguments, iou)
    assert mean_average_precision(*arguments, iou=iou) == pytest.approx(wanted, abs=1e-9)


def test_by_hand():
    true = np.asarray([[[0, 0, 4, 4], [4, 4, 8, 8]]], np.float32)
    labels = np.array([[0, 0]])
    # Right, false, right: precision 1 at recall 1/2, then 2/3 at recall 1.
    boxes = np.asarray([[[0, 0, 4, 4], [0, 4, 4, 8], [4, 4, 8, 8]]], np.float32)
    scores, said = np.array([[0.9, 0.8, 0.7]]), np.zeros((1, 3), int)
    assert mean_average_precision(boxes, scores, said, true, labels) == pytest.approx((1 + 2 / 3) / 2)
    assert mean_average_precision(true, scores[:, :2], labels, true, labels) == 1.0
    twice = np.asarray([[[0, 0, 4, 4], [0, 0, 4, 4]]], np.float32)
    assert mean_average_precision(twice, scores[:, :2], labels, true, labels) == 0.5
    assert mean_average_precision(boxes, scores, np.full((1, 3), -1), true, labels) == 0.0
    assert mean_average_precision(boxes, scores, said, true, np.array([[0, 1]])) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 2, 4), (1, 3), (1, 2), (1, 1, 4), (1, 1)), r"shapes are .*; expected \[N, K, 4\]"),
        (((2, 2, 4), (2, 2), (2, 2), (1, 1, 4), (1, 1)), "expected as many images in each"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message) as error:
        mean_average_precision(*(np.zeros(shape) for shape in shapes))
    assert "\n" not in str(error.value)


def test_no_true_box_is_refused():
    with pytest.raises(ValueError, match="with 0 true boxes"):
        mean_average_precision(np.zeros((1, 1, 4)), [[1.0]], [[0]], np.zeros((1, 1, 4)), [[-1]])
