"""What the children of a Deployment that deal with its serving pods have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelyard.api.base import API_VERSION
from modelyard.contract import labels
from modelyard.core import meta, ownership
from modelyard.core.plan import KubeObject, Ref

Children = Mapping[tuple[str, str], KubeObject]
"""Children by their kind's name in the cache and their own."""
KindAvailable = Callable[[str], bool]
"""Whether the API server knows a kind."""


def selector(obj: KubeObject) -> dict[str, str]:
    """Labels that all serving pods of a Deployment carry."""
    return {labels.OWNER_UID: meta.uid(obj), labels.COMPONENT: "server"}


def metadata(obj: KubeObject, child: str, **extra_labels: str) -> dict[str, Any]:
    """Metadata of a child."""
    return meta.child_metadata(obj, "Deployment", child=child, component="server", **extra_labels)


def scale_target(obj: KubeObject) -> dict[str, Any]:
    """Names the Modelyard Deployment itself to autoscalers.

    They write its replicas through the scale subresource, as they do with any Deployment, and the
    operator follows. The apps/v1 Deployment, whose replicas the operator owns, has one writer.
    """
    return {"apiVersion": API_VERSION, "kind": "Deployment", "name": meta.name(obj)}


def leftover(obj: KubeObject, live: Children, kind: str, name: str) -> tuple[Ref, ...]:
    """A child that is wanted no more, if there is one and it is ours."""
    found = live.get((kind, name))
    if found is None or meta.deleting(found) or not ownership.owns(obj, found):
        return ()
    where = meta.namespace(obj)
    return (Ref(found["apiVersion"], found["kind"], where, name, meta.uid(found)),)
