"""Whether the node's clock is synchronised, as the kernel knows it."""

from __future__ import annotations

import ctypes

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
_ENOUGH = 256
"""Bytes: more than struct timex has."""


def synchronised() -> bool | None:
    """Whether a time service keeps the clock (adjtimex(2)); None if the kernel does not say.
    Reading needs no right."""
    try:
        buffer = ctypes.create_string_buffer(_ENOUGH)  # modes 0: only read
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    # struct timex: unsigned modes; long offset, freq, maxerror, esterror; int status.
    word = ctypes.sizeof(ctypes.c_long)
    status = ctypes.c_int.from_buffer(buffer, 5 * word).value
    return state != _TIME_ERROR and not status & _STA_UNSYNC
