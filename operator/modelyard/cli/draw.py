"""Draws detections into an image: `modelyard predict --out` and the demo.

Pillow is imported on use, since it is slow to import and most commands do not need it.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.cli.errors import CliError
from modelyard.cli.inference import Detection
from modelyard.serving.models.orientation import orientation

if TYPE_CHECKING:
    from PIL import Image, ImageFont

_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""EXIF orientation → Pillow's Image.Transpose."""
_GOLDEN_RATIO = 0.618033988749895
_SMALLEST_SIDE = 512
"""Smaller images are enlarged, so that labels do not cover their boxes."""


def draw(image: bytes, detections: Iterable[Detection]) -> Image.Image:
    """The image with a box, label and score for each detection.

    An image whose longer side is under 512 pixels is enlarged by a whole factor. Raises CliError
    if the bytes are not an image.
    """
    from PIL import Image, ImageDraw, UnidentifiedImageError

    try:
        # Boxes refer to the image as the server turns it.
        picture = Image.open(io.BytesIO(image)).convert("RGB")
        turned = _TURNS.get(orientation(image))
        if turned is not None:
            picture = picture.transpose(Image.Transpose(turned))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise CliError(f"the image cannot be read: {error}") from error
    factor = max(1, -(-_SMALLEST_SIDE // max(picture.size)))
    if factor > 1:
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(picture)
    line = max(2, round(max(picture.size) / 400))
    font = _font(max(12, round(max(picture.size) / 45)))
    # The most confident last, on top.
    for one in sorted(detections, key=lambda d: d.score):
        color = class_color(one.class_id)
        corners = tuple(value * factor for value in (one.x1, one.y1, one.x2, one.y2))
        pen.rectangle(corners, outline=color, width=line)
        _label(pen, f"{one.label} {one.score:.2f}", corners, color, font)
    return picture


def save(picture: Image.Image, path: Path) -> None:
    """Writes the image in the format of the file name's suffix. Raises CliError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except ValueError as error:
        raise CliError(f"{path}: unknown image format; end the name in .png or .jpg") from error
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror or error}") from error


def class_color(class_id: int) -> tuple[int, int, int]:
    """A class's colour; hues a golden ratio apart stay distinct for any number of classes."""
    hue = (class_id * _GOLDEN_RATIO) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def _label(
    pen: object,
    text: str,
    corners: tuple[float, ...],
    color: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    from PIL import ImageDraw

    assert isinstance(pen, ImageDraw.ImageDraw)
    left, _, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom + 4
    x, y = corners[0], corners[1] - height
    if y < 0:  # No space above the box: draw inside it.
        y = corners[1]
    x = max(0, min(x, pen.im.size[0] - width))
    pen.rectangle((x, y, x + width, y + height), fill=color)
    bright = sum(c * w for c, w in zip(color, (0.299, 0.587, 0.114), strict=True)) > 140
    pen.text((x + 2, y + 2), text, fill="black" if bright else "white", font=font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
