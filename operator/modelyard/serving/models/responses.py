"""The answer to a request of one or several images, as the pipeline's outputs.

boxes    FP32 [M, 4]    x1, y1, x2, y2 in pixels of the image
scores   FP32 [M]       confidence, highest first within an image
classes  INT32 [M]      class ids
labels   BYTES [M]      class names
image    INT32 [M]      which image of the request the box is in, from 0
errors   BYTES [N]      of each image of the request why it has no answer; empty if it has one

Runs inside Triton (`__init__.py`): it may import numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.serving.models.boxes import label


class RequestError(ValueError):
    """The request cannot be answered as it is; the message says why."""


def check_count(images: int, most: int) -> None:
    """Raises RequestError for a request of too many images, or of none."""
    if not 1 <= images <= most:
        raise RequestError(
            f"IMAGE has {images} images, and this server takes 1 to {most} in a request "
            "(spec.server.maxImages)"
        )


@dataclass(frozen=True)
class Found:
    """What was found in one image."""

    boxes: np.ndarray
    """[M, 4], x1, y1, x2, y2 in pixels of the image."""
    scores: np.ndarray
    classes: np.ndarray
    error: str = ""
    """Why there is no answer."""


def failed(error: str) -> Found:
    """An image without an answer."""
    return Found(np.zeros((0, 4)), np.zeros(0), np.zeros(0), error)


def outputs(found: Sequence[Found], names: list[str]) -> dict[str, np.ndarray]:
    """The outputs for the images of one request, in their order; `names` are the classes'."""
    counts = [len(one.scores) for one in found]
    classes = np.concatenate([one.classes for one in found]).astype(np.int32)
    return {
        "boxes": np.concatenate([one.boxes for one in found]).astype(np.float32),
        "scores": np.concatenate([one.scores for one in found]).astype(np.float32),
        "classes": classes,
        "labels": np.array([label(names, one) for one in classes.tolist()], np.object_),
        "image": np.repeat(np.arange(len(found), dtype=np.int32), counts),
        "errors": np.array([one.error for one in found], np.object_),
    }
