"""How long-running steps report what they are doing: one line of text now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[str], None]
"""Receives one line for the user, from any thread."""


def silent(_line: str) -> None:
    """The progress callback that drops every line."""


def duration(seconds: float) -> str:
    """Seconds for reading: `0.8 s`, `42 s`, `3 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Ticker:
    """Lets a line through every `interval` seconds, however often a loop asks."""

    def __init__(self, interval: float = 5.0) -> None:
        self.started = time.monotonic()
        self._interval = interval
        self._next = self.started + interval

    @property
    def elapsed(self) -> float:
        """Seconds since the ticker was made."""
        return time.monotonic() - self.started

    def due(self) -> bool:
        """True once in every interval."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval
        return True
