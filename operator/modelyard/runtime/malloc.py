"""Returns freed memory to the operating system, which glibc otherwise keeps."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def _malloc_trim() -> Callable[[int], int] | None:
    """malloc_trim(3), which only glibc has."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return trim


_trim = _malloc_trim()


def trim_heap() -> None:
    """Return freed memory to the system, as after a list. Takes a few milliseconds."""
    if _trim is not None:
        _trim(0)
