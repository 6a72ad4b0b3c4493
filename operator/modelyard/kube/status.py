"""Status patches: only the differences, and the engine's own Stalled condition.

Used by runtime/executor.py (patches) and runtime/reconciler.py (Stalled).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from modelyard.contract.statustext import STALLED, timestamp, truncate
from modelyard.core.plan import KubeObject
from modelyard.kube.api import Object


def merge_diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """The JSON merge patch (RFC 7386) from old to new; empty if they are equal.

    None in `new` means absent.
    """
    patch: Object = {}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_diff(before, value)
            if inner:
                patch[key] = inner
        elif value != before:
            # A mapping that replaces nothing or a scalar is itself a merge patch without its nulls.
            patch[key] = _without_none(value)
    for key in old:
        if key not in new:
            patch[key] = None
    return patch


def status_patch(obj: KubeObject, status: Mapping[str, Any], pod_owned: Collection[str]) -> Object:
    """The status part of a merge patch from an object's status to the desired one.

    `pod_owned` fields, which pods write, are left out. Empty if nothing differs.
    """
    old = {k: v for k, v in (obj.get("status") or {}).items() if k not in pod_owned}
    new = {k: v for k, v in status.items() if k not in pod_owned and v is not None}
    return merge_diff(old, new)


def precondition(obj: KubeObject) -> Object:
    """Metadata that makes a patch fail with Conflict unless the object is unchanged."""
    metadata = obj["metadata"]
    return {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}


def with_stalled(obj: KubeObject, reason: str, message: str, now: datetime) -> Object:
    """The object's current status with Stalled=True added; the rest is unchanged."""
    status = dict(obj.get("status") or {})
    conditions = list(status.get("conditions") or ())
    old = next((c for c in conditions if c.get("type") == STALLED), None)
    unchanged = old is not None and old.get("status") == "True"
    stalled = {
        "type": STALLED,
        "status": "True",
        "reason": reason,
        "message": truncate(message),
        "lastTransitionTime": old["lastTransitionTime"] if unchanged and old else timestamp(now),
        "observedGeneration": obj["metadata"].get("generation", 0),
    }
    status["conditions"] = [c for c in conditions if c.get("type") != STALLED] + [stalled]
    return status


def stalled_reason(obj: KubeObject) -> str | None:
    """Reason of an object's Stalled=True, or None if it has no such condition."""
    for c in (obj.get("status") or {}).get("conditions") or ():
        if c.get("type") == STALLED and c.get("status") == "True":
            return str(c.get("reason") or "")
    return None


def without_stalled(obj: KubeObject, reasons: Collection[str]) -> Object | None:
    """The object's current status without a Stalled condition of these reasons, or None if it has
    no such condition."""
    status = obj.get("status") or {}
    before = status.get("conditions") or ()
    after = [c for c in before if c.get("type") != STALLED or c.get("reason") not in reasons]
    return None if len(after) == len(before) else {**status, "conditions": after}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value
