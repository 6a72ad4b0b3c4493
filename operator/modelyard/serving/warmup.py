"""The synthetic image that warms up a version before users reach it."""

from __future__ import annotations

import struct
import zlib


def grey_png(height: int, width: int) -> bytes:
    """A uniform grey RGB image as PNG (https://www.w3.org/TR/png-3/), without an image
    library."""
    row = b"\0" + b"\x80" * (3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(row * height, 1)),
            (b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
