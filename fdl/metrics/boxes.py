"""Metrics of detected boxes: `[top, left, bottom, right]` in any one unit."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fdl.arguments import Share, checked


@checked
def box_overlap(first: jax.Array, second: jax.Array) -> jax.Array:
    """Intersection over union of boxes `[..., N, 4]` with boxes `[..., M, 4]`: `[..., N, M]`.

    Boxes without area overlap nothing: 0.

    Example:
      >>> box, half = jnp.array([[0.0, 0.0, 2.0, 2.0]]), jnp.array([[0.0, 0.0, 1.0, 2.0]])
      >>> fdl.metrics.box_overlap(box, half).tolist()
      [[0.5]]
    """
    a, b = first[..., :, None, :], second[..., None, :, :]
    sides = jnp.minimum(a[..., 2:], b[..., 2:]) - jnp.maximum(a[..., :2], b[..., :2])
    shared = jnp.prod(jnp.maximum(sides, 0), axis=-1)
    areas = (jnp.prod(jnp.maximum(box[..., 2:] - box[..., :2], 0), axis=-1) for box in (a, b))
    union = sum(areas, -shared)
    return jnp.where(shared > 0, shared / jnp.where(shared > 0, union, 1), 0)


@checked
def mean_average_precision(
    boxes: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike,
    true_boxes: ArrayLike,
    true_labels: ArrayLike,
    *,
    iou: Share[float] = 0.5,
) -> float:
    """The mean over classes of the area under the curve of precision over recall, on the host.

    Everingham et al. 2015, The Pascal Visual Object Classes Challenge: A Retrospective, sec. 3.2, with
    the area under all points (precision made to fall with recall). Detections are taken by falling
    score, equal ones in their order; each takes, of the boxes of its image and class that are left, the
    one that it overlaps most, if by `iou` or more, else it is false.

    Args:
      boxes: detected, `[N, K, 4]`.
      scores: `[N, K]`; higher is surer.
      labels: classes, `[N, K]`; negative where there is no detection.
      true_boxes: `[N, M, 4]`.
      true_labels: `[N, M]`; negative where there is no box.
      iou: the least overlap that counts; a mean over 0.5, 0.55, ..., 0.95 is the COCO challenge's idea.

    Returns:
      0 to 1, over the classes that are among the true labels.

    Raises:
      ValueError: shapes that do not fit, or no true box.

    Example:
      >>> box = [[[0, 0, 2, 2]]]
      >>> fdl.metrics.mean_average_precision(box, [[0.9]], [[1]], box, [[1]])
      1.0
    """
    found, score, label = np.asarray(boxes, np.float32), np.asarray(scores), np.asarray(labels)
    true, wanted = np.asarray(true_boxes, np.float32), np.asarray(true_labels)
    shapes = [found.shape, score.shape, label.shape, true.shape, wanted.shape]
    images = {shape[:1] for shape in shapes}
    if found.shape != (*score.shape, 4) or label.shape != score.shape or true.shape != (*wanted.shape, 4):
        raise ValueError(
            f"shapes are {[list(s) for s in shapes]}; expected [N, K, 4], [N, K], [N, K], [N, M, 4], [N, M]"
        )
    if len(images) > 1 or score.ndim != 2 or not (wanted >= 0).any():
        raise ValueError(
            f"shapes are {[list(s) for s in shapes]}, with {int((wanted >= 0).sum())} true boxes; expected "
            "as many images in each, and at least one true box"
        )
    overlaps = np.asarray(box_overlap(jnp.asarray(found), jnp.asarray(true)))
    classes = np.unique(wanted[wanted >= 0])
    areas = [_average_precision(overlaps, score, label == c, wanted == c, iou) for c in classes]
    return float(np.mean(areas))


def _average_precision(
    overlaps: np.ndarray, scores: np.ndarray, found: np.ndarray, wanted: np.ndarray, iou: float
) -> float:
    """Of one class: overlaps `[N, K, M]`, which detections `[N, K]` and true boxes `[N, M]` are of it."""
    image, place = np.nonzero(found)
    order = np.argsort(-scores[image, place], kind="stable")
    left, right = wanted.copy(), np.zeros(len(order), bool)
    for rank, (n, k) in enumerate(zip(image[order], place[order], strict=True)):
        candidates = np.where(left[n], overlaps[n, k], -1.0)
        best = int(np.argmax(candidates))
        if candidates[best] >= iou:
            left[n, best], right[rank] = False, True
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(order) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]  # the best at this recall or a higher one
    return float(np.sum(highest[right]) / wanted.sum())
