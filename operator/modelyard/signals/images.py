"""How an image looks, and what its scene is made of, from its pixels alone.

Each image is first reduced to a square of SIDE pixels, whatever its size and shape: so figures
cost the same for every camera, hardly depend on its resolution, and noise of single pixels is
averaged out of large images. They are compared between images of one source, so it does not
matter that a wide image is squeezed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 256
"""Side in pixels of the reduced image."""
CELLS = 8
"""Cells along each side of a layout."""
ORIENTATIONS = 8
"""Orientations of edges that a layout tells apart, of 180 degrees."""
LAYOUT = CELLS * CELLS * ORIENTATIONS
"""Length of a layout."""

_BLANK_BLOCKS = 32
"""Blocks along each side whose means show whether there is anything to see."""
_BLANK_RANGE = 8.0
"""A blank image's blocks differ by less than this, of 255: what a covered lens, darkness or an
unplugged sensor give, noise included. An object of a thirtieth of the image's side is seen."""
_LAYOUT_SIDE = 128


@dataclass(frozen=True)
class ImageFigures:
    """How one image looks. Luma is Y' of ITU-R BT.601, 0 to 255."""

    brightness: float
    """Mean luma, as a share of white: 0 to 1."""
    contrast: float
    """Standard deviation of luma, as a share of white: 0 to 0.5."""
    sharpness: float
    """ln(1 + variance of the Laplacian of luma), so that equal blur is an equal difference.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    colourfulness: float
    """0 for grey; 15 is slight, 59 strong, 109 extreme.

    Source: Hasler and Süsstrunk, Measuring colourfulness in natural images, SPIE 5007, 2003.
    """
    blank: bool
    """Nothing is to be seen: darkness, a covered lens, one colour all over."""


def image_figures(image: NDArray[Any]) -> ImageFigures:
    """Figures of a decoded image, uint8 [height, width, 3] in BGR.

    Raises ValueError for another type or shape.
    """
    reduced = reduce(image)
    luma = _luma(reduced)
    return ImageFigures(
        brightness=float(luma.mean()) / 255,
        contrast=float(luma.std()) / 255,
        sharpness=float(np.log1p(cv2.Laplacian(luma, cv2.CV_32F).var())),
        colourfulness=_colourfulness(reduced),
        blank=_blank(luma),
    )


def layout(image: NDArray[Any]) -> NDArray[np.float32]:
    """The coarse layout of the scene: float32 [LAYOUT], of length 1, or 0 for a blank image.

    Energy of edges by cell and orientation (as Dalal and Triggs' histograms of oriented gradients,
    CVPR 2005, at one coarse scale). Light and contrast change it little, a camera that was turned
    changes it much. Average it over many images first (`mean_layout`): what moves goes, what
    stands stays.
    Raises ValueError for another type or shape than uint8 [height, width, 3].
    """
    luma = _luma(reduce(image))
    if _blank(luma):
        return np.zeros(LAYOUT, np.float32)
    small = cv2.GaussianBlur(
        cv2.resize(luma, (_LAYOUT_SIDE, _LAYOUT_SIDE), interpolation=cv2.INTER_AREA), (5, 5), 0
    )
    dx = cv2.Sobel(small, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(small, cv2.CV_32F, 0, 1)
    energy, angle = cv2.cartToPolar(dx, dy)
    # An edge from dark to bright and one from bright to dark are one orientation.
    orientation = (angle * (ORIENTATIONS / np.pi)).astype(np.int32) % ORIENTATIONS
    cell = np.arange(_LAYOUT_SIDE) // (_LAYOUT_SIDE // CELLS)
    bins = (cell[:, None] * CELLS + cell[None, :]) * ORIENTATIONS + orientation
    sums = np.bincount(bins.ravel(), weights=energy.ravel(), minlength=LAYOUT)
    # Square roots: one hard edge does not outweigh all the rest of the scene.
    return _unit(np.sqrt(sums))


def mean_layout(layouts: NDArray[Any]) -> NDArray[np.float32]:
    """The layout of a scene from those of its images, [images, LAYOUT]."""
    return _unit(np.asarray(layouts, dtype=np.float64).reshape(-1, LAYOUT).sum(axis=0))


def layout_similarity(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Cosine of two layouts, 0 to 1: near 1 for one scene. 0 if either is blank."""
    return float(np.clip(np.dot(one.astype(np.float64), other.astype(np.float64)), 0, 1))


def reduce(image: NDArray[Any]) -> NDArray[np.uint8]:
    """The image as uint8 [SIDE, SIDE, 3]. Raises ValueError unless it is uint8 [h, w, 3]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"{image.dtype} {list(image.shape)} is no image of uint8 [h, w, 3]")
    small: Any = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cast("NDArray[np.uint8]", small)


def _luma(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    luma: NDArray[np.float32] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return luma


def _blank(luma: NDArray[np.float32]) -> bool:
    blocks = cv2.resize(luma, (_BLANK_BLOCKS, _BLANK_BLOCKS), interpolation=cv2.INTER_AREA)
    return bool(blocks.max() - blocks.min() < _BLANK_RANGE)


def _colourfulness(image: NDArray[np.uint8]) -> float:
    blue, green, red = (image[:, :, i].astype(np.float32) for i in range(3))
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def _unit(values: NDArray[Any]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(values))
    scaled: NDArray[np.float32] = (values / length if length > 0 else values).astype(np.float32)
    return scaled
