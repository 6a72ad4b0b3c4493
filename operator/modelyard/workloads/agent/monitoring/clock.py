"""Is the clock synchronised? Charts of days, and spans of time across restarts, need one that is.

Evidence for it: the kernel says so (adjtimex(2): a time daemon disciplines it), or the API server's
clock agreed with ours not long ago. No evidence is no synchronisation: a node without a battery for
its clock starts in 1970. A step of the wall clock against the time since boot holds charts too,
until some time after it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

STEP_SECONDS = 2.0
"""Smallest step of the wall clock, between two looks, that counts."""
HOLD_SECONDS = 120.0
"""How long charts wait after a step."""
AGREES_SECONDS = 30.0
"""Largest difference from the API server's clock, which tells whole seconds and takes a while to
answer."""
EVIDENCE_SECONDS = 7 * 86_400.0
"""How long an agreement counts: a quartz is off by a second or two a day."""
_TIME_ERROR = 5
_UNSYNCHRONISED = 0x40


class _Timex(ctypes.Structure):
    """The first fields of struct timex, and room for the others."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def kernel_synchronised() -> bool | None:
    """What the kernel says; None if it cannot be asked."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return bool(state != _TIME_ERROR and not timex.status & _UNSYNCHRONISED)


def boot_time() -> float:
    """Seconds since the machine started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """The wall clock, and how far it can be trusted."""

    def __init__(
        self,
        *,
        kernel: Callable[[], bool | None] = kernel_synchronised,
        wall: Callable[[], float] = time.time,
        since_boot: Callable[[], float] = boot_time,
    ) -> None:
        self._kernel = kernel
        self._wall = wall
        self._since_boot = since_boot
        self._offset = wall() - since_boot()
        self._stepped: float | None = None
        self._agreed: float | None = None

    def now(self) -> float:
        """Seconds since 1970."""
        return self._wall()

    def compare(self, other: float) -> None:
        """Another clock, one that is believed, says that it is `other` seconds since 1970."""
        self._look()
        agrees = abs(self._wall() - other) <= AGREES_SECONDS
        self._agreed = self._since_boot() if agrees else None

    def synchronised(self) -> bool:
        """Whether there is evidence that the clock is right, and none that it is not."""
        self._look()
        now = self._since_boot()
        if self._stepped is not None and now - self._stepped < HOLD_SECONDS:
            return False
        if self._agreed is not None and now - self._agreed < EVIDENCE_SECONDS:
            return True
        return self._kernel() is True

    def _look(self) -> None:
        now = self._since_boot()
        offset = self._wall() - now
        if abs(offset - self._offset) > STEP_SECONDS:
            self._stepped = now
            # What agreed before the step says nothing of the time after it.
            self._agreed = None
        self._offset = offset
