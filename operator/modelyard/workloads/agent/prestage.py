"""Fetches a version ahead of its switch, so that a later switch needs no download.

It gives way: while something is due for the assigned version, nothing is fetched here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from modelyard.api.modelserver import Assignment, StagedVersion
from modelyard.workloads.agent.artifacts import ArtifactCache, Fetched, StoppedError
from modelyard.workloads.agent.failures import failure
from modelyard.workloads.agent.metrics import Metrics
from modelyard.workloads.agent.retry import Retries
from modelyard.workloads.agent.status import cut
from modelyard.workloads.agent.watch import Assigned

logger = logging.getLogger(__name__)


class Stager:
    """Keeps what spec.staged names on disk, verified."""

    def __init__(
        self,
        *,
        artifacts: ArtifactCache,
        assigned: Assigned,
        idle: asyncio.Event,
        metrics: Metrics,
        on_report: Callable[[], None],
    ) -> None:
        """Works only while `idle` is set; `on_report` is called when `report` is another one."""
        self._artifacts = artifacts
        self._assigned = assigned
        self._idle = idle
        self._metrics = metrics
        self._on_report = on_report
        self._wish: Assignment | None = None
        self._retries = Retries()
        self.report: StagedVersion | None = None
        """What is to be said of it; None if nothing is wanted or known."""
        self.stopping = False
        """Once set, nothing is fetched any more."""

    async def run(self) -> None:
        """Stages for ever."""
        while True:
            delay = await self.step()
            changed = self._assigned.staged_changed
            try:
                await asyncio.wait_for(changed.wait(), delay)
            except TimeoutError:
                continue

    async def step(self) -> float | None:
        """Does what is due; returns the seconds until it is worth while to look again, None for
        not before something else is wanted."""
        self._assigned.staged_changed.clear()
        wish = self._assigned.staged
        if wish != self._wish:
            self._wish = wish
            self._retries.reset()
            self._say(None)
        if wish is None or (self.report is not None and self.report.failure is None):
            return None
        if not self._idle.is_set():
            await self._idle.wait()
            return 0.0
        try:
            fetched = await self._fetch(wish)
        except StoppedError:
            return 0.0
        except Exception as error:
            found = failure(error)
            self._retries.failed(found.cause, time.monotonic())
            logger.warning("%s cannot be fetched ahead: %s", wish.model_version, found.message)
            self._say(_staged(wish, f"{found.reason}: {found.message}"))
            return self._retries.next_try - time.monotonic()
        logger.info("%s is fetched ahead: %d bytes", wish.model_version, fetched.downloaded)
        self._say(_staged(wish))
        return None

    async def _fetch(self, wish: Assignment) -> Fetched:
        started = time.monotonic()

        def goes_on() -> bool:
            wanted = self._assigned.wanted
            # What is to be served itself by now is fetched once, not twice.
            assignment = wanted.assignment if wanted else None
            same = assignment is not None and assignment.digest == wish.digest
            wanted_still = not self.stopping and self._assigned.staged == wish
            return wanted_still and (self._idle.is_set() or same)

        fetched = await asyncio.to_thread(self._artifacts.fetch, wish, goes_on)
        self._metrics.fetched(fetched.downloaded, time.monotonic() - started)
        return fetched

    def _say(self, report: StagedVersion | None) -> None:
        if report != self.report:
            self.report = report
            self._on_report()


def _staged(wish: Assignment, failure: str | None = None) -> StagedVersion:
    return StagedVersion(
        model_version=wish.model_version,
        version=wish.version,
        digest=wish.digest,
        failure=cut(failure) if failure else None,
    )
