"""Removes fields that the operator never reads from objects before they are cached.

There are many objects, and most of their content is never read. Kinds that the operator applies are
kept whole except for metadata of the API server, since apply.py compares them field by field with
the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelyard.contract.paths import RUN_ANNOTATION
from modelyard.core.fleet.projections import status_written
from modelyard.kube.api import Object

_DROPPED_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)
_NODE_METADATA = ("name", "uid", "resourceVersion", "labels", "deletionTimestamp")
_OWNER = ("apiVersion", "kind", "name", "uid", "controller")
_CONTAINER_STATUS = ("name", "image", "ready", "restartCount", "state")
_TERMINATED = ("exitCode", "reason", "signal")
"""Of a container's last termination; its message, if it is a result, is of an earlier attempt."""
_EVENT_METADATA = ("name", "namespace", "uid", "resourceVersion")


def trimmed(kind: str, obj: Object) -> Object:
    """The part of an object to keep; may change `obj`."""
    metadata = obj["metadata"]
    if kind == "ModelServer":
        _keep_status_time(metadata)
    else:
        metadata.pop("managedFields", None)
    annotations = metadata.get("annotations")
    if annotations:
        for name in _DROPPED_ANNOTATIONS:
            annotations.pop(name, None)
    trim = TRIMS.get(kind)
    return obj if trim is None else trim(obj)


def _keep_status_time(metadata: Object) -> None:
    """Keep only the time of the last status write of managedFields; core.fleet.arrival needs it."""
    written = status_written(metadata)
    metadata.pop("managedFields", None)
    if written:
        metadata["managedFields"] = [{"subresource": "status", "time": written}]


def _node(obj: Object) -> Object:
    """Labels, taints and readiness of a node; heartbeats and images are removed."""
    return {
        **_type(obj),
        "metadata": _only(obj["metadata"], _NODE_METADATA),
        "spec": _only(obj.get("spec"), ("unschedulable", "taints")),
        "status": {
            "conditions": [
                _only(one, ("type", "status", "reason", "lastTransitionTime"))
                for one in _list(obj.get("status"), "conditions")
                if one.get("type") == "Ready"
            ]
        },
    }


def _pod(obj: Object) -> Object:
    """Placement and state of a pod. Its template is removed: pods are never applied."""
    metadata = dict(obj["metadata"])
    annotations = metadata.get("annotations")
    if annotations:
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != RUN_ANNOTATION}
    owners = metadata.get("ownerReferences")
    if owners:
        metadata["ownerReferences"] = [_only(one, _OWNER) for one in owners]
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
            kept[field] = [_container(one) for one in status[field]]
    return {
        **_type(obj),
        "metadata": metadata,
        "spec": _only(spec, ("nodeName",) if spec.get("nodeName") else ("affinity",)),
        "status": kept,
    }


def _container(status: Object) -> Object:
    kept = _only(status, _CONTAINER_STATUS)
    last = (status.get("lastState") or {}).get("terminated")
    if last:
        kept["lastState"] = {"terminated": _only(last, _TERMINATED)}
    return kept


def _event(obj: Object) -> Object:
    """Of which object an event is, when it was last, and its words."""
    return {
        **_type(obj),
        "metadata": _only(obj["metadata"], _EVENT_METADATA),
        "involvedObject": _only(obj.get("involvedObject"), ("kind", "name", "uid")),
        **_only(obj, ("message", "lastTimestamp", "eventTime")),
    }


TRIMS: Mapping[str, Callable[[Object], Object]] = {
    "Node": _node,
    "Pod": _pod,
    "core/Event": _event,
}
"""Functions by the kind's name in the cache; other kinds are kept whole."""


def _type(obj: Object) -> Object:
    return _only(obj, ("apiVersion", "kind"))


def _only(obj: Object | None, fields: tuple[str, ...]) -> Object:
    return {field: obj[field] for field in fields if field in obj} if obj else {}


def _list(obj: Object | None, field: str) -> list[Object]:
    return (obj or {}).get(field) or []
