"""The pod that stays awake for servers that sleep, and its Service.

A Service without endpoints refuses connections, so somebody has to accept the first request while
no server runs: this pod does, and asks for a server through the scale subresource. What it does
with requests: workloads/activator. Who else can scale to zero: activation.py.
"""

from __future__ import annotations

import math
from typing import Any

from modelyard.api.base import duration_seconds
from modelyard.api.target import ScaleToZero
from modelyard.contract import labels
from modelyard.core import meta, pods
from modelyard.core.deployment import disruption, names, serving
from modelyard.core.deployment.observed import Observed
from modelyard.core.naming import MAX_NAME, child_name
from modelyard.core.plan import KubeObject, Ref

COMPONENT = "activator"
ACCOUNT = "modelyard-activator"
"""Service account of the chart that may scale, nothing else."""
RESOURCES = {
    "requests": {"cpu": "50m", "memory": "64Mi", pods.DISK: "64Mi"},
    # A thousand connections that wait; the files of the log.
    "limits": {"memory": "256Mi", pods.DISK: "256Mi"},
}
DRAIN_SECONDS = 5
END_SECONDS = 20
"""What a server gets for its answers once the pod has heard of its end (activator/__main__.py)."""
MARGIN_SECONDS = 15
LATE_SECONDS = 5
"""How much later than their replicas servers may hear of their end."""
UID_DIGITS = 12
"""Digits at the end of its Deployment's UID in the name of its pods: the admission policy
`activator-scales` compares them with the UID of the object that a pod wants to scale."""
_GENERATED = len("-0123456789-") + 5
"""What the ReplicaSet (a hash) and the pod (5 characters) append. Kubernetes cuts longer names, and
the digits with them."""


def children(observed: Observed, wanted: ScaleToZero) -> tuple[dict[str, Any], ...]:
    """Its Deployment and its Service."""
    return _deployment(observed, wanted), _service(observed.obj)


def leftovers(observed: Observed, live: serving.Children) -> tuple[Ref, ...]:
    """Those of an earlier spec."""
    obj = observed.obj
    return (
        *serving.leftover(obj, live, "Service", _name(obj)),
        *serving.leftover(obj, live, "apps/Deployment", workload_name(obj)),
    )


def url(obj: KubeObject) -> str:
    """Where clients ask over HTTP, within the cluster."""
    return f"http://{_name(obj)}.{meta.namespace(obj)}.svc:{names.HTTP_PORT}"


def workload_name(obj: KubeObject) -> str:
    """The apps/v1 Deployment: short enough that its pods' names contain it whole."""
    mark = f"-{COMPONENT}-{meta.uid(obj)[-UID_DIGITS:]}"
    stem = meta.name(obj).replace(".", "-")[: MAX_NAME - _GENERATED - len(mark)]
    return stem.rstrip("-") + mark


def _name(obj: KubeObject) -> str:
    """The Service."""
    return child_name(meta.name(obj), COMPONENT)


def _metadata(obj: KubeObject, child: str) -> dict[str, Any]:
    return meta.child_metadata(obj, "Deployment", child=child, component=COMPONENT)


def _selector(obj: KubeObject) -> dict[str, str]:
    return {labels.OWNER_UID: meta.uid(obj), labels.COMPONENT: COMPONENT}


def _service(obj: KubeObject) -> dict[str, Any]:
    ports = {"http": names.HTTP_PORT, "grpc": names.GRPC_PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(obj, _name(obj)),
        "spec": {
            "selector": _selector(obj),
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
                for name, port in ports.items()
            ],
        },
    }


def _deployment(observed: Observed, wanted: ScaleToZero) -> dict[str, Any]:
    obj = observed.obj
    metadata = _metadata(obj, workload_name(obj))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            # Each knows only of its own connections: a second one would not know when all is quiet.
            "replicas": 1,
            "selector": {"matchLabels": _selector(obj)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "revisionHistoryLimit": 2,
            "template": {
                "metadata": {"labels": metadata["labels"]},
                "spec": _pod(observed, wanted),
            },
        },
    }


def _arguments(observed: Observed, wanted: ScaleToZero) -> list[str]:
    obj, cluster = observed.obj, observed.spec.target.cluster
    bounds = cluster.autoscaling if cluster else None
    servers = f"{names.service_name(obj)}.{meta.namespace(obj)}.svc"
    return [
        f"--deployment={meta.name(obj)}",
        f"--namespace={meta.namespace(obj)}",
        f"--servers={bounds.min_replicas if bounds else 1}",
        f"--after={duration_seconds(wanted.after):g}",
        f"--wait={duration_seconds(wanted.wait):g}",
        f"--leave={disruption.drain_seconds(observed) + LATE_SECONDS}",
        f"--ready=http://{servers}:{names.HTTP_PORT}/v2/health/ready",
        *(f"--port={port}={servers}:{port}" for port in (names.HTTP_PORT, names.GRPC_PORT)),
    ]


def _pod(observed: Observed, wanted: ScaleToZero) -> dict[str, Any]:
    settings = observed.settings
    token, token_mount = pods.token_volume()
    ports = {"http": names.HTTP_PORT, "grpc": names.GRPC_PORT}
    probe = {"tcpSocket": {"port": names.HTTP_PORT}, "timeoutSeconds": 3}
    container = {
        "name": COMPONENT,
        "image": settings.images.worker,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["python", "-m", "modelyard.workloads.activator"],
        "args": _arguments(observed, wanted),
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()
        ],
        "resources": RESOURCES,
        "securityContext": pods.container_security(),
        "volumeMounts": [token_mount],
        "readinessProbe": {**probe, "periodSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 20, "failureThreshold": 6},
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
    }
    return {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Who waits for a server when the pod is told to end still gets its answer.
        "terminationGracePeriodSeconds": math.ceil(duration_seconds(wanted.wait))
        + DRAIN_SECONDS
        + END_SECONDS
        + MARGIN_SECONDS,
        "securityContext": pods.pod_security(),
        "containers": [container],
        "volumes": [token],
    } | pods.pull_secrets(settings)
