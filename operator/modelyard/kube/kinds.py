"""The kinds that the engine reads and writes, and their URLs.

kopf and the API server need group, version and plural, since the plural `deployments` is both ours
and that of `apps`. The cache and controllers use one name per kind: the kind itself, and
`apps/Deployment` and `apps/DaemonSet` for those of `apps`, `core/Event` for events that are read.
Our own kinds come from api/kinds.py; a built-in kind that a controller needs is added here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.api.base import GROUP, VERSION
from modelyard.api.kinds import ALL_KINDS
from modelyard.contract.labels import MANAGED_BY, MANAGER

MANAGED = f"{MANAGED_BY}={MANAGER}"


@dataclass(frozen=True, slots=True)
class KubeKind:
    """One kind that the API server serves."""

    name: str
    """Name in the cache and in Controller.children."""
    group: str
    version: str
    plural: str
    kind: str
    selector: str | None = None
    """Label selector of the watch; None watches all objects."""
    fields: str | None = None
    """Field selector of the watch."""

    @property
    def ours(self) -> bool:
        """Whether the kind is of our API group."""
        return self.group == GROUP

    @property
    def api_version(self) -> str:
        """The value of `apiVersion` in manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection, or of one object, or of its subresource. Objects of
        cluster-scoped kinds (Node) have the namespace ""."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/" + "/".join(parts)


OURS = tuple(KubeKind(i.kind, GROUP, VERSION, i.plural, i.kind) for i in ALL_KINDS)

BUILT_IN = (
    KubeKind("Node", "", "v1", "nodes", "Node"),
    KubeKind(
        "core/Event",
        "",
        "v1",
        "events",
        "Event",
        # Of Jobs and DaemonSets, which say nowhere else that no pod could be made.
        fields="reason=FailedCreate,involvedObject.kind!=ReplicaSet,"
        "involvedObject.kind!=StatefulSet",
    ),
    KubeKind("Job", "batch", "v1", "jobs", "Job", MANAGED),
    KubeKind("Pod", "", "v1", "pods", "Pod", MANAGED),
    KubeKind("Service", "", "v1", "services", "Service", MANAGED),
    KubeKind("ConfigMap", "", "v1", "configmaps", "ConfigMap", MANAGED),
    KubeKind("apps/Deployment", "apps", "v1", "deployments", "Deployment", MANAGED),
    KubeKind("apps/DaemonSet", "apps", "v1", "daemonsets", "DaemonSet", MANAGED),
    KubeKind(
        "HorizontalPodAutoscaler",
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        MANAGED,
    ),
    KubeKind(
        "PodDisruptionBudget",
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        MANAGED,
    ),
)

_GATEWAY = ("gateway.networking.k8s.io", "v1")

OPTIONAL = (
    KubeKind("HTTPRoute", *_GATEWAY, "httproutes", "HTTPRoute", MANAGED),
    KubeKind("GRPCRoute", *_GATEWAY, "grpcroutes", "GRPCRoute", MANAGED),
    KubeKind("ScaledObject", "keda.sh", "v1alpha1", "scaledobjects", "ScaledObject", MANAGED),
    KubeKind(
        "InterceptorRoute",
        "http.keda.sh",
        "v1beta1",
        "interceptorroutes",
        "InterceptorRoute",
        MANAGED,
    ),
)
"""Kinds that a cluster may lack, for Controller.optional."""

LEASE = KubeKind("Lease", "coordination.k8s.io", "v1", "leases", "Lease")
EVENT = KubeKind("Event", "events.k8s.io", "v1", "events", "Event")

_BY_NAME: Mapping[str, KubeKind] = {k.name: k for k in (*OURS, *BUILT_IN, *OPTIONAL)}
_BY_TYPE: Mapping[tuple[str, str], KubeKind] = {
    (k.api_version, k.kind): k for k in _BY_NAME.values()
}


class UnknownKind(Exception):
    """A controller names a kind that is not in this module's tables."""


def by_name(name: str) -> KubeKind:
    """The kind with a cache name. Raises UnknownKind."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UnknownKind(f"kind {name!r} is not known; add it to kube/kinds.py") from None


def by_type(api_version: str, kind: str) -> KubeKind:
    """The kind of an apiVersion and kind. Raises UnknownKind."""
    try:
        return _BY_TYPE[api_version, kind]
    except KeyError:
        raise UnknownKind(f"{api_version} {kind} is not known; add it to kube/kinds.py") from None


def of(manifest: Mapping[str, Any]) -> KubeKind:
    """The kind of a manifest. Raises UnknownKind, also without apiVersion and kind."""
    return by_type(str(manifest.get("apiVersion")), str(manifest.get("kind")))
