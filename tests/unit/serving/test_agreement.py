"""Matching two answers for the same image."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.agreement import IOU, iou, matched

Answer = tuple[np.ndarray, np.ndarray, np.ndarray]


def answer(*rows: tuple[float, float, float, float, float, int]) -> Answer:
    """Boxes, scores and classes of rows x1, y1, x2, y2, score, class."""
    values = np.array(rows, np.float32).reshape(-1, 6)
    return values[:, :4], values[:, 4], values[:, 5].astype(np.int32)


def count(one: Answer, other: Answer) -> int:
    return matched(*one, other[0], other[2])


SQUARE = (0, 0, 10, 10)


def test_the_same_answer_matches_fully():
    one = answer((*SQUARE, 0.9, 1), (20, 20, 30, 30, 0.8, 1), (*SQUARE, 0.7, 2))

    assert count(one, one) == 3


def test_boxes_of_other_classes_and_too_little_overlap_do_not_match():
    one = answer((*SQUARE, 0.9, 1))

    assert count(one, answer((*SQUARE, 0.9, 2))) == 0
    # 10 x 5 of 10 x 15 are shared: a third. Then 10 x 7 of 10 x 13: 0.54.
    assert count(one, answer((0, 5, 10, 15, 0.9, 1))) == 0
    assert count(one, answer((0, 3, 10, 13, 0.9, 1))) == 1


def test_half_an_overlap_is_enough():
    assert count(answer((*SQUARE, 0.9, 1)), answer((0, 0, 10, 5, 0.9, 1))) == 1


def test_one_box_matches_one_box():
    twice = answer((*SQUARE, 0.9, 1), (0, 1, 10, 11, 0.8, 1))

    assert count(answer((*SQUARE, 0.5, 1)), twice) == 1
    assert count(twice, answer((*SQUARE, 0.5, 1))) == 1


def test_the_most_confident_box_chooses_first():
    # Both would find a pair if the less confident box took the first of the other answer.
    one = answer((0, 0, 10, 10, 0.4, 1), (0, 2, 10, 12, 0.9, 1))
    other = answer((0, 2, 10, 12, 0.3, 1), (0, 4, 10, 14, 0.9, 1))

    assert count(one, other) == 1


def test_empty_answers_and_empty_boxes_match_nothing():
    nothing, one = answer(), answer((*SQUARE, 0.9, 1))
    point = answer((5, 5, 5, 5, 0.9, 1))

    assert count(nothing, nothing) == count(nothing, one) == count(one, nothing) == 0
    assert count(point, point) == 0


coordinate = st.integers(0, 20)
rows = st.lists(
    st.tuples(
        coordinate, coordinate, st.integers(1, 10), st.integers(1, 10), st.integers(1, 99),
        st.integers(0, 2),
    ),
    max_size=8,
)  # fmt: skip


def made(found: list[tuple[int, int, int, int, int, int]]) -> Answer:
    return answer(*((x, y, x + w, y + h, s / 100, c) for x, y, w, h, s, c in found))


@given(rows, rows)
def test_pairs_are_few_enough_and_exist(first, second):
    one, other = made(first), made(second)

    pairs = count(one, other)

    assert pairs <= min(len(first), len(second))
    same = one[2][:, None] == other[2][None, :]
    possible = (iou(one[0], other[0]) >= IOU) & same
    # Greedy takes a pair wherever one is possible, and at least half of the most that can be.
    assert (pairs > 0) == bool(possible.any())
    assert pairs <= min(possible.any(axis=1).sum(), possible.any(axis=0).sum())


@given(rows)
def test_order_does_not_matter_and_all_of_itself_is_found(found):
    one = made(found)
    order = np.argsort(one[1][::-1], kind="stable")
    shuffled = tuple(part[::-1][order] for part in one)

    assert matched(*one, one[0], one[2]) == len(found)
    assert matched(*shuffled, one[0], one[2]) == len(found)


@given(rows, rows)
def test_overlap_is_symmetric_and_at_most_one(first, second):
    one, other = made(first)[0], made(second)[0]

    values = iou(one, other)

    assert values.shape == (len(first), len(second))
    assert np.array_equal(values, iou(other, one).T)
    assert ((values >= 0) & (values <= 1)).all()
