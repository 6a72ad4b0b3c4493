"""When a failed assignment is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class Cause(Enum):
    """What failed; the values are the first and the longest wait in seconds."""

    FETCH = (2.0, 120.0)
    """The store or the network: it comes back on its own."""
    LOAD = (20.0, 900.0)
    """Triton refused the version: unlikely to change, and each try costs the node CPU."""
    CRASH = (60.0, 900.0)
    """Triton ended while it was loading: each try interrupts serving."""


MAX_CRASHES = 2
"""Tries of a version that takes Triton down with it, where another one could be served."""


@dataclass
class Retries:
    """Failures in a row of one assignment. Times in seconds, of any monotonic clock."""

    jitter: Callable[[], float] = field(default=random.random)
    """A number from 0 to 1, so that servers do not all try at the same moment."""
    failures: int = 0
    crashes: int = 0
    next_try: float = 0.0

    def reset(self) -> None:
        """Another assignment, or success."""
        self.failures = self.crashes = 0
        self.next_try = 0.0

    def failed(self, cause: Cause, now: float) -> None:
        """Counts a failure and sets when to try again."""
        self.failures += 1
        if cause is Cause.CRASH:
            self.crashes += 1
        first, longest = cause.value
        wait = min(longest, first * 2.0 ** min(self.failures - 1, 30))
        self.next_try = now + wait * (0.8 + 0.4 * self.jitter())

    def due(self, now: float, *, alternative: bool) -> bool:
        """Whether to try now. `alternative`: another version answers, or could, and would
        suffer from one more crash."""
        if alternative and self.crashes >= MAX_CRASHES:
            return False
        return now >= self.next_try
