"""Records of rollouts that have ended, and of what people did in one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from modelyard.core.conditions import cut, timestamp
from modelyard.core.deployment.actions import Actions
from modelyard.core.deployment.releases import Release

MAX_MESSAGE = 240
MAX_ACTIONS = 5
"""Actions of a rollout that are kept: the last ones."""
MAX_BYTES = 6000
"""JSON of all records together. Objects stay under 20 kB, whatever people are called."""
_DETAILS = ("message", "actions", "by")


def noted(state: dict[str, Any], actions: Actions, now: datetime) -> None:
    """Keep in a rollout's state who asked for what. What started it, its trigger says."""
    starts = ("rollback", "retry") if state["startedAt"] == timestamp(now) else ("rollback",)
    new = [
        {"action": name, "at": timestamp(now)}
        | ({"by": actions.users[name]} if name in actions.users else {})
        for name in actions.asked
        if name not in starts
    ]
    if new:
        state["actions"] = [*(state.get("actions") or ()), *new][-MAX_ACTIONS:]


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
        "contentDigest": candidate.content,
        "previous": stable.version,
        "trigger": state["trigger"],
        "startedAt": state["startedAt"],
        "endedAt": timestamp(now),
        "outcome": outcome,
        "servers": int(state.get("done") or 0),
        "message": cut(message, MAX_MESSAGE),
    } | {key: state[key] for key in ("by", "actions") if state.get(key)}


def bounded(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records, the latest first, within MAX_BYTES: where they are too long, the oldest lose their
    message and who did what. What was rolled out and when stays of each."""
    bare = [{k: v for k, v in one.items() if k not in _DETAILS} for one in records]
    room = MAX_BYTES - sum(map(_size, bare))
    kept = []
    for one, rest in zip(records, bare, strict=True):
        room -= _size(one) - _size(rest)
        kept.append(one if room >= 0 else rest)
    return kept


def _size(record: dict[str, Any]) -> int:
    return len(json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()) + 1
