"""How doubtful an answer is, and which images look alike. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from modelyard.serving.agreement import matched
from modelyard.workloads.agent.capture.offers import Offered
from modelyard.workloads.agent.capture.strata import KEYS

DOUBTFUL = 0.5
"""Least uncertainty of an image worth keeping for it: a box between 0.25 and 0.75."""
_SIDE = 16
_SAME_BITS = 6
"""Of 256 bits of `look`, so many differ at most between two images of one look."""
SAME_ANSWER = 0.9
"""Least F1 of two answers that count as the same."""


def uncertainty(offered: Offered) -> float:
    """How close the most doubtful confidence is to even odds, from 0 to 1: that of a box, or where
    there is none, the best raw score's."""
    scores = [float(score) for score in offered.scores]
    if not scores and offered.top_score is not None:
        scores = [1 / (1 + math.exp(-max(-30.0, min(30.0, offered.top_score))))]
    return max((1 - abs(2 * score - 1) for score in scores), default=0.0)


def key_of(value: float) -> int:
    """A key that is smaller the larger the value, from 0 to 1."""
    return min(KEYS - 1, int((1 - value) * (1 << 53)) << 11)


def f1(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    other_boxes: np.ndarray,
    other_classes: np.ndarray,
) -> float:
    """F1 of one answer against another, at IoU 0.5; 1 for two answers without boxes."""
    total = len(boxes) + len(other_boxes)
    if not total:
        return 1.0
    return 2 * matched(boxes, scores, classes, other_boxes, other_classes) / total


@dataclass(frozen=True)
class Look:
    """What an image looks like, and what was answered: enough to recognise its like."""

    source: str
    bits: np.ndarray
    """bool [256]: whether each of 16 x 16 cells is brighter than its neighbour (dHash)."""
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, offered: Offered, pixels: np.ndarray) -> Look:
        """Of an image, uint8 BGR."""
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
        bits = (small[:, 1:] > small[:, :-1]).ravel()
        return cls(offered.source, bits, offered.boxes, offered.scores, offered.classes)

    def like(self, other: Look) -> bool:
        """Whether both show the same scene with the same objects."""
        if self.source != other.source or (self.bits ^ other.bits).sum() > _SAME_BITS:
            return False
        answer = f1(self.boxes, self.scores, self.classes, other.boxes, other.classes)
        return answer >= SAME_ANSWER
