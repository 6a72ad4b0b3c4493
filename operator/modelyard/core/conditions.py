"""Conditions as metav1.Condition: built anew each time, only transition times carry over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from modelyard.contract.statustext import (
    MAX_MESSAGE,
    READY,
    RECONCILING,
    STALLED,
    parse_timestamp,
    timestamp,
    truncate,
)

__all__ = [
    "MAX_MESSAGE",
    "READY",
    "RECONCILING",
    "STALLED",
    "Cond",
    "conditions",
    "find",
    "is_true",
    "parse_timestamp",
    "timestamp",
]


class Cond(NamedTuple):
    """A condition without its bookkeeping."""

    type: str
    status: bool | None
    """None is Unknown."""
    reason: str
    message: str = ""


def conditions(
    wanted: Iterable[Cond],
    *,
    previous: Iterable[Mapping[str, Any]] | None,
    generation: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """Conditions for the API server; lastTransitionTime moves only when the status does."""
    before = {c["type"]: c for c in previous or ()}
    result = []
    for cond in wanted:
        status = "Unknown" if cond.status is None else str(cond.status)
        old = before.get(cond.type)
        unchanged = old is not None and old.get("status") == status
        since = old["lastTransitionTime"] if unchanged and old else timestamp(now)
        result.append(
            {
                "type": cond.type,
                "status": status,
                "reason": cond.reason,
                "message": truncate(cond.message),
                "lastTransitionTime": since,
                "observedGeneration": generation,
            }
        )
    return result


def find(obj: Mapping[str, Any] | None, type_: str) -> Mapping[str, Any] | None:
    """A condition of an object by type, or None."""
    conditions: Iterable[Mapping[str, Any]] = ((obj or {}).get("status") or {}).get(
        "conditions"
    ) or ()
    for cond in conditions:
        if cond.get("type") == type_:
            return cond
    return None


def is_true(obj: Mapping[str, Any] | None, type_: str) -> bool:
    """Whether an object has a condition with status True."""
    cond = find(obj, type_)
    return cond is not None and cond.get("status") == "True"
