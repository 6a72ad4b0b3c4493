"""An encoded image becomes pixels: decoded, and turned as its EXIF orientation says.

Runs inside Triton (`__init__.py`): it may import numpy, OpenCV and what lies beside it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re

from modelyard.serving.models import size

MAX_PIXELS = size.MAX_PIXELS
# OpenCV reads it when it is imported. What a header says is checked before (size.py), against less.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from modelyard.serving.models import orientation  # noqa: E402

_DATA_URI = re.compile(rb"^data:image/[a-z.+-]+;base64,")
_SPACE = re.compile(rb"\s+")


class ImageError(ValueError):
    """The request holds no image that can be used; the message says why."""


def image_format(data: bytes) -> str | None:
    """Name of an accepted image format by its first bytes; None for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith(b"BM"):
        return "BMP"
    return None


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The image as uint8 [height, width, 3] in BGR. Raises ImageError, for one of more than
    `max_pixels` before it takes any memory."""
    if not data:
        raise ImageError("IMAGE is empty: send one JPEG, PNG, WebP or BMP file")
    name = image_format(data)
    if name is None:
        data = _from_base64(data)
        name = image_format(data)
    if name is None:
        start = data[:8].hex(" ")
        raise ImageError(
            f"IMAGE ({len(data)} bytes that start with {start}) is not a JPEG, PNG, WebP or BMP "
            "file, nor base64 text of one"
        )
    measured = size.image_size(data)
    if measured is not None and measured[0] * measured[1] > max_pixels:
        raise ImageError(
            f"IMAGE is a {name} file of {measured[0]}x{measured[1]} pixels, more than the "
            f"{max_pixels / 1e6:.1f} megapixels that fit into this server's memory: send a smaller "
            "image, or raise spec.server.resources.memory"
        )
    try:
        # Without a size in its header, nothing says how much memory it would take.
        image: np.ndarray | None = orientation.decode(data) if measured else None
    except cv2.error as error:
        if "pixels" in str(error).lower():
            raise ImageError(
                f"IMAGE is a {name} file of more than {MAX_PIXELS // 1_000_000} megapixels"
            ) from None
        image = None
    if image is None:
        raise ImageError(
            f"IMAGE starts like a {name} file ({len(data)} bytes) but cannot be decoded: it is "
            "damaged or cut off"
        )
    return image


def _from_base64(data: bytes) -> bytes:
    text = _SPACE.sub(b"", _DATA_URI.sub(b"", data))
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return data
