"""Records of rollouts that have ended, and of what people did in one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from modelyard.api.rolloutstatus import (
    ActionName,
    Outcome,
    RolloutAction,
    RolloutRecord,
    RolloutState,
)
from modelyard.contract.statustext import truncate
from modelyard.core.deployment.actions import Actions
from modelyard.core.deployment.releases import Release

MAX_MESSAGE = 240
MAX_ACTIONS = 5
"""Actions of a rollout that are kept: the last ones."""
MAX_BYTES = 6000
"""JSON of all records together. Objects stay under 20 kB, whatever people are called."""


def with_actions(state: RolloutState, actions: Actions, moment: datetime) -> RolloutState:
    """The state of a rollout with who asked for what. What started it, its trigger says."""
    starts = {ActionName.ROLLBACK}
    if state.started_at == moment:
        starts.add(ActionName.RETRY)
    new = tuple(
        RolloutAction(action=name, at=moment, by=actions.users.get(name))
        for name in actions.asked
        if name not in starts
    )
    return state.but(actions=(*(state.actions or ()), *new)[-MAX_ACTIONS:]) if new else state


def record(
    state: RolloutState,
    *,
    candidate: Release,
    stable: Release,
    outcome: Outcome,
    message: str,
    moment: datetime,
) -> RolloutRecord:
    """The record of a rollout that ends."""
    return RolloutRecord(
        revision=state.revision,
        model_version=candidate.name,
        version=candidate.version,
        content_digest=candidate.content,
        previous=stable.version,
        trigger=state.trigger,
        started_at=state.started_at,
        ended_at=moment,
        outcome=outcome,
        servers=state.done,
        message=truncate(message, MAX_MESSAGE),
        by=state.by,
        actions=state.actions,
    )


def bounded(records: Sequence[RolloutRecord]) -> tuple[RolloutRecord, ...]:
    """Records, the latest first, within MAX_BYTES: where they are too long, the oldest lose their
    message and who did what. What was rolled out and when stays of each."""
    bare = [one.but(message=None, actions=None, by=None) for one in records]
    left = MAX_BYTES - sum(map(_size, bare))
    kept = []
    for one, rest in zip(records, bare, strict=True):
        left -= _size(one) - _size(rest)
        kept.append(one if left >= 0 else rest)
    return tuple(kept)


def _size(one: RolloutRecord) -> int:
    return len(json.dumps(one.wire(), ensure_ascii=False, separators=(",", ":")).encode()) + 1
