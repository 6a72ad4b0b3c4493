"""Figures of an image's pixels: brightness, contrast, sharpness, colourfulness, blank, layout.

They are computed on every n-th pixel (at most about 160 a side), in about a millisecond, so that
they cost a request nothing noticeable. Sharpness depends on the size of the image: compare within a
source only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 160
"""Pixels a side that are looked at, about."""
CELLS = 8
BLANK_CONTRAST = 0.012
"""Standard deviation of luminance (0 to 1) below which an image shows nothing: about 3 of 255,
the noise of a covered sensor."""


@dataclass(frozen=True)
class ImageFigures:
    """Of one image."""

    brightness: float
    """Mean luminance, 0 to 1."""
    contrast: float
    """Standard deviation of luminance, 0 to 0.5."""
    sharpness: float
    """log10 of the variance of the Laplacian of luminance in 0 to 255 (Pech-Pacheco et al.,
    2000)."""
    colourfulness: float
    """Hasler & Süsstrunk, "Measuring colourfulness in natural images", 2003; 0 (grey) to about
    110."""
    blank: bool
    layout: tuple[float, ...]
    """Mean luminance of 8 × 8 cells, row by row, 0 to 1."""


def measure(image: np.ndarray) -> ImageFigures:
    """Figures of a [height, width, 3] uint8 image in RGB order; of any size from 1 × 1."""
    height, width = image.shape[:2]
    stride = max(min(height, width) // SIDE, 1)
    small = image[::stride, ::stride].astype(np.float32)
    red, green, blue = small[..., 0], small[..., 1], small[..., 2]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    contrast = float(grey.std()) / 255
    return ImageFigures(
        brightness=float(grey.mean()) / 255,
        contrast=contrast,
        sharpness=_sharpness(grey),
        colourfulness=_colourfulness(red, green, blue),
        blank=contrast < BLANK_CONTRAST,
        layout=_layout(grey),
    )


def _sharpness(grey: np.ndarray) -> float:
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(np.log10(laplacian.var() + 1e-3))


def _colourfulness(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> float:
    first, second = red - green, (red + green) / 2 - blue
    spread = np.hypot(first.std(), second.std())
    return float(spread + 0.3 * np.hypot(first.mean(), second.mean()))


def _layout(grey: np.ndarray) -> tuple[float, ...]:
    rows = np.array_split(np.arange(grey.shape[0]), CELLS)
    columns = np.array_split(np.arange(grey.shape[1]), CELLS)
    if min(grey.shape) < CELLS:
        return ()
    return tuple(
        round(float(grey[r[0] : r[-1] + 1, c[0] : c[-1] + 1].mean()) / 255, 4)
        for r in rows
        for c in columns
    )
