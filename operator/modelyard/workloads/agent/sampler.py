"""Scrapes Triton's metrics periodically, for the figures of the last minute."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable

import aiohttp

from modelyard.api.modelserver import Figures, LoadedVersion
from modelyard.serving.figures import parse
from modelyard.serving.names import parse_model
from modelyard.workloads.agent.window import Window

logger = logging.getLogger(__name__)

EVERY_SECONDS = 3.0
AGAIN_SECONDS = 0.2
"""Interval after a scrape during a hand-over of counters, which ends soon."""
_MOST_PARTIAL = 5
"""Consecutive scrapes that may see one: a step that dies in the middle never completes its own."""
_PENDING = re.compile(
    r'^nv_inference_pending_request_count\{[^}]*model="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE
)
_ANSWER_SECONDS = 5.0


class Sampler:
    """Keeps a window over one model's counters."""

    def __init__(self, url: str, line: str, serving: Callable[[], LoadedVersion | None]) -> None:
        """`url` is Triton's Prometheus endpoint; `serving` returns the version that serves."""
        self._url = url
        self._line = line
        self._serving = serving
        self._window = Window()
        self._measured: LoadedVersion | None = None
        """What the window is about."""
        self._reachable = True
        self._pending = 0.0
        self._partial = 0

    async def run(self) -> None:
        """Scrapes until cancelled."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                pause = await self._scrape(session)
                await asyncio.sleep(pause)

    @property
    def pending(self) -> float:
        """Requests that were queued for a step of the pipeline at the last scrape."""
        return self._pending

    def figures(self) -> Figures | None:
        """What the version that serves did in the last minute; None if that is not known."""
        serving = self._serving()
        if serving is None or serving != self._measured:
            return None
        return self._window.figures(serving.version, time.monotonic())

    async def _scrape(self, session: aiohttp.ClientSession) -> float:
        """Scrape once; returns the seconds until the next scrape."""
        try:
            async with session.get(self._url, raise_for_status=True) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if self._reachable:
                logger.info("no figures: %s: %s", self._url, error or type(error).__name__)
            self._reachable = False
            self._pending = 0.0
            return EVERY_SECONDS
        self._reachable = True
        self._pending = _waiting(text, self._line)
        serving = self._serving()
        if serving != self._measured:
            # Also one of the same number: a version made again with other weights.
            self._measured, self._window = serving, Window()
        version = serving.version if serving else None
        totals = parse(text, self._line).get(version) if version is not None else None
        if totals is not None and totals.partial and self._partial < _MOST_PARTIAL:
            self._partial += 1
            return AGAIN_SECONDS
        self._partial = 0
        self._window.add(time.monotonic(), version, totals)
        return EVERY_SECONDS


def _waiting(text: str, line: str) -> float:
    """Requests that wait for any step of a model line's generations."""
    return sum(float(count) for model, count in _PENDING.findall(text) if parse_model(line, model))
