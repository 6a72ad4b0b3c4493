"""Pixels of the image and of the network's input: letterboxing, and the way back for boxes.

As Ultralytics does for `predict(rect=False)`, with OpenCV's own bilinear scaling, so that boxes
agree to the pixel. Runs inside Triton (`__init__.py`): it may import numpy and OpenCV.
"""

from __future__ import annotations

import cv2
import numpy as np

PADDING = 114
"""Grey value of the border, as in training."""


def letterbox(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image scaled to fit, centred on grey; uint8 [height, width, 3]."""
    rows, columns = image.shape[:2]
    gain = min(height / rows, width / columns)
    new_rows, new_columns = max(round(rows * gain), 1), max(round(columns * gain), 1)
    if (new_rows, new_columns) != (rows, columns):
        image = cv2.resize(image, (new_columns, new_rows), interpolation=cv2.INTER_LINEAR)
    # An odd border has its extra pixel below and to the right.
    top, left = round((height - new_rows) / 2 - 0.1), round((width - new_columns) / 2 - 0.1)
    canvas = np.full((height, width, 3), PADDING, np.uint8)
    canvas[top : top + new_rows, left : left + new_columns] = image
    return canvas


def to_tensor(image: np.ndarray, dtype: type) -> np.ndarray:
    """BGR uint8 [height, width, 3] to RGB 0 to 1 [1, 3, height, width]."""
    tensor = np.empty((1, 3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(reversed(cv2.split(image))):
        np.divide(plane, np.float32(255), out=tensor[0, channel])
    return tensor.astype(dtype, copy=False)


def to_image(boxes: np.ndarray, network: tuple[int, int], frame: tuple[int, int]) -> np.ndarray:
    """Boxes [N, 4] from pixels of the letterboxed input to pixels of the image, cut at its
    borders. Sizes are height and width; the inverse of `letterbox`."""
    gain = min(network[0] / frame[0], network[1] / frame[1])
    rows, columns = (max(round(size * gain), 1) for size in frame)
    top, left = round((network[0] - rows) / 2 - 0.1), round((network[1] - columns) / 2 - 0.1)
    shift = np.array([left, top, left, top], np.float32)
    scale = np.array([columns / frame[1], rows / frame[0]] * 2, np.float32)
    bounds = np.array([frame[1], frame[0]] * 2, np.float32)
    clipped: np.ndarray = np.clip((boxes - shift) / scale, 0, bounds).astype(np.float32)
    return clipped
