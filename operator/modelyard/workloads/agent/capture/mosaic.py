"""Regions of an image become coarse mosaics.

Not blur: blur can be undone where its kernel is known, and it hurts detectors more
(argoverse-api#162). A region keeps at most CELLS mean colours along its longer side.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

MARGIN = 0.2
"""Of a box's sides, added on each side."""
LEAST_MARGIN = 6
"""In pixels."""
CELLS = 6
"""Cells along a region's longer side, at most."""
LEAST_CELL = 8
"""Smallest side of a cell in pixels."""

Region = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels; x2 and y2 are outside."""


def regions(boxes: np.ndarray, height: int, width: int) -> list[Region]:
    """Boxes [N, 4] with their margin, in whole pixels of the image; empty ones are left out."""
    found: list[Region] = []
    for x1, y1, x2, y2 in np.asarray(boxes, np.float64).reshape(-1, 4):
        if not np.isfinite([x1, y1, x2, y2]).all():
            continue
        across = max(LEAST_MARGIN, MARGIN * (x2 - x1))
        down = max(LEAST_MARGIN, MARGIN * (y2 - y1))
        left, top = max(0, int(x1 - across)), max(0, int(y1 - down))
        right, bottom = min(width, int(np.ceil(x2 + across))), min(height, int(np.ceil(y2 + down)))
        if left < right and top < bottom:
            found.append((left, top, right, bottom))
    return found


def pixelate(image: np.ndarray, found: Iterable[Region]) -> np.ndarray:
    """A copy of an image, uint8 [height, width, 3], with its regions as mosaics."""
    result = image.copy()
    for x1, y1, x2, y2 in found:
        longer = max(x2 - x1, y2 - y1)
        cell = max(LEAST_CELL, -(-longer // CELLS))
        for top in range(y1, y2, cell):
            for left in range(x1, x2, cell):
                part = result[top : min(top + cell, y2), left : min(left + cell, x2)]
                part[:] = part.reshape(-1, part.shape[2]).mean(axis=0).round()
    return result
