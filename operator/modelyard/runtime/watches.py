"""State of the watches: which have started, which need a new list, which fail.

handlers/kopf_adapter.py reports each kind's requests here; engine.py lists again after a lost
watch, and health.py, server.py and gauges.py show the state.
"""

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
"""Causes of HTTP statuses that only an administrator can fix."""


class Watches:
    """The state of each kind's watch."""

    def __init__(self, kinds: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._missing = set(kinds)
        self._listed: set[str] = set()
        self._started: dict[str, float] = {}
        self._received: dict[str, float] = {}
        self._failed: dict[str, int] = {}
        """HTTP status (0: no response) of each kind whose last watch request failed."""
        self._all = asyncio.Event()
        self.on_relist: Callable[[str], None] = lambda kind: None
        """Called when a kind's watch has started from a new list: events may have been missed."""
        self.on_failure: Callable[[str, int], None] = lambda kind, status: None
        """Called when a kind's watch cannot be started, with the HTTP status (0: no response)."""

    def listed(self, kind: str) -> None:
        """The watch of a kind is about to start from a new list."""
        self._listed.add(kind)

    def started(self, kind: str) -> None:
        """A kind's watch has started."""
        self._started[kind] = self._received[kind] = self._clock()
        if self._failed.pop(kind, None) is not None:
            log.info("%s is watched again", kind)
        self._missing.discard(kind)
        if not self._missing:
            self._all.set()
        if kind in self._listed:
            self._listed.discard(kind)
            self.on_relist(kind)

    def received(self, kind: str) -> None:
        """A kind's watch has received an event or a bookmark."""
        self._received[kind] = self._clock()

    def failed(self, kind: str, status: int) -> None:
        """A kind could not be listed or watched. `status` is 0 without a response."""
        if self._failed.get(kind) != status:
            why = REFUSED.get(status) or "the API server does not serve it now"
            log.warning("cannot watch %s: %s", kind, why, extra={"status": status})
        self._failed[kind] = status
        self.on_failure(kind, status)

    def recovered(self, kind: str) -> None:
        """A kind that failed can be listed again; its watch has not started yet."""
        self._failed.pop(kind, None)

    @property
    def complete(self) -> bool:
        """Whether every kind's watch has started at least once."""
        return self._all.is_set()

    async def wait(self) -> None:
        """Return when every kind's watch has started at least once."""
        await self._all.wait()

    def problems(self) -> list[str]:
        """Messages for kinds that cannot be watched until an administrator acts."""
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
        """Seconds since each kind's watch was started or received an event or a bookmark."""
        now = self._clock()
        return [(kind, now - at) for kind, at in sorted(self._received.items())]

    def expired(self, seconds: float) -> list[str]:
        """Kinds whose watch was last started longer ago than `seconds`, without a known failure."""
        limit = self._clock() - seconds
        late = (kind for kind, at in self._started.items() if at < limit)
        return sorted(kind for kind in late if kind not in self._failed)
