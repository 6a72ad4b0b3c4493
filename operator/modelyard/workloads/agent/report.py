"""Writes the ModelServer's status: when something changed, and now and then the traffic."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from modelyard.workloads.agent.apiserver import ApiError, ApiServer
from modelyard.workloads.agent.metrics import Metrics
from modelyard.workloads.agent.status import Report, build, difference, timestamp
from modelyard.workloads.agent.traffic import TrafficMeter
from modelyard.workloads.agent.watch import Assigned

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.2
"""States that are over sooner than this are not worth a write."""
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0


class Reporter:
    """Brings the status in the API server to what the agent has to say."""

    def __init__(
        self,
        *,
        api: ApiServer,
        assigned: Assigned,
        server_name: str,
        traffic: TrafficMeter,
        report: Callable[[], Report | None],
        every_seconds: float,
        metrics: Metrics,
    ) -> None:
        """`every_seconds`: how often traffic alone is worth a write."""
        self._api = api
        self._assigned = assigned
        self._name = server_name
        self._traffic = traffic
        self._report = report
        self._every = every_seconds
        self._metrics = metrics
        self._changed = asyncio.Event()
        self._traffic_due = 0.0

    def changed(self) -> None:
        """There is something new to say."""
        self._changed.set()

    async def run(self) -> None:
        """Reports for ever."""
        backoff = _FIRST_BACKOFF
        self._traffic_due = time.monotonic() + self._every * random.random()  # noqa: S311
        while True:
            await self._wait(max(0.0, self._traffic_due - time.monotonic()))
            await asyncio.sleep(SETTLE_SECONDS)
            try:
                await self.write()
                backoff = _FIRST_BACKOFF
            except (ApiError, OSError) as error:
                self._metrics.api_error()
                logger.warning("cannot report into ModelServer %s: %s", self._name, error)
                await asyncio.sleep(backoff * random.uniform(0.7, 1.3))  # noqa: S311
                backoff = min(2 * backoff, _LONGEST_BACKOFF)
                self._changed.set()

    async def write(self, *, with_traffic: bool = False) -> None:
        """Writes what differs from the status as last seen; `with_traffic` also if only the
        traffic does. Raises ApiError."""
        now = time.monotonic()
        with_traffic = with_traffic or now >= self._traffic_due
        if now >= self._traffic_due:
            self._traffic_due = now + self._every * random.uniform(0.9, 1.1)  # noqa: S311
        observed, patch = self._assigned.server, self._patch(with_traffic)
        if observed is None or not patch:
            return
        uid = observed["metadata"]["uid"]
        try:
            server = await self._api.patch_status("modelservers", self._name, uid, patch)
        except ApiError as error:
            if error.status in (404, 409):
                return  # deleted or replaced meanwhile, which the watch will say
            raise
        self._metrics.reported()
        if "traffic" in patch:
            await asyncio.to_thread(self._traffic.reported)
        self._assigned.see(server)

    def _patch(self, with_traffic: bool) -> dict[str, Any]:
        report = self._report()
        if report is None or self._assigned.server is None:
            return {}
        observed = self._assigned.status
        now = datetime.now(UTC)
        traffic = self._traffic.report()
        wanted = build(report, observed, traffic, now)
        patch = difference(observed, wanted)
        if traffic is not None and (patch or with_traffic) and _other(traffic, observed.traffic):
            patch["traffic"] = traffic.model_dump(by_alias=True)
        if patch:
            patch["reportedAt"] = timestamp(now)
        return patch

    async def _wait(self, seconds: float) -> None:
        """Until something changed here or there, but not longer."""
        events = (self._changed, self._assigned.seen)
        waiters = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        for event in events:
            event.clear()


def _other(traffic: Any, observed: Any) -> bool:
    before = (observed.requests, observed.failures) if observed else None
    return before != (traffic.requests, traffic.failures)
