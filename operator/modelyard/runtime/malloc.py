"""Memory that the C library keeps after it was freed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def _found() -> Callable[[int], int] | None:
    """malloc_trim(3): glibc alone has it."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return trim


_trim = _found()


def trim_heap() -> None:
    """Return freed memory to the system, as after a list: it takes a few milliseconds."""
    if _trim is not None:
        _trim(0)
