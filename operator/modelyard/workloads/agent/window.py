"""What the loaded version did in the last minute, from counters that only grow."""

from __future__ import annotations

from collections import deque

from modelyard.api.modelserver import Figures
from modelyard.serving.figures import Totals

SECONDS = 60.0
SETTLE_SECONDS = 2.5
"""Maximum delay of counters: `FLUSH_SECONDS` of the pipeline's last step, and a margin."""


class Window:
    """One version's counters over a sliding window."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._version: int | None = None
        self._began = 0.0
        self._samples: deque[tuple[float, Totals]] = deque()

    def add(self, at: float, version: int | None, totals: Totals | None) -> None:
        """Add a reading of the counters of the version that serves, None if there are none; `at`
        is in seconds of any monotonic clock. Another version starts a new window: what it answered
        before it served (test images, copies of requests) does not count, even if its counters
        show it only later."""
        if version != self._version or self._restarted(totals):
            self._samples.clear()
            self._began = at
        self._version = version
        if totals is None or at < self._began + SETTLE_SECONDS:
            return
        self._samples.append((at, totals))
        while self._samples[0][0] < at - self._seconds:
            self._samples.popleft()

    def _restarted(self, totals: Totals | None) -> bool:
        """Whether the counters were reset, with the version or with Triton."""
        if totals is None or not self._samples:
            return totals is None
        before = self._samples[-1][1]
        return any(
            now < then
            for then, now in (
                (before.requests, totals.requests),
                (before.failures, totals.failures),
                (before.boxes, totals.boxes),
                (before.queue_micros, totals.queue_micros),
            )
        )

    def figures(self, version: int, now: float) -> Figures | None:
        """Figures of a version; None if the readings span too little time or are too old."""
        samples = self._samples
        if version != self._version or not samples or samples[-1][0] < now - self._seconds / 4:
            return None
        seconds = round(samples[-1][0] - samples[0][0])
        if seconds < 1:
            return None
        grown = samples[-1][1].since(samples[0][1])
        return Figures(
            version=version,
            seconds=seconds,
            requests=grown.requests,
            failures=grown.failures,
            latency=list(grown.latency) if any(grown.latency) else [],
            queue_micros=grown.queue_micros,
            boxes=grown.boxes,
            confidence_millis=grown.confidence_millis,
        )
