"""Agreement of two versions: the number of boxes for one image that show the same object."""

from __future__ import annotations

import numpy as np

IOU = 0.5
"""Minimum IoU of two boxes of the same object, as in mAP50."""


def matched(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    other_boxes: np.ndarray,
    other_classes: np.ndarray,
) -> int:
    """Number of pairs of one box of each answer with the same class and an intersection over
    union of at least IOU; each box is in one pair at most.

    Boxes [N, 4] and [M, 4] are x1, y1, x2, y2. The most confident box of the first answer chooses
    first, and takes the free box that it overlaps most.
    """
    overlaps = iou(boxes, other_boxes)
    overlaps[classes[:, None] != other_classes[None, :]] = 0
    count = 0
    for row in np.argsort(-scores, kind="stable"):
        if not overlaps.shape[1]:
            break
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= IOU:
            overlaps[:, best] = 0
            count += 1
    return count


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each of [N, 4] with each of [M, 4] boxes, as [N, M]; 0 for two
    empty boxes."""
    one, two = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=-1)
    union = (one[..., 2:] - one[..., :2]).prod(axis=-1) + (two[..., 2:] - two[..., :2]).prod(-1)
    union = union - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
