"""A delayed work queue of keys: each key is in it once, and has one worker at a time.

If more keys are due than there are workers, the queue decides which go first: changes by users,
then changes of children, then the statuses of objects whose children were just created. The engine
adds keys and its workers take them (engine.py).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable

from modelyard.core.plan import Key

NORMAL_SECONDS = 2.0
"""Maximum time for which urgent keys go before a key that is due."""

DEFERRED_SECONDS = 10.0
"""The same for a deferred key, of which only the status remains to be written. Long enough for most
bursts of creates, and for progress of children that the same write then shows."""


class KeyedQueue:
    """Keys with the time at which they are due.

    Adding a key that is already queued keeps the earlier of both times. A key added while it is
    being worked on is queued again when the worker is done. A key that backs off after a failure
    does not become due earlier, whatever adds it, until `release`.

    If more keys are due than there are workers, urgent keys go first and deferred ones last, but
    none waits longer than NORMAL_SECONDS or DEFERRED_SECONDS because of that.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._later: list[tuple[float, int, Key]] = []
        """Heap of (due, order, key): keys that are not due yet."""
        self._ready: list[tuple[float, int, float, Key]] = []
        """Heap of (rank, order, due, key): keys that are due and wait for a worker."""
        self._due: dict[Key, float] = {}
        self._urgent: set[Key] = set()
        self._deferred: set[Key] = set()
        self._not_before: dict[Key, float] = {}
        """Earliest due time of keys that back off."""
        self._working: set[Key] = set()
        self._again: dict[Key, float] = {}
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._order = itertools.count()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: Key, delay: float = 0.0, *, urgent: bool = False) -> None:
        """Queue a key, due in `delay` seconds."""
        if self._closed:
            return
        due = max(self._clock() + delay, self._not_before.get(key, 0.0))
        raised = urgent and key not in self._urgent
        if raised:
            self._urgent.add(key)
        if key in self._working:
            self._again[key] = min(due, self._again.get(key, due))
            return
        known = self._due.get(key, float("inf"))
        if due < known or raised:
            due = self._due[key] = min(due, known)
            heapq.heappush(self._later, (due, next(self._order), key))
            self._wake()

    def defer(self, key: Key) -> None:
        """Queue a key that is being worked on, after all others that are due unless it is also
        added as urgent."""
        self._deferred.add(key)
        self.add(key)

    def back_off(self, key: Key, delay: float) -> None:
        """Queue a key, due in `delay` seconds and not earlier."""
        due = self._clock() + delay
        self._not_before[key] = due
        if key in self._working:
            self._again[key] = due
            return
        self._due.pop(key, None)
        self.add(key, delay)

    def release(self, key: Key) -> None:
        """End a key's backoff; if it is queued, it keeps its due time."""
        self._not_before.pop(key, None)

    async def get(self) -> Key:
        """The key that is due first, when it is due. Call `done` with it afterwards."""
        while True:
            key = self.pop()
            if key is not None:
                return key
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self._wake()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # Pass the wake-up on to the next waiter.
                raise

    def pop(self) -> Key | None:
        """The key that is due first, or None if none is due yet."""
        self._promote()
        if not self._ready:
            return None
        _, _, _, key = heapq.heappop(self._ready)
        del self._due[key]
        self._urgent.discard(key)
        self._deferred.discard(key)
        self._working.add(key)
        self._idle.clear()
        return key

    def done(self, key: Key) -> None:
        """A worker has finished with a key."""
        self._working.discard(key)
        if not self._working:
            self._idle.set()
        again = self._again.pop(key, None)
        if again is not None:
            urgent = key in self._urgent
            self._urgent.discard(key)
            self.add(key, max(0.0, again - self._clock()), urgent=urgent)

    async def idle(self) -> None:
        """Return when no key is being worked on."""
        await self._idle.wait()

    def clear(self) -> None:
        """Remove all keys and all backoffs."""
        self._later.clear()
        self._ready.clear()
        self._due.clear()
        self._urgent.clear()
        self._deferred.clear()
        self._not_before.clear()
        self._again.clear()

    def close(self) -> None:
        """Clear the queue and accept no more keys."""
        self.clear()
        self._closed = True

    def oldest(self) -> float:
        """Seconds that the oldest due key has waited; 0 if none is due."""
        return max(0.0, self._clock() - min(self._due.values(), default=float("inf")))

    def due(self) -> int:
        """Number of keys that are due now."""
        now = self._clock()
        return sum(due <= now for due in self._due.values())

    def working(self) -> int:
        """Number of keys that workers have now."""
        return len(self._working)

    def _promote(self) -> None:
        """Move keys that have become due to `_ready`, and drop outdated heap entries."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, order, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                heapq.heappush(self._ready, (due + self._rank_seconds(key), order, due, key))
        while self._ready and self._due.get(self._ready[0][3]) != self._ready[0][2]:
            heapq.heappop(self._ready)
        while self._later and self._due.get(self._later[0][2]) != self._later[0][0]:
            heapq.heappop(self._later)

    def _rank_seconds(self, key: Key) -> float:
        if key in self._urgent:
            return 0.0
        return DEFERRED_SECONDS if key in self._deferred else NORMAL_SECONDS

    def _wake(self) -> None:
        """Wake one waiter if a key is due; otherwise set a timer for the next due time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters and self._waiters[0].done():
            self._waiters.popleft()
        self._promote()
        if not self._waiters or not (self._ready or self._later):
            return
        if self._ready:
            self._waiters.popleft().set_result(None)
            delay = 0.0  # Another key may be due for the next waiter.
        else:
            delay = max(0.0, self._later[0][0] - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._wake)
