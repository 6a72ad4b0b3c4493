"""Reading and writing metadata of objects as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.api.base import API_VERSION
from modelyard.contract import labels
from modelyard.core.plan import Key, KubeObject

RETRY = "modelyard.dev/retry"
"""Annotation: any new value makes the operator try a failed object again."""


def name(obj: KubeObject) -> str:
    """Name of an object."""
    return str(obj["metadata"]["name"])


def namespace(obj: KubeObject) -> str:
    """Namespace of a namespaced object."""
    return str(obj["metadata"]["namespace"])


def uid(obj: KubeObject) -> str:
    """UID of an object."""
    return str(obj["metadata"]["uid"])


def generation(obj: KubeObject) -> int:
    """Generation of an object; 0 where it has none."""
    return int(obj["metadata"].get("generation", 0))


def annotation(obj: KubeObject, key: str) -> str | None:
    """Value of an annotation, or None."""
    value = (obj["metadata"].get("annotations") or {}).get(key)
    return None if value is None else str(value)


def deleting(obj: KubeObject) -> bool:
    """Whether an object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def status(obj: KubeObject) -> Mapping[str, Any]:
    """Status of an object; empty before the first one is written."""
    return obj.get("status") or {}


def key(obj: KubeObject, kind: str) -> Key:
    """Key of an object of a kind."""
    return Key(kind, namespace(obj), name(obj))


def owner_reference(owner: KubeObject, kind: str) -> dict[str, Any]:
    """A controller reference to one of our objects."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child_metadata(
    owner: KubeObject, kind: str, *, child: str, component: str, **extra_labels: str
) -> dict[str, Any]:
    """Metadata that every child carries: name, labels, owner."""
    own = labels.labels(component=component, owner_name=name(owner), owner_uid=uid(owner))
    return {
        "name": child,
        "namespace": namespace(owner),
        "labels": own | extra_labels,
        "annotations": {labels.OWNER: f"{kind}/{name(owner)}"},
        "ownerReferences": [owner_reference(owner, kind)],
    }
