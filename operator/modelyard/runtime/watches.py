"""Keeps count of the watches: which have started, which had to start anew, which are silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable


class Watches:
    """Told by the watching side about each kind's requests."""

    def __init__(self, kinds: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._missing = set(kinds)
        self._listed: set[str] = set()
        self._started: dict[str, float] = {}
        self._all = asyncio.Event()
        self.on_relist: Callable[[str], None] = lambda kind: None
        """Called when a kind's watch has started from a new list: events before were missed."""

    def listed(self, kind: str) -> None:
        """The watch of a kind is about to start from a new list."""
        self._listed.add(kind)

    def started(self, kind: str) -> None:
        """The API server has accepted a kind's watch."""
        self._started[kind] = self._clock()
        self._missing.discard(kind)
        if not self._missing:
            self._all.set()
        if kind in self._listed:
            self._listed.discard(kind)
            self.on_relist(kind)

    @property
    def complete(self) -> bool:
        """Whether every kind's watch has started at least once."""
        return self._all.is_set()

    async def wait(self) -> None:
        """Return when every kind's watch has started at least once."""
        await self._all.wait()

    def silent(self, seconds: float) -> list[str]:
        """Kinds whose watch has not been started for so long."""
        limit = self._clock() - seconds
        return sorted(kind for kind, at in self._started.items() if at < limit)
