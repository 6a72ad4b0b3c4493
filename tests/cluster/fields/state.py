"""What a user sees of an object: its status and its children, less what differs from one object to
the next although both were asked for the same (names, UIDs, times, counters of writes)."""

from __future__ import annotations

import re
from typing import Any

import orjson

from ...kinds import OPERATORS_ALONE
from .apiserver import Object, View

CHILDREN = (
    "Job", "apps/Deployment", "apps/DaemonSet", "Service", *OPERATORS_ALONE,
    "HorizontalPodAutoscaler", "PodDisruptionBudget",
)  # fmt: skip
PASSING = frozenset(
    {
        "observedGeneration", "lastTransitionTime", "startTime", "completionTime", "since",
        "lastProgressAt", "rolloutStartedAt", "creationTimestamp", "clusterIP", "clusterIPs",
        "uid", "resourceVersion", "generation", "managedFields", "revision", "history",
        "rollbackTarget",
        "modelyard.dev/template", "modelyard.dev/template-since",
    }
)  # fmt: skip
OURS = re.compile(r"^(app\.kubernetes\.io|modelyard\.dev)/(?!applied-hash)")


def state(view: View, kind: str, obj: Object) -> dict[str, Any]:
    """The normalised state of one of our objects."""
    own = obj["metadata"]
    children = [
        (child_kind, child)
        for child_kind in CHILDREN
        for child in view.of_owner(child_kind, own["uid"])
    ]
    pods = view.of_owner("Pod", own["uid"])
    raw = {
        "status": obj.get("status") or {},
        "children": sorted(
            (_child(child_kind, child) for child_kind, child in children),
            key=lambda one: (one["kind"], one["name"]),
        ),
    }
    if kind in OPERATORS_ALONE:
        raw["spec"] = obj["spec"]
    text = orjson.dumps(_lasting(raw)).decode()
    names = {
        own["uid"]: "UID",
        **{c["metadata"]["uid"]: "CHILD-UID" for _, c in children},
        **{c["metadata"]["name"]: "CHILD" for _, c in children},
        **{p["metadata"]["name"]: "POD" for p in pods},
        own["name"]: "NAME",
    }
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    return orjson.loads(text)


def _child(kind: str, child: Object) -> dict[str, Any]:
    metadata = child["metadata"]
    kept: dict[str, Any] = {"kind": kind, "name": metadata["name"], "spec": child["spec"]}
    for part in ("labels", "annotations"):
        values = metadata.get(part) or {}
        kept[part] = {k: v for k, v in sorted(values.items()) if OURS.match(k)}
    if kind == "ModelServer":
        kept["loaded"] = (child.get("status") or {}).get("loaded")
    return kept


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        # A hash of a template, which names the object. The template itself is looked at.
        named = "template" if isinstance(value.get("template"), str) else ""
        return {k: _lasting(v) for k, v in value.items() if k not in PASSING and k != named}
    if isinstance(value, list):
        return [_lasting(item) for item in value]
    return value


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two states differ, for people."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted({*one, *other}):
            found += differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{path}[{i}]")]
    return [] if one == other else [f"{path}: {one!r:.300} / {other!r:.300}"]


def condition(obj: Object, type_: str) -> Object | None:
    """A condition by its type."""
    for one in (obj.get("status") or {}).get("conditions") or ():
        if one["type"] == type_:
            return dict(one)
    return None


def reasons(obj: Object) -> set[str]:
    """Reasons of all conditions."""
    return {c["reason"] for c in (obj.get("status") or {}).get("conditions") or ()}
