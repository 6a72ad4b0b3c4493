"""Health of the process: why /healthz fails. runtime/server.py serves it."""

from __future__ import annotations

import time

from modelyard.runtime.engine import Engine

ANSWER_SECONDS = 60.0
"""After this time without a response the API server counts as unavailable; a restart of the
operator would not help."""
WATCH_SECONDS = 900.0
"""Watches are renewed at least every five minutes; one that is older than this is dead."""


def problems(engine: Engine, *, stalled_seconds: float, resync_seconds: float) -> list[str]:
    """Reasons to restart the process; empty if it is healthy.

    A blocked event loop does not respond at all, so the probe fails then as well.
    """
    now = time.monotonic()
    if now - engine.leadership.last_answer > ANSWER_SECONDS:
        return []
    found = [
        f"the watch of {kind} has not been renewed for {WATCH_SECONDS:.0f} s"
        for kind in engine.watches.expired(WATCH_SECONDS)
    ]
    if not engine.leading:
        return found
    oldest = engine.queue.oldest()
    if oldest > stalled_seconds:
        found.append(f"reconciling has stopped: the oldest due object has waited {oldest:.0f} s")
    if engine.watches.problems():
        return found  # Lists fail like watches. A restart would not help; /readyz shows why.
    overdue = now - engine.last_resync
    if overdue > 2 * resync_seconds + stalled_seconds:
        found.append(f"no resync has succeeded for {overdue:.0f} s")
    if not engine.synced and overdue > resync_seconds + stalled_seconds:
        found.append(f"the first list has not succeeded for {overdue:.0f} s")
    return found
