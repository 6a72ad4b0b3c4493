"""How an image's EXIF orientation turns it, for every place that decodes images.

Versions of OpenCV differ in which files' orientation they apply: 4.x applies that of JPEG and PNG,
5.0 that of WebP too. So OpenCV is told to apply none, and this is the one rule of the dataset
check, the trainer, the evaluation, the server and the CLI. Runs inside Triton's Python backend too,
beside model.py: it may import numpy and OpenCV, nothing of ours; the CLI has no OpenCV and calls
`orientation` alone.

The orientation is tag 0x0112 of the EXIF data's first directory, a TIFF structure (CIPA DC-008,
EXIF 2.32, 4.6.4 A), which lies in JPEG's APP1 segment, PNG's eXIf chunk and WebP's EXIF chunk. That
of TIFF files is left alone: OpenCV always applies it itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

TAG = 0x0112
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange width and height."""
_SHORT = 3
_START_OF_SCAN, _APP1 = 0xDA, 0xE1
_MAX_SEGMENTS = 1000
"""Segments, chunks or directory entries that are looked at: what a file says costs no more."""


def decode(data: bytes) -> Any:
    """The image as uint8 [height, width, 3] in BGR, turned as its orientation says; None if it
    cannot be decoded. Raises cv2.error for one with too many pixels."""
    import cv2
    import numpy as np

    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return None if image is None else turn(image, orientation(data))


def turn(image: Any, value: int) -> Any:
    """An array [height, width, …] as EXIF orientation `value` (1 to 8) says that it is to be
    seen."""
    import cv2

    if value in SIDEWAYS:
        image = cv2.transpose(image)
    # Horizontally is 1, vertically 0, both -1.
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(value)
    return image if flip is None else cv2.flip(image, flip)


def orientation(data: bytes) -> int:
    """EXIF orientation of a JPEG, PNG or WebP file, 1 to 8; 1 where there is none that can be
    read."""
    if data.startswith(b"\xff\xd8"):
        found = _first(_jpeg(data))
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        found = _first(_png(data))
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        found = _first(_webp(data))
    else:
        return 1
    try:
        return _from_tiff(found)
    except struct.error:
        return 1


def _first(parts: Iterator[bytes]) -> bytes:
    return next(parts, b"")


def _jpeg(data: bytes) -> Iterator[bytes]:
    """EXIF data of APP1 segments before the image itself."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if data[at : at + 1] != b"\xff" or at + 4 > len(data):
            return
        marker, (size,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _START_OF_SCAN:
            return
        if marker == _APP1 and data[at + 4 : at + 10] == b"Exif\0\0":
            yield data[at + 10 : at + 2 + size]
        at += 2 + size


def _png(data: bytes) -> Iterator[bytes]:
    at = 8
    for _ in range(_MAX_SEGMENTS):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"eXIf":
            yield data[at + 8 : at + 8 + size]
        at += 12 + size


def _webp(data: bytes) -> Iterator[bytes]:
    at = 12
    for _ in range(_MAX_SEGMENTS):
        if at + 8 > len(data):
            return
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            found = data[at + 8 : at + 8 + size]
            # Some writers put JPEG's prefix before it.
            yield found.removeprefix(b"Exif\0\0")
        at += 8 + size + size % 2


def _from_tiff(exif: bytes) -> int:
    """Raises struct.error for data that ends early."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    start: int = struct.unpack_from(f"{order}I", exif, 4)[0]
    count: int = struct.unpack_from(f"{order}H", exif, start)[0]
    for number in range(min(count, _MAX_SEGMENTS)):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * number)
        if tag == TAG:
            return int(value) if kind == _SHORT and 1 <= value <= 8 else 1
    return 1
