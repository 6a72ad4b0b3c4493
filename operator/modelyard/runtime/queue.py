"""A delayed queue of keys: each key is in it once, and is worked on by one worker at a time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable

from modelyard.core.plan import Key


class KeyedQueue:
    """Keys with the time at which they are due.

    Adding a key that is already queued keeps the earlier of both times. A key added while it is
    being worked on is queued again when the worker is done. A key that is held back after a
    failure stays back, whatever adds it, until `release`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
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

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Queue a key, due in `delay` seconds."""
        if self._closed:
            return
        due = max(self._clock() + delay, self._held.get(key, 0.0))
        if key in self._working:
            self._again[key] = min(due, self._again.get(key, due))
            return
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
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
        if not self._heap or self._heap[0][0] > self._clock():
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
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
            self.add(key, max(0.0, again - self._clock()))

    async def idle(self) -> None:
        """Return when no key is being worked on."""
        await self._idle.wait()

    def clear(self) -> None:
        """Forget everything that is queued or held back."""
        self._heap.clear()
        self._due.clear()
        self._held.clear()
        self._again.clear()

    def close(self) -> None:
        """Hand out no more keys."""
        self.clear()
        self._closed = True

    def oldest(self) -> float:
        """Seconds that the longest waiting due key has waited; 0 if none is due."""
        self._tidy()
        return max(0.0, self._clock() - self._heap[0][0]) if self._heap else 0.0

    def due(self) -> int:
        """Number of keys that are due now."""
        now = self._clock()
        return sum(due <= now for due in self._due.values())

    def _tidy(self) -> None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _wake(self) -> None:
        """Wake one waiter if a key is due, or see to it that one is woken when it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters and self._waiters[0].done():
            self._waiters.popleft()
        self._tidy()
        if not self._waiters or not self._heap:
            return
        delay = self._heap[0][0] - self._clock()
        if delay <= 0:
            self._waiters.popleft().set_result(None)
            delay = 0.0  # Another key may be due for the next waiter.
        self._timer = asyncio.get_running_loop().call_later(delay, self._wake)
