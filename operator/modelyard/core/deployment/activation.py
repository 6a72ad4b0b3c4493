"""Scaling of a Deployment: by a HorizontalPodAutoscaler, and to zero by an activator or by KEDA.

The activator (workloads/activator) is a pod of ours in front of the servers. KEDA's HTTP add-on has
an interceptor that requests go through: it holds them while there is no server, and its counts make
KEDA scale. An InterceptorRoute leads from hosts to a Service, and a ScaledObject says what is
scaled.
https://keda.sh/http-add-on/latest/reference/interceptorroute/
https://keda.sh/docs/latest/reference/scaledobject-spec/
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from modelyard.api.base import duration_seconds
from modelyard.api.target import Autoscaling, ScaleToZero
from modelyard.core import meta
from modelyard.core.deployment import activator, autoscaling, names, serving
from modelyard.core.deployment.observed import Observed
from modelyard.core.naming import child_name
from modelyard.core.plan import KubeObject, Ref

SCALED, ROUTE = "ScaledObject", "InterceptorRoute"
KINDS = (SCALED, ROUTE)
WAKE, WAKE_GRPC = ("wake",), ("wake", "grpc")
INTERCEPTOR = "keda-add-ons-http-interceptor-proxy"
SCALER = "keda-add-ons-http-external-scaler"
INTERCEPTOR_PORT = 8080
CONCURRENCY = 100
"""Requests in flight for each server, where requestsPerSecond says nothing: KEDA's default."""


@dataclass(frozen=True)
class Parts:
    """What a decision has to do about scaling."""

    children: tuple[dict[str, Any], ...]
    """To apply, in this order."""
    leftovers: tuple[Ref, ...]
    """To delete, in this order."""
    problem: str = ""
    """Why servers are not scaled to zero although the spec asks for it, for people."""
    refusal: str = ""
    """What the API server answered to the activator, where it may not scale."""


def parts(observed: Observed, kind_available: serving.KindAvailable) -> Parts:
    """All about scaling: never two autoscalers of one object."""
    obj, live = observed.obj, observed.children
    wanted, bounds = _wanted(observed)
    unknown = [kind for kind in KINDS if not kind_available(kind)]
    if wanted is not None and wanted.by == "Activator" and bounds is not None:
        return Parts(
            children=(*autoscaling.children(observed), *activator.children(observed, wanted)),
            leftovers=_leftovers(obj, live),
            refusal=str((meta.status(obj).get("activator") or {}).get("refusal") or ""),
        )
    if wanted is None or bounds is None or unknown:
        return Parts(
            children=autoscaling.children(observed),
            leftovers=(
                *_leftovers(obj, live),
                *activator.leftovers(observed, live),
                *autoscaling.leftovers(observed, live),
            ),
            problem=_missing(unknown) if wanted is not None and unknown else "",
        )
    rival = serving.leftover(obj, live, autoscaling.KIND, names.workload_name(obj))
    made = [
        _proxy(obj, WAKE, wanted),
        _proxy(obj, WAKE_GRPC, wanted),
        _route(obj, WAKE, names.HTTP_PORT, wanted.hosts or (), wanted, bounds),
        _route(obj, WAKE_GRPC, names.GRPC_PORT, wanted.grpc_hosts or (), wanted, bounds),
    ]
    # KEDA refuses what another autoscaler scales.
    if not rival:
        made.append(_scaled_object(obj, wanted, bounds))
    return Parts(children=tuple(made), leftovers=(*rival, *activator.leftovers(observed, live)))


def url(observed: Observed) -> str:
    """Where clients must ask so that servers are woken; empty without scaling to zero."""
    wanted = _wanted(observed)[0]
    if wanted is None:
        return ""
    if wanted.by == "Activator":
        return activator.url(observed.obj)
    host = f"{child_name(meta.name(observed.obj), *WAKE)}.{meta.namespace(observed.obj)}.svc"
    return f"http://{host}:{INTERCEPTOR_PORT}"


def asleep(observed: Observed) -> bool:
    """Whether there is to be no server, until somebody asks."""
    return _wanted(observed)[0] is not None and not observed.replicas


