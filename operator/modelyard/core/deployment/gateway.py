"""Routes of the Gateway API for a Deployment, and the two Services that they split between.

https://gateway-api.sigs.k8s.io/reference/spec/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.rolloutstages import Place, locate, stages
from modelyard.api.rolloutstatus import RolloutState
from modelyard.api.target import Gateway
from modelyard.contract import labels
from modelyard.core import meta
from modelyard.core.deployment import names, serving
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.traffic import Server, Split, servers_of, split
from modelyard.core.deployment.traffic import labels as wanted_labels
from modelyard.core.naming import child_name
from modelyard.core.plan import KubeObject, Ref

GROUP = "gateway.networking.k8s.io/v1"
HTTP, GRPC = "HTTPRoute", "GRPCRoute"
ROUTES = (HTTP, GRPC)
STABLE, CANDIDATE = "stable", "candidate"
_H2C = "kubernetes.io/h2c"


@dataclass(frozen=True)
class Parts:
    """What a decision has to do about a Gateway."""

    children: tuple[dict[str, Any], ...] = ()
    """To apply, in this order, before anything that they lead to changes."""
    labels: tuple[dict[str, Any], ...] = ()
    """Pods to label, after that and before their servers get another version; in no order."""
    leftovers: tuple[Ref, ...] = ()
    """To delete, in this order."""
    problem: str = ""
    """Why there are no routes although the spec asks for some, for people."""


def parts(
    observed: Observed,
    *,
    stable: str,
    candidate: str | None,
    state: RolloutState | None,
    kind_available: serving.KindAvailable,
) -> Parts:
    """All about the Gateway for the release keys `stable` and `candidate`. `state` is the
    status of the rollout that is going on."""
    gone = leftovers(observed, observed.children)
    if _gateway(observed) is None:
        return Parts(leftovers=gone)
    cap, last = 100, False
    if state is not None:
        steps = stages(observed.spec.rollout, edge=False)
        stage = steps[locate(steps, Place.of(state)).index]
        cap, last = stage.weight or 100, stage is steps[-1]
    servers = servers_of(observed.fleet)
    now = split(servers, stable=stable, candidate=candidate, cap=cap, last=last)
    return Parts(
        children=children(observed, now, kind_available),
        labels=pod_labels(observed, servers, now),
        leftovers=gone,
        problem=missing(observed, kind_available),
    )


def children(
    observed: Observed, wanted: Split, kind_available: serving.KindAvailable
) -> tuple[dict[str, Any], ...]:
    """Services first, then the routes that lead to them."""
    gateway = _gateway(observed)
    if gateway is None:
        return ()
    made = [_service(observed.obj, STABLE, wanted), _service(observed.obj, CANDIDATE, wanted)]
    if kind_available(HTTP):
        made.append(_route(observed, gateway, wanted, HTTP))
    if kind_available(GRPC) and gateway.grpc_hostnames:
        made.append(_route(observed, gateway, wanted, GRPC))
    return tuple(made)


def leftovers(observed: Observed, live: serving.Children) -> tuple[Ref, ...]:
    """What an earlier spec asked for: routes before the Services that they lead to."""
    gateway = _gateway(observed)
    obj, gone = observed.obj, []
    if gateway is None:
        gone.append((HTTP, _name(obj)))
    if gateway is None or not gateway.grpc_hostnames:
        gone.append((GRPC, _name(obj)))
    if gateway is None:
        gone += [("Service", _service_name(obj, side)) for side in (STABLE, CANDIDATE)]
    return tuple(
        ref for kind, name in gone for ref in serving.leftover(observed.obj, live, kind, name)
    )


def missing(observed: Observed, kind_available: serving.KindAvailable) -> str:
    """Why there are no routes although the spec asks for some, for people; empty if there are."""
    gateway = _gateway(observed)
    if gateway is None:
        return ""
    wanted = ROUTES if gateway.grpc_hostnames else (HTTP,)
    unknown = [kind for kind in wanted if not kind_available(kind)]
    if not unknown:
        return ""
    return (
        f"spec.target.cluster.gateway needs the Gateway API: {' and '.join(unknown)} "
        f"({GROUP}) are not installed in this cluster"
    )


def pod_labels(
    observed: Observed, servers: Sequence[Server], wanted: Split
) -> tuple[dict[str, Any], ...]:
    """Pods whose label is to change, as manifests to apply that have nothing else.

    The UID keeps a pod that is gone by then from being made anew.
    """
    if _gateway(observed) is None:
        return ()
    changes = wanted_labels(servers, wanted)
    uids = {server.pod: server.uid for server in servers}
    own = serving.metadata(observed.obj, "")["labels"]
    return tuple(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod,
                "namespace": meta.namespace(observed.obj),
                "uid": uids[pod],
                "labels": {
                    labels.MANAGED_BY: own[labels.MANAGED_BY],
                    labels.OWNER_UID: own[labels.OWNER_UID],
                    labels.SERVES: label,
                },
            },
        }
        for pod, label in sorted(changes.items())
    )


def _gateway(observed: Observed) -> Gateway | None:
    cluster = observed.spec.target.cluster
    return None if cluster is None else cluster.gateway


def _name(obj: KubeObject) -> str:
    return names.workload_name(obj)


def _service_name(obj: KubeObject, side: str) -> str:
    return child_name(meta.name(obj), side)


def _service(obj: KubeObject, side: str, wanted: Split) -> dict[str, Any]:
    label = (wanted.candidate if side == CANDIDATE else "") or wanted.stable
    narrow = {labels.SERVES: label} if label else {}
    ports = [
        {"name": "http", "port": names.HTTP_PORT, "targetPort": names.HTTP_PORT},
        {
            "name": "grpc",
            "port": names.GRPC_PORT,
            "targetPort": names.GRPC_PORT,
            "appProtocol": _H2C,
        },
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": serving.metadata(obj, _service_name(obj, side)),
        "spec": {
            "selector": {**serving.selector(obj), **narrow},
            "ports": [{**port, "protocol": "TCP"} for port in ports],
        },
    }


def _route(observed: Observed, gateway: Gateway, wanted: Split, kind: str) -> dict[str, Any]:
    hosts = gateway.hostnames if kind == HTTP else gateway.grpc_hostnames
    spec: dict[str, Any] = {
        "parentRefs": [
            ref.model_dump(by_alias=True, exclude_none=True) for ref in gateway.parent_refs
        ],
        "rules": list(_rules(observed, gateway, wanted, kind)),
    }
    if hosts:
        spec["hostnames"] = list(hosts)
    metadata = serving.metadata(observed.obj, _name(observed.obj))
    return {"apiVersion": GROUP, "kind": kind, "metadata": metadata, "spec": spec}


def _rules(
    observed: Observed, gateway: Gateway, wanted: Split, kind: str
) -> Iterable[dict[str, Any]]:
    """Requests for the candidate by header, if there is such a rule; then all others."""
    obj, candidate = observed.obj, gateway.candidate
    match = _match(observed, gateway, kind)
    if candidate.header is not None:
        header = {"type": "Exact", **candidate.header.model_dump()}
        yield {
            "matches": [{**match, "headers": [header]}],
            "backendRefs": [_backend(obj, CANDIDATE, kind, 1)],
        }
    weight = wanted.weight if candidate.weighted else 0
    rule: dict[str, Any] = {
        **({"matches": [match]} if match else {}),
        "backendRefs": [
            _backend(obj, STABLE, kind, 100 - weight),
            _backend(obj, CANDIDATE, kind, weight),
        ],
    }
    # Nothing is copied to servers that answer the requests themselves.
    if candidate.mirror is not None and wanted.candidate:
        copied: dict[str, Any] = {"backendRef": _backend(obj, CANDIDATE, kind, None)}
        if candidate.mirror < 100:
            copied["percent"] = candidate.mirror
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": copied}]
    yield rule


def _match(observed: Observed, gateway: Gateway, kind: str) -> dict[str, Any]:
    if kind == GRPC:
        return {}  # Its hosts are all its own.
    path = "/v2" if gateway.hostnames else f"/v2/models/{observed.spec.model_line}"
    return {"path": {"type": "PathPrefix", "value": path}}


def _backend(obj: KubeObject, side: str, kind: str, weight: int | None) -> dict[str, Any]:
    port = names.HTTP_PORT if kind == HTTP else names.GRPC_PORT
    ref: dict[str, Any] = {"name": _service_name(obj, side), "port": port}
    return ref if weight is None else {**ref, "weight": weight}
