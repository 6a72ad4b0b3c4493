"""What of an object the operator keeps: objects are many, and most of most is never read.

An applied kind is kept whole but for what the API server alone writes: kube/apply.py compares it
field by field with what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelyard.contract.paths import RUN_ANNOTATION
from modelyard.core.fleet.projections import status_written
from modelyard.kube.api import Object

_BULK = ("kubectl.kubernetes.io/last-applied-configuration",)
_NODE_METADATA = ("name", "uid", "resourceVersion", "labels", "deletionTimestamp")
_CONTAINER_STATUS = ("name", "image", "ready", "restartCount", "state")


def trimmed(kind: str, obj: Object) -> Object:
    """The part of an object that is kept; `obj` may be changed by it."""
    metadata = obj["metadata"]
    if kind == "ModelServer":
        _keep_status_time(metadata)
    else:
        metadata.pop("managedFields", None)
    annotations = metadata.get("annotations")
    if annotations:
        for bulk in _BULK:
            annotations.pop(bulk, None)
    trim = TRIMS.get(kind)
    return obj if trim is None else trim(obj)


def _keep_status_time(metadata: Object) -> None:
    """Of managedFields, keep when the status was written last: core.fleet.arrival needs it."""
    written = status_written(metadata)
    metadata.pop("managedFields", None)
    if written:
        metadata["managedFields"] = [{"subresource": "status", "time": written}]


def _node(obj: Object) -> Object:
    """Whether pods may run there, and where it is. Its heartbeats and images are left out."""
    return {
        **_type(obj),
        "metadata": _only(obj["metadata"], _NODE_METADATA),
        "spec": _only(obj.get("spec"), ("unschedulable", "taints")),
        "status": {
            "conditions": [
                _only(one, ("type", "status", "reason"))
                for one in _list(obj.get("status"), "conditions")
                if one.get("type") == "Ready"
            ]
        },
    }


def _pod(obj: Object) -> Object:
    """Where it runs and how it is, not what it was made of: no pod is ever applied."""
    metadata = dict(obj["metadata"])
    annotations = metadata.get("annotations")
    if annotations:
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != RUN_ANNOTATION}
    owners = metadata.get("ownerReferences")
    if owners:
        metadata["ownerReferences"] = [_only(one, ("kind", "name", "uid")) for one in owners]
    spec = obj.get("spec") or {}
    status = obj.get("status")
    kept = _only(status, ("phase", "reason", "message", "startTime"))
    kept["conditions"] = [
        _only(one, ("type", "status", "reason", "message", "lastTransitionTime"))
        for one in _list(status, "conditions")
        if one.get("type") in ("Ready", "PodScheduled", "DisruptionTarget")
    ]
    for field in ("initContainerStatuses", "containerStatuses"):
        if status and status.get(field):
            kept[field] = [_only(one, _CONTAINER_STATUS) for one in status[field]]
    return {
        **_type(obj),
        "metadata": metadata,
        "spec": _only(spec, ("nodeName",) if spec.get("nodeName") else ("affinity",)),
        "status": kept,
    }


TRIMS: Mapping[str, Callable[[Object], Object]] = {"Node": _node, "Pod": _pod}
"""By the kind's name in the cache; others are kept whole."""


def _type(obj: Object) -> Object:
    return _only(obj, ("apiVersion", "kind"))


def _only(obj: Object | None, fields: tuple[str, ...]) -> Object:
    return {field: obj[field] for field in fields if field in obj} if obj else {}


def _list(obj: Object | None, field: str) -> list[Object]:
    return (obj or {}).get(field) or []
