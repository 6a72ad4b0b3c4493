"""Findings of the agent's own: what it needs to monitor, and lacks."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelyard.api.monitoring import FindingKind, ServerDrift, Signal
from modelyard.serving.draws import Taken
from modelyard.workloads.agent.monitoring.figures import Release
from modelyard.workloads.agent.monitoring.summary import Found

RECENT_SECONDS = 3600.0
"""How long a finding about requests goes on after the last of them."""


class OwnFindings:
    """Which findings hold, and since when."""

    def __init__(
        self, since: dict[str, float], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`since` is when each one began, by kind; it is changed here, and kept by the caller."""
        self._since = since
        self._clock = clock
        self._left_out = self._unnamed = float("-inf")

    def requests(self, taken: Taken) -> None:
        """What came of intervals that ended."""
        if taken.left_out:
            self._left_out = self._clock()
        if taken.unnamed:
            self._unnamed = self._clock()

    def hold(
        self,
        now: float,
        *,
        drift: ServerDrift,
        release: Release | None,
        synchronised: bool,
        persistent: bool,
        lost: bool,
    ) -> list[Found]:
        """Findings that hold at `now`, in seconds since 1970."""
        wants = Signal.EMBEDDING in drift.signals
        recent = self._clock() - RECENT_SECONDS
        holds = {
            FindingKind.CLOCK_UNSYNCHRONISED: not synchronised,
            FindingKind.EMBEDDING_UNAVAILABLE: wants and release is not None and not release.embeds,
            FindingKind.NO_SOURCE: bool(drift.source.parameter) and self._unnamed > recent,
            FindingKind.TOO_MANY_SOURCES: self._left_out > recent,
            FindingKind.NO_PERSISTENCE: not persistent,
            FindingKind.STATE_LOST: lost,
        }
        for kind, holding in holds.items():
            if holding:
                self._since.setdefault(kind.value, now)
            else:
                self._since.pop(kind.value, None)
        return [Found(kind, self._since[kind.value]) for kind, holding in holds.items() if holding]
