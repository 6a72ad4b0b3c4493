"""The pipeline's last step, outside Triton."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.models import boxes as step
from modelyard.serving.models import letterbox as fitting


def raw(*rows: tuple[float, float, float, float, list[float]]) -> np.ndarray:
    """Predictions from corners and class scores."""
    columns = [
        [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, *scores] for x1, y1, x2, y2, scores in rows
    ]
    return np.array(columns, np.float32).T


def test_only_confident_candidates_with_their_best_class():
    found = raw((0, 0, 10, 10, [0.1, 0.3]), (20, 0, 30, 10, [0.25, 0.2]), (40, 0, 50, 9, [0.9, 0]))

    boxes, scores, classes = step.select_raw(found, 0.25, 0.5, 300)

    assert boxes.tolist() == [[40, 0, 50, 9], [0, 0, 10, 10]]
    assert scores == pytest.approx([0.9, 0.3])
    assert classes.tolist() == [0, 1]


def test_a_weaker_box_of_the_same_class_is_dropped_and_of_another_kept():
    found = raw(
        (0, 0, 10, 10, [0.6, 0]), (0, 0, 10, 9, [0.8, 0]), (0, 0, 10, 10, [0, 0.5])
    )  # fmt: skip

    boxes, scores, classes = step.select_raw(found, 0.25, 0.5, 300)

    assert scores == pytest.approx([0.8, 0.5])
    assert classes.tolist() == [0, 1]
    assert boxes[0].tolist() == [0, 0, 10, 9]


def test_overlap_at_the_threshold_is_kept():
    # Intersection 50, union 100: exactly 0.5.
    found = raw((0, 0, 10, 10, [0.9]), (0, 0, 10, 5, [0.8]))

    assert len(step.select_raw(found, 0.1, 0.5, 300)[0]) == 2
    assert len(step.select_raw(found, 0.1, 0.49, 300)[0]) == 1


def test_no_more_than_the_limit():
    found = raw(*((20 * i, 0, 20 * i + 10, 10, [0.9 - i / 100]) for i in range(20)))

    boxes, scores, _ = step.select_raw(found, 0.1, 0.5, 3)

    assert scores == pytest.approx([0.9, 0.89, 0.88])
    assert boxes[:, 0].tolist() == [0, 20, 40]


def test_nothing_found():
    boxes, scores, classes = step.select_raw(raw((0, 0, 1, 1, [0.1])), 0.5, 0.5, 10)

    assert boxes.shape == (0, 4)
    assert scores.shape == classes.shape == (0,)
    assert fitting.to_image(boxes, (64, 64), (10, 10)).shape == (0, 4)


def test_final_rows_are_only_filtered():
    rows = np.array([[0, 0, 9, 9, 0.9, 2], [0, 0, 9, 9, 0.8, 2], [0] * 6], np.float32)

    boxes, _, classes = step.select_final(rows, 0.25, 300)

    assert len(boxes) == 2
    assert classes.tolist() == [2, 2]
    assert step.select_final(rows, 0.25, 1)[1] == pytest.approx([0.9])


boxes_strategy = st.lists(
    st.tuples(
        st.integers(0, 40), st.integers(0, 40), st.integers(1, 24), st.integers(1, 24),
        st.integers(0, 2),
    ),
    max_size=25,
)  # fmt: skip


@given(boxes_strategy, st.sampled_from([0.3, 0.5, 0.7]))
def test_suppression_agrees_with_the_definition(rows, iou):
    """A box stays exactly if it overlaps no better one of its class that stays."""
    found = [(x, y, x + w, y + h, c) for x, y, w, h, c in rows]
    scores = [0.99 - i / 100 for i in range(len(found))]
    columns = [
        (*box[:4], [s if box[4] == k else 0 for k in range(3)])
        for box, s in zip(found, scores, strict=True)
    ]
    wanted: list[int] = []
    for i, box in enumerate(found):
        if all(found[j][4] != box[4] or overlap(found[j], box) <= iou for j in wanted):
            wanted.append(i)

    result = step.select_raw(raw(*columns), 0.1, iou, 300)[1] if columns else np.array([])

    assert result == pytest.approx([scores[i] for i in wanted])


def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@given(st.integers(1, 700), st.integers(1, 700))
def test_boxes_come_back_to_where_letterbox_took_them_from(height, width):
    """The marked image area in the input is the whole image in the answer."""
    boxed = fitting.letterbox(np.full((height, width, 3), 255, np.uint8), 96, 64)
    inside = np.argwhere(boxed[..., 0] == 255)
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0) + 1

    back = fitting.to_image(
        np.array([[left, top, right, bottom]], np.float32), (96, 64), (height, width)
    )

    assert back[0] == pytest.approx([0, 0, width, height], abs=1e-2)


def test_boxes_are_cut_at_the_borders_of_the_image():
    back = fitting.to_image(np.array([[-50, -50, 200, 200]], np.float32), (64, 64), (32, 64))

    assert back.tolist() == [[0, 0, 64, 32]]


def test_areas_are_shares_of_the_image():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 20, 10]], np.float32)

    assert step.relative_areas(boxes, (10, 20)) == pytest.approx([0.5, 1])


def test_labels_beyond_the_names_are_numbers():
    assert step.label(["a", "b"], 1) == "b"
    assert step.label(["a", "b"], 2) == "2"
