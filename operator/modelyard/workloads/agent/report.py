"""Patches the ModelServer's status: at once after a change of state, periodically for figures.

Figures are written often while a version is new or shadowed, since analyses wait for them, rarely
otherwise, and never if there was no request. An edge server also sends a heartbeat, by which the
operator tells it from a server that is offline. Fetching and loading a version beside one that
serves is reported once it takes long: a fleet of 10,000 that takes a new version would otherwise
write its statuses three times, of which nobody sees two. What the status contains: status.py.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.contract.run import OFTEN_SECONDS
from modelyard.contract.statustext import timestamp
from modelyard.workloads.agent.apiserver import ApiError, ApiServer
from modelyard.workloads.agent.metrics import Metrics
from modelyard.workloads.agent.status import (
    PROGRESS,
    Beside,
    Report,
    build,
    difference,
    in_progress,
)
from modelyard.workloads.agent.watch import Assigned

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.2
"""States that last shorter than this are not written."""
PROGRESS_SECONDS = 15.0
"""How long fetching and loading take, beside a version that serves, before they are reported."""
YOUNG = timedelta(minutes=15)
"""Age up to which a version counts as new, and its figures are reported often."""
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0


class Reporter:
    """Keeps the status in the API server equal to the agent's state."""

    def __init__(
        self,
        *,
        api: ApiServer,
        assigned: Assigned,
        server_name: str,
        pod_name: str,
        report: Callable[[], Report | None],
        beside: Callable[[], Beside],
        written: Callable[[], None],
        every_seconds: float,
        heartbeat: bool,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`written` is called (in a thread) after the traffic figures were written;
        `every_seconds` is the interval of reports of which only figures differ; `heartbeat`
        writes at that interval even if nothing differs."""
        self._api = api
        self._assigned = assigned
        self._name = server_name
        self._pod_name = pod_name
        self._report = report
        self._beside = beside
        self._written = written
        self._every = every_seconds
        self._heartbeat = heartbeat
        self._metrics = metrics
        self._clock = clock
        self._changed = asyncio.Event()
        self._due = 0.0
        self._beat_due = 0.0
        self._progress_due: float | None = None
        """When progress is due to be reported; None without progress, and once it is reported."""
        self._in_progress = False

    def changed(self) -> None:
        """Notify the loop that the agent's state has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Reports until cancelled."""
        backoff = _FIRST_BACKOFF
        self._due = self._clock() + self._every * random.random()  # noqa: S311
        while True:
            await self._wait(max(0.0, self._next() - self._clock()))
            await asyncio.sleep(SETTLE_SECONDS)
            try:
                await self.write()
                backoff = _FIRST_BACKOFF
            except (ApiError, OSError) as error:
                self._metrics.api_error()
                logger.warning("cannot report into ModelServer %s: %s", self._name, error)
                # A restored connection or another change ends the wait early.
                await self._wait(backoff * random.uniform(0.7, 1.3))  # noqa: S311
                backoff = min(2 * backoff, _LONGEST_BACKOFF)
                self._changed.set()

    async def write(self, *, measured: bool = False) -> None:
        """Writes what differs from the status as last seen; with `measured`, also if only figures
        differ. Raises ApiError."""
        now = self._clock()
        measured = measured or now >= self._due
        after = now + self._seconds() * random.uniform(0.9, 1.1)  # noqa: S311
        # A version that came up since shortens the interval.
        self._due = after if now >= self._due else min(self._due, after)
        self._note_progress(now)
        observed = self._assigned.server
        # The API server would refuse a report of a pod that is not named in the spec: another pod
        # has taken over, or the spec is about to name this one, which the watch will show.
        if observed is None or not self._assigned.reported_by(self._pod_name):
            return
        beat = self._heartbeat and now >= self._beat_due
        patch = self._patch(measured, beat=beat)
        if not patch:
            return
        if self._progress_due is not None and not (measured or beat) and patch.keys() <= PROGRESS:
            return
        uid = observed["metadata"]["uid"]
        try:
            server = await self._api.patch_status("modelservers", self._name, uid, patch)
        except ApiError as error:
            if error.status in (404, 409):
                return  # deleted or replaced since, which the watch will show
            raise
        # Every report has the figures too: the next one for their sake is a period away.
        self._due = after
        self._beat_due = now + self._every * 0.9
        self._metrics.reported()
        if "traffic" in patch:
            await asyncio.to_thread(self._written)
        self._assigned.see(server)

    def _next(self) -> float:
        """When there may be something to write, if nothing changes."""
        return self._due if self._progress_due is None else min(self._due, self._progress_due)

    def _note_progress(self, now: float) -> None:
        report, before = self._report(), self._in_progress
        self._in_progress = report is not None and in_progress(report)
        if self._in_progress and not before:
            self._progress_due = now + PROGRESS_SECONDS
        elif not self._in_progress or (self._progress_due or now) <= now:
            self._progress_due = None

    def _patch(self, measured: bool, beat: bool) -> dict[str, Any]:
        report = self._report()
        if report is None:
            return {}
        observed = self._assigned.status
        now = datetime.now(UTC)
        wanted = build(report, observed, self._beside(), now)
        patch = difference(observed, wanted, measured=measured)
        if patch or beat:
            patch["reportedAt"] = timestamp(now)
        return patch

    def _seconds(self) -> float:
        """Seconds between reports of which only figures differ."""
        if not self._watched():
            return self._every
        spec = (self._assigned.server or {}).get("spec") or {}
        return min(float(spec.get("reportSeconds") or OFTEN_SECONDS), self._every)

    def _watched(self) -> bool:
        """Whether figures are needed soon: the version is new or shadowed."""
        if self._assigned.shadow is not None:
            return True
        report = self._report()
        if report is None or report.loaded is None:
            return False
        return report.loaded.since > timestamp(datetime.now(UTC) - YOUNG)

    async def _wait(self, seconds: float) -> None:
        """Wait for a local change, or one of the ModelServer, at most so many seconds."""
        events = (self._changed, self._assigned.seen)
        waiters = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        for event in events:
            event.clear()
