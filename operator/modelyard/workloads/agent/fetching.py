"""Fetches artifacts beside the work for the assigned version, and gives way to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from modelyard.api.modelserver import Assignment
from modelyard.workloads.agent.artifacts import ArtifactCache, Fetched
from modelyard.workloads.agent.metrics import Metrics
from modelyard.workloads.agent.watch import Assigned


class BackgroundFetch:
    """Fetches that stop when something is due for the assigned version."""

    def __init__(self, artifacts: ArtifactCache, assigned: Assigned, metrics: Metrics) -> None:
        self._artifacts = artifacts
        self._assigned = assigned
        self._metrics = metrics
        self.stopping = False
        """Once set, nothing is fetched any more."""

    async def fetch(self, wish: Assignment, still_wanted: Callable[[], bool]) -> Fetched:
        """The artifact, verified. Raises as ArtifactCache.fetch; StoppedError if it had to give
        way: wait until the assignment is idle and try again."""
        started = time.monotonic()

        def goes_on() -> bool:
            if self.stopping or not still_wanted():
                return False
            # What is to be served itself by now is fetched once, not twice.
            wanted = self._assigned.wanted
            assignment = wanted.assignment if wanted else None
            same = assignment is not None and assignment.digest == wish.digest
            return same or self._assigned.idle.is_set()

        fetched = await asyncio.to_thread(self._artifacts.fetch, wish, goes_on)
        self._metrics.fetched(fetched.downloaded, time.monotonic() - started)
        return fetched
