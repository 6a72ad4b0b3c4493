"""Boxes are compared with labels as a person would: right place, right class, one for one."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard_local.demo.agreement import Scene, iou, matched

LABELS = Scene("a", b"", np.array([[0, 0, 10, 10], [20, 20, 30, 30]], float), np.array([3, 4]))


@pytest.mark.parametrize(
    ("boxes", "classes", "found"),
    [
        pytest.param([[0, 0, 10, 10], [20, 20, 30, 30]], [3, 4], 2, id="all"),
        pytest.param([[0, 0, 10, 10], [20, 20, 30, 30]], [4, 3], 0, id="wrong classes"),
        pytest.param([[6, 6, 16, 16]], [3], 0, id="too far off"),
        pytest.param([[0, 1, 10, 11], [0, 0, 10, 10]], [3, 3], 1, id="one label, one box"),
        pytest.param(np.zeros((0, 4)), [], 0, id="nothing"),
    ],
)
def test_labels_found(boxes: list[list[float]], classes: list[int], found: int) -> None:
    assert matched(LABELS, np.array(boxes, float), np.array(classes)) == (found, 2)


def test_iou_of_half_overlapping_boxes() -> None:
    assert iou(np.array([0, 0, 10, 10]), np.array([5, 0, 15, 10])) == pytest.approx(1 / 3)
