"""How large an encoded image is, by its header alone, and how large one may be.

A file of 12 kB can decode to gigabytes, so its header is read before anything is decoded. Runs
inside Triton's Python backend beside model.py, and where datasets are checked: it imports nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MAX_PIXELS = 100_000_000
"""Pixels of an image, however much memory there is."""
ALWAYS_PIXELS = 3840 * 2160
"""Pixels that are always accepted: what a 4K camera sends."""
BYTES_PER_PIXEL = 12
"""Memory that decoding takes at most: the coefficients of a progressive JPEG (6), the decoded image
(3), and the turned one (3)."""
MEMORY_SHARE = 0.5
"""Part of the memory that all decoders together may fill; the rest is for networks and tensors."""

_MEMORY_FILES = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def memory_bytes(root: Path = Path("/")) -> int:
    """The container's memory limit, or the machine's memory if there is none."""
    total = 2**40
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    for name in _MEMORY_FILES:
        text = _read(root / name.lstrip("/")).strip()
        if text.isdigit():
            return min(total, int(text))
    return total


def max_pixels(memory: int, decoders: int) -> int:
    """Pixels that an image may have where so many decode at a time in so much memory."""
    fits = int(memory * MEMORY_SHARE / max(1, decoders) / BYTES_PER_PIXEL)
    return min(MAX_PIXELS, max(ALWAYS_PIXELS, fits))


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, PNG, WebP or BMP file, before any turning; None if its header
    cannot be read."""
    for start, read in _READERS:
        if data.startswith(start):
            try:
                width, height = read(data)
            except (IndexError, ValueError):
                return None
            return (width, height) if width > 0 and height > 0 else None
    return None


def _number(data: bytes, at: int, size: int, order: str = "little", signed: bool = False) -> int:
    piece = data[at : at + size]
    if len(piece) < size:
        raise ValueError("cut off")
    return int.from_bytes(piece, "little" if order == "little" else "big", signed=signed)


def _jpeg(data: bytes) -> tuple[int, int]:
    """The first start-of-frame segment; thumbnails are inside of other segments."""
    at = 2
    while True:
        while data[at] != 0xFF:  # Decoders skip what lies between segments.
            at += 1
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _number(data, at + 5, 2, "big"), _number(data, at + 3, 2, "big")
        if marker in (0xD9, 0xDA):
            raise ValueError("no frame")
        if marker != 0x01 and not 0xD0 <= marker <= 0xD8:
            at += max(2, _number(data, at, 2, "big"))


def _png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError("no IHDR")
    return _number(data, 16, 4, "big"), _number(data, 20, 4, "big")


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if data[8:12] != b"WEBP":
        raise ValueError("no WebP")
    if kind == b"VP8X":
        return _number(data, 24, 3) + 1, _number(data, 27, 3) + 1
    if kind == b"VP8L":
        bits = _number(data, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _number(data, 26, 2) & 0x3FFF, _number(data, 28, 2) & 0x3FFF
    raise ValueError("no picture")


def _bmp(data: bytes) -> tuple[int, int]:
    if _number(data, 14, 4) == 12:
        return _number(data, 18, 2), _number(data, 20, 2)
    # A negative height says that the first row is the upper one.
    width, height = _number(data, 18, 4, signed=True), _number(data, 22, 4, signed=True)
    return abs(width), abs(height)


_READERS: tuple[tuple[bytes, Callable[[bytes], tuple[int, int]]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"RIFF", _webp),
    (b"BM", _bmp),
)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
