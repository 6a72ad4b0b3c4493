"""The network's output becomes boxes: scores, classes, suppression.

Selection follows Ultralytics' `predict`: the best class of each candidate, confidence above the
threshold, greedy suppression within each class, at most maxDetections. Runs inside Triton
(`__init__.py`): it may import numpy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

MAX_CANDIDATES = 30_000
"""Most candidates that suppression looks at, the most confident ones."""
CLASS_OFFSET = 7680
"""Pixels that separate the classes' boxes, so that one pass suppresses within each class."""
BLOCK = 128
"""Candidates that are compared with each other at once."""


@dataclass(frozen=True)
class Selection:
    """Which of a network's predictions are boxes."""

    suppressed: bool
    """Whether the network's own rows are final."""
    confidence: float
    iou: float
    limit: int
    """Maximum number of boxes of an image."""

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Selection:
        """From the parameters of a step's configuration."""
        return cls(
            suppressed=json.loads(values["suppressed"]),
            confidence=float(values["confidence"]),
            iou=float(values["iou"]),
            limit=int(values["maxDetections"]),
        )

    def of(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes [N, 4] in pixels of the network's input, scores [N] and class ids [N] of one
        image's predictions, FP32: [boxes, 6] if they are final, else [4 + classes, candidates]."""
        if self.suppressed:
            return select_final(raw, self.confidence, self.limit)
        return select_raw(raw, self.confidence, self.iou, self.limit)


def select_raw(
    raw: np.ndarray, confidence: float, iou: float, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [N, 4], scores [N] and class ids [N] of one image's predictions
    [4 + classes, candidates]; boxes stay in pixels of the network's input."""
    scores = raw[4:].max(axis=0)
    chosen = np.flatnonzero(scores > np.float32(confidence))
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")[:MAX_CANDIDATES]]
    scores = scores[chosen]
    classes = raw[4:, chosen].argmax(axis=0)
    centre, half = raw[:2, chosen].T, raw[2:4, chosen].T / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    offset = (classes * CLASS_OFFSET).astype(np.float32)[:, None]
    kept = suppress(boxes + offset, iou, limit)
    return boxes[kept], scores[kept], classes[kept]


def suppress(boxes: np.ndarray, iou: float, limit: int) -> np.ndarray:
    """Greedy non-maximum suppression of boxes [N, 4] sorted by falling score.

    Returns the indices of at most `limit` boxes, none of which overlaps a better one by an
    intersection over union above `iou`.
    """
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    rest = np.arange(len(boxes))
    kept: list[int] = []
    while rest.size and len(kept) < limit:
        # Block by block: numpy's time is its calls', far from a box's worth of work each.
        block, rest = rest[:BLOCK], rest[BLOCK:]
        overlaps = _overlaps(boxes[block], boxes[block], areas[block], areas[block], iou)
        alive = np.ones(len(block), bool)
        best = []
        for index in range(len(block)):
            if alive[index]:
                best.append(index)
                alive &= ~overlaps[index]
        chosen = block[best][: limit - len(kept)]
        kept.extend(chosen.tolist())
        if rest.size:
            taken = _overlaps(boxes[chosen], boxes[rest], areas[chosen], areas[rest], iou)
            rest = rest[~taken.any(axis=0)]
    return np.array(kept, dtype=np.intp)


def _overlaps(
    one: np.ndarray, other: np.ndarray, area: np.ndarray, areas: np.ndarray, iou: float
) -> np.ndarray:
    """Whether boxes [N, 4] and [M, 4] overlap by more than `iou`; bool [N, M]."""
    # Columns of their own: numpy is three times slower on rows of four.
    left, top, right, bottom = one.T[..., None]
    lefts, tops, rights, bottoms = np.ascontiguousarray(other.T)
    width = np.minimum(right, rights) - np.maximum(left, lefts)
    height = np.minimum(bottom, bottoms) - np.maximum(top, tops)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    # Not a division: empty boxes overlap nothing, and 0/0 would warn.
    return np.asarray(shared > np.float32(iou) * (area[:, None] + areas - shared))


def select_final(
    rows: np.ndarray, confidence: float, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores and class ids of rows [boxes, 6] that need no suppression."""
    kept = rows[rows[:, 4] > np.float32(confidence)][:limit]
    return kept[:, :4], kept[:, 4], kept[:, 5].astype(np.int64)


def relative_areas(boxes: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Each box's share of the image, 0 to 1."""
    sides = boxes[:, 2:] - boxes[:, :2]
    shares: np.ndarray = sides[:, 0] * sides[:, 1] / float(frame[0] * frame[1])
    return shares


def label(names: list[str], class_id: int) -> str:
    """A class's name, or its number where the network knows more classes than the names."""
    return names[class_id] if 0 <= class_id < len(names) else str(class_id)
