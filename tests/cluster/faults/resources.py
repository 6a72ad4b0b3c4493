"""The kinds that operators, controllers and tests touch, and how their objects are called here.

Children carry hashes of UIDs and random suffixes in their names; `plain` strips them, so that the
same child has the same name in every run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...kinds import PLURALS

OURS = "/apis/modelyard.dev/v1alpha1"

COLLECTIONS: Mapping[str, str] = {
    **{kind: f"{OURS}/{plural}" for kind, plural in PLURALS.items()},
    "Job": "/apis/batch/v1/jobs",
    "Pod": "/api/v1/pods",
    "Service": "/api/v1/services",
    "apps/Deployment": "/apis/apps/v1/deployments",
    "apps/ReplicaSet": "/apis/apps/v1/replicasets",
    "apps/DaemonSet": "/apis/apps/v1/daemonsets",
    "PodDisruptionBudget": "/apis/policy/v1/poddisruptionbudgets",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "Event": "/apis/events.k8s.io/v1/events",
}
CLUSTERWIDE: Mapping[str, str] = {"Node": "/api/v1/nodes"}

_PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/v[^/]+(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?$"
)
_BY_PLACE = {
    (m["group"] or "", m["plural"]): kind
    for kind, path in {**COLLECTIONS, **CLUSTERWIDE}.items()
    if (m := _PATH.match(path))
}
_SUFFIXES: Mapping[str, re.Pattern[str]] = {
    "Job": re.compile(r"-[0-9a-f]{8}$"),
    "apps/ReplicaSet": re.compile(r"-[0-9a-z]{6,10}$"),
    "Pod": re.compile(r"(-[0-9a-f]{8}|-[0-9a-z]{6,10})?-[0-9a-z]{5}$"),
    "ModelServer": re.compile(r"-[0-9a-z]{6,10}-[0-9a-z]{5}$"),
}


def path(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """URL path of a collection, an object, or its subresource."""
    base, _, plural = COLLECTIONS[kind].rpartition("/")
    parts = [base, "namespaces", namespace, plural, name, subresource]
    return "/".join(part for part in parts if part)


class Place:
    """What a request's path is about."""

    def __init__(self, url_path: str) -> None:
        found = _PATH.match(url_path)
        parts = found.groupdict() if found else {}
        group, plural = parts.get("group") or "", parts.get("plural") or ""
        self.kind = _BY_PLACE.get((group, plural), plural)
        """One of COLLECTIONS, or the plural of another kind."""
        self.name = parts.get("name") or ""
        self.subresource = parts.get("subresource") or ""


def plain(kind: str, name: str) -> str:
    """A name without what differs from run to run."""
    suffix = _SUFFIXES.get(kind)
    return suffix.sub("", name) if suffix else name


def subject(event: Mapping[str, Any]) -> str:
    """What an Event tells, as `Kind/name Reason`."""
    about = event.get("regarding") or {}
    return f"{about.get('kind')}/{about.get('name')} {event.get('reason')}"
