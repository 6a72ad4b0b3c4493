"""Figures of what a network answered."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.signals.detections import (
    HIGHEST,
    LOWEST,
    detection_figures,
    logit,
    top_score,
)


def test_boxes_become_counts_and_shares_of_the_image() -> None:
    boxes = [[0, 0, 32, 24], [10, 10, 10, 40], [-64, -48, 64, 48], [630, 470, 700, 500]]
    found = detection_figures(np.array(boxes), np.array([2, 0, 2, 1]), size=(48, 64), class_count=4)
    assert found.detections == 4
    assert found.classes.tolist() == [1, 1, 2, 0]
    # A quarter; no width; all of it, for what lies outside does not count; outside of the image.
    assert found.areas.tolist() == [0.25, 0, 1, 0]
    assert found.mean_area == pytest.approx(0.3125)


def test_an_image_without_boxes_has_figures_but_no_area() -> None:
    found = detection_figures(np.zeros((0, 4)), np.zeros(0), size=(48, 64), class_count=3)
    assert (found.detections, found.classes.tolist(), found.mean_area) == (0, [0, 0, 0], None)


@pytest.mark.parametrize(("ids", "words"), [([3], "outside"), ([-1], "outside"), ([0, 1], "1 box")])
def test_answers_that_do_not_fit_are_refused(ids: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        detection_figures(np.zeros((1, 4)), np.array(ids), size=(1, 1), class_count=3)


def raw(*scores: float) -> np.ndarray:
    answer = np.full((1, 4 + 2, 21), 0.001, np.float32)
    answer[0, :4] = 300  # Coordinates are no scores.
    answer[0, 4, : len(scores)] = scores
    return answer


def test_the_top_score_is_below_the_threshold_too_and_read_from_either_head() -> None:
    assert top_score(raw(0.03, 0.12), suppressed=False) == pytest.approx(logit(0.12), abs=1e-5)
    final = np.zeros((1, 300, 6), np.float32)
    final[0, :2] = [[5, 5, 90, 90, 0.7, 4], [5, 5, 90, 90, 0.4, 61]]
    assert top_score(final, suppressed=True) == pytest.approx(logit(0.7), abs=1e-5)
    assert top_score(final[0], suppressed=True) == top_score(final, suppressed=True)
    assert logit(0.12) < logit(0.25) < logit(0.5) == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (raw(0.0), logit(0.001)),
        (raw(1.0), HIGHEST),
        (np.zeros((1, 6, 21), np.float32), LOWEST),
        (np.zeros((1, 6, 0), np.float32), LOWEST),
        (raw(0.5).astype(np.float16), 0),
        (raw(float("nan")), LOWEST),
    ],
)
def test_the_top_score_is_always_a_finite_number(answer: np.ndarray, expected: float) -> None:
    assert top_score(answer, suppressed=False) == pytest.approx(expected, abs=1e-3)


def test_answers_to_several_images_are_refused() -> None:
    with pytest.raises(ValueError, match="one image"):
        top_score(np.zeros((2, 6, 21)), suppressed=False)