def _wanted(observed: Observed) -> tuple[ScaleToZero | None, Autoscaling | None]:
    cluster = observed.spec.target.cluster
    return (None, None) if cluster is None else (cluster.scale_to_zero, cluster.autoscaling)


def _missing(unknown: list[str]) -> str:
    return (
        "spec.target.cluster.scaleToZero needs KEDA and its HTTP add-on: "
        f"{' and '.join(unknown)} are not installed in this cluster"
    )


def _leftovers(obj: KubeObject, live: serving.Children) -> tuple[Ref, ...]:
    """What an earlier spec asked for; the ScaledObject first, with which KEDA wakes servers."""
    sides = (WAKE, WAKE_GRPC)
    gone = [
        (SCALED, names.workload_name(obj)),
        *((ROUTE, child_name(meta.name(obj), *side)) for side in sides),
        *(("Service", child_name(meta.name(obj), *side)) for side in sides),
    ]
    return tuple(ref for kind, name in gone for ref in serving.leftover(obj, live, kind, name))


def _proxy(obj: KubeObject, side: tuple[str, ...], wanted: ScaleToZero) -> dict[str, Any]:
    """A name in the cluster's DNS for the interceptor, which tells hosts apart."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": serving.metadata(obj, child_name(meta.name(obj), *side)),
        "spec": {
            "type": "ExternalName",
            "externalName": f"{INTERCEPTOR}.{wanted.keda_namespace}.svc.cluster.local",
        },
    }


def _route(
    obj: KubeObject,
    side: tuple[str, ...],
    port: int,
    more: list[str] | tuple[str, ...],
    wanted: ScaleToZero,
    bounds: Autoscaling,
) -> dict[str, Any]:
    name, space = child_name(meta.name(obj), *side), meta.namespace(obj)
    own = [f"{name}.{space}", f"{name}.{space}.svc", f"{name}.{space}.svc.cluster.local"]
    rate = bounds.metrics.requests_per_second
    metric: dict[str, Any] = {"concurrency": {"targetValue": CONCURRENCY}}
    if rate is not None:
        metric = {"requestRate": {"targetValue": math.ceil(rate)}}
    return {
        "apiVersion": "http.keda.sh/v1beta1",
        "kind": ROUTE,
        "metadata": serving.metadata(obj, name),
        "spec": {
            "target": {"service": names.service_name(obj), "port": port},
            "rules": [{"hosts": [*own, *more]}],
            "scalingMetric": metric,
            "timeouts": {"readiness": wanted.wait},
        },
    }


def _scaled_object(obj: KubeObject, wanted: ScaleToZero, bounds: Autoscaling) -> dict[str, Any]:
    scaler = f"{SCALER}.{wanted.keda_namespace}.svc.cluster.local:9090"
    triggers: list[dict[str, Any]] = [
        {
            "type": "external-push",
            "metadata": {
                "scalerAddress": scaler,
                "interceptorRoute": child_name(meta.name(obj), *side),
            },
        }
        for side in (WAKE, WAKE_GRPC)
    ]
    if bounds.metrics.cpu_percent is not None:
        value = str(bounds.metrics.cpu_percent)
        triggers.append(
            {
                "type": "cpu",
                "metricType": "Utilization",
                "metadata": {"value": value, "containerName": autoscaling.TRITON},
            }
        )
    window = round(duration_seconds(bounds.scale_down_delay))
    behavior = {"scaleDown": {"stabilizationWindowSeconds": window}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": SCALED,
        "metadata": serving.metadata(obj, names.workload_name(obj)),
        "spec": {
            "scaleTargetRef": serving.scale_target(obj),
            "idleReplicaCount": 0,
            "minReplicaCount": bounds.min_replicas,
            "maxReplicaCount": bounds.max_replicas,
            "cooldownPeriod": round(duration_seconds(wanted.after)),
            "advanced": {
                # Without it, servers that sleep when this is taken back would never wake.
                "restoreToOriginalReplicaCount": True,
                "horizontalPodAutoscalerConfig": {"behavior": behavior},
            },
            "triggers": triggers,
        },
    }
