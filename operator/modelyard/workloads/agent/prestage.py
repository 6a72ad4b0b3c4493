"""Fetches a version ahead of its switch, so that a later switch needs no download.

It has low priority: nothing is fetched here while the assigned version still needs something.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from modelyard.api.modelserver import Assignment, StagedVersion
from modelyard.contract.statustext import truncate
from modelyard.workloads.agent.artifacts import StoppedError
from modelyard.workloads.agent.failures import failure
from modelyard.workloads.agent.fetching import BackgroundFetch
from modelyard.workloads.agent.retry import Retries
from modelyard.workloads.agent.watch import Assigned

logger = logging.getLogger(__name__)


class Stager:
    """Keeps what spec.staged names on disk, verified."""

    def __init__(
        self, *, fetching: BackgroundFetch, assigned: Assigned, on_report: Callable[[], None]
    ) -> None:
        """`on_report` is called when `report` changes."""
        self._fetching = fetching
        self._assigned = assigned
        self._on_report = on_report
        self._wish: Assignment | None = None
        self._retries = Retries()
        self.report: StagedVersion | None = None
        """The report for the status; None if nothing is to be staged or known yet."""

    async def run(self) -> None:
        """Stages until cancelled."""
        while True:
            delay = await self.step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._assigned.staged_changed.wait(), delay)

    async def step(self) -> float | None:
        """Do the next thing that is due; returns the seconds until the next step, None to wait for
        another assignment."""
        self._assigned.staged_changed.clear()
        wish = self._assigned.staged
        if wish != self._wish:
            self._wish = wish
            self._retries.reset()
            self._say(None)
        if wish is None or (self.report is not None and self.report.failure is None):
            return None
        await self._assigned.idle.wait()
        try:
            fetched = await self._fetching.fetch(wish, lambda: self._assigned.staged == wish)
        except StoppedError:
            return 1.0 if self._fetching.stopping else 0.0
        except Exception as error:
            found = failure(error)
            self._retries.failed(found.cause, time.monotonic())
            logger.warning("%s cannot be fetched ahead: %s", wish.model_version, found.message)
            self._say(_staged(wish, f"{found.reason}: {found.message}"))
            return max(0.0, self._retries.next_try - time.monotonic())
        logger.info("%s is fetched ahead: %d bytes", wish.model_version, fetched.downloaded)
        self._say(_staged(wish))
        return None

    def _say(self, report: StagedVersion | None) -> None:
        if report != self.report:
            self.report = report
            self._on_report()


def _staged(wish: Assignment, failure: str | None = None) -> StagedVersion:
    return StagedVersion(
        model_version=wish.model_version,
        version=wish.version,
        digest=wish.digest,
        manifest_digest=wish.manifest_digest,
        failure=truncate(failure) if failure else None,
    )
