"""Images as all of the chain reads them: dataset check, training, evaluation and, in Triton, the
first step of the pipeline.

They share the decoder (`serving/models/orientation.py`) and the release line of OpenCV
(pyproject.toml: opencv-python-headless; images/triton/requirements.txt), so that an image that was
checked is trained on, and looks the same when it is served. `environment.load` puts `imread` and
`check_image` in the place of Ultralytics' own.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from modelyard.serving.models import orientation

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "JPEG2000")
"""Formats of images in datasets, by Pillow's names. A file's content counts, not its name."""


def decode(data: bytes) -> Any:
    """The image as uint8 [height, width, 3] in BGR, upright; None if OpenCV cannot decode it."""
    import cv2

    try:
        return orientation.decode(data)
    except cv2.error:
        return None


def imread(filename: str | Path, flags: int | None = None) -> Any:
    """In the place of `ultralytics.utils.patches.imread`: the same for three channels. Raises
    ValueError for other ones, which no dataset here has."""
    import cv2

    if flags not in (None, cv2.IMREAD_COLOR):
        raise ValueError(f"{filename}: only images with three channels are read")
    try:
        return decode(Path(filename).read_bytes())
    except OSError:
        return None


def check_image(filename: str | Path) -> tuple[str, tuple[int, int]]:
    """In the place of `ultralytics.data.utils.check_image`: nothing to say, and (height, width).

    The Dataset has checked these very bytes. Ultralytics' own check goes by other rules, leaves
    out what it does not like without an error, and writes some JPEG files anew. Only the header is
    read, but for TIFF, whose orientation OpenCV applies.
    Raises OSError, or ValueError, for a file that is no image.
    """
    from PIL import Image

    data = Path(filename).read_bytes()
    with Image.open(io.BytesIO(data)) as header:
        kind, (width, height) = header.format, header.size
    if kind == "TIFF":
        image = decode(data)
        if image is None:
            raise ValueError(f"{filename} cannot be decoded")
        height, width = image.shape[:2]
    elif orientation.orientation(data) in orientation.SIDEWAYS:
        width, height = height, width
    return "", (int(height), int(width))
