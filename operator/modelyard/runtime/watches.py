"""Keeps count of the watches: which have started, which had to start anew, which are silent or
refused."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

REFUSED = {
    403: "the operator's role does not allow to list and watch it",
    404: "its CRD is not installed; install the CRDs",
}
"""What an HTTP status of a watch means, where a person has to act."""


class Watches:
    """Told by the watching side about each kind's requests."""

    def __init__(self, kinds: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._missing = set(kinds)
        self._listed: set[str] = set()
        self._started: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._failed: dict[str, int] = {}
        """HTTP status (0: no answer) of what could not be watched when it was last tried."""
        self._all = asyncio.Event()
        self.on_relist: Callable[[str], None] = lambda kind: None
        """Called when a kind's watch has started from a new list: events before were missed."""
        self.on_failure: Callable[[str, int], None] = lambda kind, status: None
        """Called when a kind's watch could not be started, with its HTTP status (0: no answer)."""

    def listed(self, kind: str) -> None:
        """The watch of a kind is about to start from a new list."""
        self._listed.add(kind)

    def started(self, kind: str) -> None:
        """The API server has accepted a kind's watch."""
        self._started[kind] = self._heard[kind] = self._clock()
        if self._failed.pop(kind, None) is not None:
            log.info("%s is watched again", kind)
        self._missing.discard(kind)
        if not self._missing:
            self._all.set()
        if kind in self._listed:
            self._listed.discard(kind)
            self.on_relist(kind)

    def heard(self, kind: str) -> None:
        """A kind's watch has brought an event or a bookmark."""
        self._heard[kind] = self._clock()

    def failed(self, kind: str, status: int) -> None:
        """A kind could not be listed or watched: HTTP status, or 0 if there was no answer."""
        if self._failed.get(kind) != status:
            why = REFUSED.get(status) or "the API server does not serve it now"
            log.warning("cannot watch %s: %s", kind, why, extra={"status": status})
        self._failed[kind] = status
        self.on_failure(kind, status)

    def mended(self, kind: str) -> None:
        """A kind that was refused can be listed; its watch has yet to start."""
        self._failed.pop(kind, None)

    @property
    def complete(self) -> bool:
        """Whether every kind's watch has started at least once."""
        return self._all.is_set()

    async def wait(self) -> None:
        """Return when every kind's watch has started at least once."""
        await self._all.wait()

    def troubles(self) -> list[str]:
        """What keeps kinds from being watched that a person has to mend, for people."""
        return [
            f"cannot watch {kind}: {REFUSED[status]}"
            for kind, status in sorted(self._failed.items())
            if status in REFUSED
        ]

    def up(self) -> list[tuple[str, float]]:
        """1 for each kind that is watched, 0 for each that is not."""
        kinds = self._missing | self._started.keys()
        return [(k, float(k in self._started and k not in self._failed)) for k in sorted(kinds)]

    def ages(self) -> list[tuple[str, float]]:
        """Seconds since each kind's watch was started, or brought an event or a bookmark."""
        now = self._clock()
        return [(kind, now - at) for kind, at in sorted(self._heard.items())]

    def silent(self, seconds: float) -> list[str]:
        """Kinds whose watch has not been started for so long, though nothing is known to be wrong
        with it."""
        limit = self._clock() - seconds
        late = (kind for kind, at in self._started.items() if at < limit)
        return sorted(kind for kind in late if kind not in self._failed)
