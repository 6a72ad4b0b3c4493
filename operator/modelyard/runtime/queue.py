"""A delayed queue of keys: each key is in it once, and is worked on by one worker at a time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable

from modelyard.core.plan import Key

PATIENCE = 2.0
"""Seconds that a due key lets urgent ones go first."""


class KeyedQueue:
    """Keys with the time at which they are due.

    Adding a key that is already queued keeps the earlier of both times. A key added while it is
    being worked on is queued again when the worker is done. A key that is held back after a
    failure stays back, whatever adds it, until `release`.

    Where more keys are due than there are workers, those added as `urgent` go first, but none
    waits for more than PATIENCE because of that.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._later: list[tuple[float, int, Key]] = []
        """Heap of (due, order, key) for keys that are not due yet."""
        self._ready: list[tuple[float, int, float, Key]] = []
        """Heap of (rank, order, due, key) for keys that wait for a worker."""
        self._due: dict[Key, float] = {}
        self._urgent: set[Key] = set()
        self._held: dict[Key, float] = {}
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
        due = max(self._clock() + delay, self._held.get(key, 0.0))
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

    def hold(self, key: Key, delay: float) -> None:
        """Queue a key, due in `delay` seconds and not before."""
        due = self._clock() + delay
        self._held[key] = due
        if key in self._working:
            self._again[key] = due
            return
        self._due.pop(key, None)
        self.add(key, delay)

    def release(self, key: Key) -> None:
        """Stop holding a key back; whatever is queued for it keeps its time."""
        self._held.pop(key, None)

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
                    self._wake()  # The wake-up was ours: hand it on.
                raise

    def pop(self) -> Key | None:
        """The key that is due first, or None if none is due yet."""
        self._tidy()
        if not self._ready:
            return None
        _, _, _, key = heapq.heappop(self._ready)
        del self._due[key]
        self._urgent.discard(key)
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
        """Forget everything that is queued or held back."""
        self._later.clear()
        self._ready.clear()
        self._due.clear()
        self._urgent.clear()
        self._held.clear()
        self._again.clear()

    def close(self) -> None:
        """Hand out no more keys."""
        self.clear()
        self._closed = True

    def oldest(self) -> float:
        """Seconds that the longest waiting due key has waited; 0 if none is due."""
        return max(0.0, self._clock() - min(self._due.values(), default=float("inf")))

    def due(self) -> int:
        """Number of keys that are due now."""
        now = self._clock()
        return sum(due <= now for due in self._due.values())

    def working(self) -> int:
        """Number of keys that workers have now."""
        return len(self._working)

    def _tidy(self) -> None:
        """Move keys that have become due to those that wait, and drop what is out of date."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, order, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                rank = due if key in self._urgent else due + PATIENCE
                heapq.heappush(self._ready, (rank, order, due, key))
        while self._ready and self._due.get(self._ready[0][3]) != self._ready[0][2]:
            heapq.heappop(self._ready)
        while self._later and self._due.get(self._later[0][2]) != self._later[0][0]:
            heapq.heappop(self._later)

    def _wake(self) -> None:
        """Wake one waiter if a key is due, or see to it that one is woken when it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters and self._waiters[0].done():
            self._waiters.popleft()
        self._tidy()
        if not self._waiters or not (self._ready or self._later):
            return
        if self._ready:
            self._waiters.popleft().set_result(None)
            delay = 0.0  # Another key may be due for the next waiter.
        else:
            delay = max(0.0, self._later[0][0] - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._wake)
