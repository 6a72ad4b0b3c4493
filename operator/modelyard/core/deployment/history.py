"""Records of rollouts that have ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from modelyard.core.conditions import cut, timestamp
from modelyard.core.deployment.releases import Release

MAX_MESSAGE = 240


def record(
    state: dict[str, Any],
    candidate: Release,
    stable: Release,
    outcome: str,
    message: str,
    now: datetime,
) -> dict[str, Any]:
    """An api.rolloutstatus.RolloutRecord."""
    return {
        "revision": state["revision"],
        "modelVersion": candidate.name,
        "version": candidate.version,
        "previous": stable.version,
        "trigger": state["trigger"],
        "startedAt": state["startedAt"],
        "endedAt": timestamp(now),
        "outcome": outcome,
        "servers": int(state.get("done") or 0),
        "message": cut(message, MAX_MESSAGE),
    }
