"""What a network answered to one image, as a few figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EDGE = 1e-6
"""Scores are kept this far from 0 and 1, where the logit has no bound."""
LOWEST, HIGHEST = float(np.log(EDGE / (1 - EDGE))), float(np.log((1 - EDGE) / EDGE))
"""Bounds of a top score, about -13.8 and 13.8."""


@dataclass(frozen=True)
class DetectionFigures:
    """The boxes of one image, after threshold and suppression."""

    detections: int
    """Number of boxes."""
    classes: NDArray[np.int64]
    """Number of boxes of each class, [classes]."""
    areas: NDArray[np.float64]
    """Area of each box as a share of the image's, [boxes], each 0 to 1."""

    @property
    def mean_area(self) -> float | None:
        """Mean area of the boxes; None without boxes."""
        return float(self.areas.mean()) if len(self.areas) else None


def detection_figures(
    boxes: NDArray[Any], classes: NDArray[Any], *, size: tuple[float, float], class_count: int
) -> DetectionFigures:
    """Figures of boxes [n, 4] (x1, y1, x2, y2) with class ids [n] in an image of `size` (height,
    width), in the units of the boxes.

    Raises ValueError for a class id outside of 0 to `class_count` - 1, or arrays that do not fit.
    """
    ids = np.asarray(classes).reshape(-1).astype(np.int64)
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if len(ids) != len(corners):
        raise ValueError(f"{len(corners)} boxes have {len(ids)} classes")
    if len(ids) and not (ids.min() >= 0 and ids.max() < class_count):
        raise ValueError(f"a box has a class outside of 0 to {class_count - 1}")
    height, width = size
    # What lies outside of the image shows nothing.
    within = np.clip(corners / (width, height, width, height), 0, 1)
    sides = np.maximum(within[:, 2:] - within[:, :2], 0)
    return DetectionFigures(
        detections=len(ids),
        classes=np.bincount(ids, minlength=class_count),
        areas=sides[:, 0] * sides[:, 1],
    )


def top_score(raw: NDArray[Any], *, suppressed: bool) -> float:
    """The best score that the network gave to anything in one image, before any threshold, as a
    logit within LOWEST and HIGHEST. So it is defined without boxes too, and not cut at the
    confidence threshold.

    `raw` is the network's first output for one image, with or without a batch axis of 1: [4 +
    classes, candidates], or [boxes, 6] of final boxes if `suppressed`
    (contract.manifest.ArtifactManifest). Without candidates it is LOWEST.
    Raises ValueError for another shape.
    """
    answer = raw[0] if raw.ndim == 3 and raw.shape[0] == 1 else raw
    if answer.ndim != 2:
        raise ValueError(f"{list(raw.shape)} is not the answer to one image")
    scores = answer[:, 4] if suppressed else answer[4:]
    return logit(float(scores.max(initial=0)))


def logit(score: float) -> float:
    """ln(p / (1 - p)), kept within LOWEST and HIGHEST; that of NaN is LOWEST."""
    p = min(max(score, EDGE), 1 - EDGE) if score == score else EDGE  # noqa: PLR0124
    return float(np.log(p / (1 - p)))
