"""Whether the process does its work: what /healthz and /readyz answer."""

from __future__ import annotations

import time

from modelyard.runtime.engine import Engine

ANSWER_SECONDS = 60.0
"""An API server that has not answered for so long is away: a restart of ours would not help."""
WATCH_SECONDS = 900.0
"""Watches are renewed at least every five minutes; one that was not is dead."""


def problems(engine: Engine, *, stalled_seconds: float, resync_seconds: float) -> list[str]:
    """Why the process should be restarted; empty if it is well.

    A blocked event loop cannot answer at all, which fails the probe too.
    """
    now = time.monotonic()
    if now - engine.leadership.last_answer > ANSWER_SECONDS:
        return []
    found = [
        f"the watch of {kind} has not been renewed for {WATCH_SECONDS:.0f} s"
        for kind in engine.watches.silent(WATCH_SECONDS)
    ]
    if not engine.leading:
        return found
    oldest = engine.queue.oldest()
    if oldest > stalled_seconds:
        found.append(f"reconciling has stopped: the oldest due object has waited {oldest:.0f} s")
    if engine.watches.troubles():
        return found  # Lists are refused like watches. A restart would not help; /readyz tells.
    overdue = now - engine.last_resync
    if overdue > 2 * resync_seconds + stalled_seconds:
        found.append(f"no resync has succeeded for {overdue:.0f} s")
    if not engine.synced and overdue > resync_seconds + stalled_seconds:
        found.append(f"the first list has not succeeded for {overdue:.0f} s")
    return found
