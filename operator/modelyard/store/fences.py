"""Keeps a put and a sweep of the collector from crossing.

A store has no delete that depends on what is there. So without more, this could happen:

    collector: D is old, nothing refers to it
    publisher:                                  puts D again, its object will refer to it
    collector: deletes D

Hence two rules. The collector puts a key below `_collector/sweeps/` before it looks at what it is
about to delete, and removes it only once all its deletions have been answered. A publisher, having
put D, waits until the sweeps that it sees are over, and then puts D again if it is gone. If it saw
no sweep, then either the deletion is over (and D is put again), or a later sweep looks at D after
this put, finds it young and leaves it.

No clocks are compared. A sweep deletes for at most SWEEP_SECONDS by its own; a publisher waits for
one and the same sweep for at most FENCE_SECONDS by its own: a collector that was killed leaves its
key behind, which the next run removes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

SWEEP_SECONDS = 60.0
"""How long one sweep may begin deletions."""
FENCE_SECONDS = 300.0
"""How long a publisher waits for a sweep: longer than a deletion's request with its retries can
take effect after SWEEP_SECONDS."""
_PAUSE = 0.25


class Fences:
    """The sweeps that one publisher has seen. Safe to share between threads."""

    def __init__(
        self,
        sweeps: Callable[[], Collection[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`sweeps` names those going on."""
        self.sweeps = sweeps
        self._clock = clock
        self._sleep = sleep
        self._seen: dict[str, float] = {}
        """When each was first seen."""

    def wait(self) -> None:
        """Wait until each sweep that is going on now is over, or was there for FENCE_SECONDS."""
        first = set(self.sweeps())
        while first:
            now = self._clock()
            going_on = first.intersection(self.sweeps())
            first = {
                one for one in going_on if now - self._seen.setdefault(one, now) < FENCE_SECONDS
            }
            if first:
                self._sleep(_PAUSE)
