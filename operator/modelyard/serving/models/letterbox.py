"""Pixels of the image and of the network's input: letterboxing, and the way back for boxes.

As Ultralytics does for `predict(rect=False)`, with OpenCV's own bilinear scaling, so that boxes
agree to the pixel. Runs inside Triton (`__init__.py`): it may import numpy and OpenCV.
"""

from __future__ import annotations

import cv2
import numpy as np

PADDING = 114
"""Grey value of the border, as in training."""


def placement(frame: tuple[int, int], network: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where an image lies in the network's input: its rows and columns there, and the rows above
    and columns left of it. Sizes are height and width."""
    gain = min(network[0] / frame[0], network[1] / frame[1])
    rows, columns = (max(round(size * gain), 1) for size in frame)
    # An odd border has its extra pixel below and to the right.
    top, left = round((network[0] - rows) / 2 - 0.1), round((network[1] - columns) / 2 - 0.1)
    return rows, columns, top, left


def letterbox(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image scaled to fit, centred on grey; uint8 [height, width, 3]."""
    rows, columns, top, left = placement(_size(image), (height, width))
    canvas = np.full((height, width, 3), PADDING, np.uint8)
    canvas[top : top + rows, left : left + columns] = _scaled(image, rows, columns)
    return canvas


def to_tensor(image: np.ndarray, dtype: type) -> np.ndarray:
    """BGR uint8 [height, width, 3] to RGB 0 to 1 [1, 3, height, width]."""
    tensor = np.empty((1, 3, *image.shape[:2]), np.float32)
    _planes_into(tensor[0], image)
    return tensor.astype(dtype, copy=False)


class Canvas:
    """One network input that images are drawn into one after another: `to_tensor` of `letterbox`
    without a further array, and its border only drawn where it changes."""

    def __init__(self, height: int, width: int, dtype: type) -> None:
        self.tensor: np.ndarray = np.empty((1, 3, height, width), dtype)
        """RGB, 0 to 1."""
        self._drawn: tuple[int, int, int, int] | None = None

    def draw(self, image: np.ndarray) -> None:
        """Makes `tensor` that of a BGR image, uint8 [rows, columns, 3]."""
        place = placement(_size(image), self.tensor.shape[2:])
        if place != self._drawn:
            self.tensor.fill(np.float32(PADDING) / np.float32(255))
            self._drawn = place
        rows, columns, top, left = place
        inner = self.tensor[0, :, top : top + rows, left : left + columns]
        _planes_into(inner, _scaled(image, rows, columns))


def to_image(boxes: np.ndarray, network: tuple[int, int], frame: tuple[int, int]) -> np.ndarray:
    """Boxes [N, 4] from pixels of the letterboxed input to pixels of the image, cut at its
    borders. Sizes are height and width; the inverse of `letterbox`."""
    rows, columns, top, left = placement(frame, network)
    shift = np.array([left, top, left, top], np.float32)
    scale = np.array([columns / frame[1], rows / frame[0]] * 2, np.float32)
    bounds = np.array([frame[1], frame[0]] * 2, np.float32)
    clipped: np.ndarray = np.clip((boxes - shift) / scale, 0, bounds).astype(np.float32)
    return clipped


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _scaled(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    if (rows, columns) == _size(image):
        return image
    scaled: np.ndarray = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return scaled


def _planes_into(tensor: np.ndarray, image: np.ndarray) -> None:
    """BGR uint8 [rows, columns, 3] as RGB 0 to 1 into [3, rows, columns]."""
    # Planes of their own first: numpy is twice as quick on them.
    for channel, plane in enumerate(reversed(cv2.split(image))):
        np.divide(plane, np.float32(255), out=tensor[channel])
