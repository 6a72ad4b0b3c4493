"""Children of a Deployment: Triton servers with their agents, the Service, ModelServers."""

from __future__ import annotations

from typing import Any

from modelyard.api.base import API_VERSION
from modelyard.contract import labels, paths
from modelyard.contract.run import AgentRun, dump_run
from modelyard.core import meta, pods
from modelyard.core.deployment import names
from modelyard.core.deployment.observed import Observed, ServerState
from modelyard.core.plan import Manifest

TRITON = "triton"
AGENT = "agent"


def _selector(obj: Manifest) -> dict[str, str]:
    return {labels.OWNER_UID: meta.uid(obj), labels.COMPONENT: "server"}


def label_selector(obj: Manifest) -> str:
    """The serving pods' selector in text form, for the scale subresource."""
    return ",".join(f"{k}={v}" for k, v in sorted(_selector(obj).items()))


def _metadata(observed: Observed, name: str) -> dict[str, Any]:
    return meta.child_metadata(observed.obj, "Deployment", child=name, component="server")


def service(observed: Observed) -> dict[str, Any]:
    """The Service that routes to servers that answer."""
    ports = {"http": names.HTTP_PORT, "grpc": names.GRPC_PORT, "metrics": names.METRICS_PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(observed, names.service_name(observed.obj)),
        "spec": {
            "selector": _selector(observed.obj),
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
                for name, port in ports.items()
            ],
        },
    }


def model_server(observed: Observed, server: ServerState, assigned: Manifest) -> dict[str, Any]:
    """The ModelServer of a serving pod."""
    spec: dict[str, Any] = {
        "deployment": meta.name(observed.obj),
        "podName": server.name,
        "modelLine": observed.spec.model_line,
        "assigned": dict(assigned),
    }
    node = (server.pod.get("spec") or {}).get("nodeName")
    if node:
        spec["nodeName"] = node
    metadata = _metadata(observed, server.name)
    return {"apiVersion": API_VERSION, "kind": "ModelServer", "metadata": metadata, "spec": spec}


def workload(observed: Observed) -> dict[str, Any]:
    """The apps/v1 Deployment. Nothing in its pods depends on the model version: versions come
    and go inside running servers. A change of server settings does replace pods, one by one,
    each new one answering before an old one goes."""
    metadata = _metadata(observed, names.workload_name(observed.obj))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": observed.replicas,
            "selector": {"matchLabels": _selector(observed.obj)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "revisionHistoryLimit": 2,
            "template": {
                "metadata": {
                    "labels": dict(metadata["labels"]),
                    "annotations": {
                        labels.OWNER: metadata["annotations"][labels.OWNER],
                        paths.RUN_ANNOTATION: _agent_run(observed),
                    },
                },
                "spec": _pod(observed),
            },
        },
    }


def _cpus(observed: Observed) -> float:
    wanted, defaults = observed.spec.server.resources, observed.settings.server_resources
    return pods.resource_requirements(wanted, defaults)[1]


def _agent_run(observed: Observed) -> str:
    return dump_run(
        AgentRun(
            namespace=meta.namespace(observed.obj),
            deployment=meta.name(observed.obj),
            model_line=observed.spec.model_line,
            store=observed.settings.store,
            cpu_limit=_cpus(observed),
        )
    )


def _pod(observed: Observed) -> dict[str, Any]:
    settings, server = observed.settings, observed.spec.server
    models, models_mount = pods.empty_dir("models", str(paths.MODELS))
    cache, cache_mount = pods.empty_dir("cache", str(paths.AGENT_CACHE))
    tmp, tmp_mount = pods.empty_dir("tmp", "/tmp")  # noqa: S108
    # Python backends exchange tensors with Triton through shared memory.
    shm, shm_mount = pods.empty_dir("shm", "/dev/shm", medium="Memory", sizeLimit="512Mi")  # noqa: S108
    run, run_mount = pods.run_volume()
    store_volumes, store_mounts = pods.store_volume(settings, read_only=True)
    triton_resources, _ = pods.resource_requirements(server.resources, settings.server_resources)
    agent_resources, _ = pods.resource_requirements(None, settings.agent_resources)
    triton = {
        "name": TRITON,
        "image": server.image or settings.images.triton,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["tritonserver"],
        "args": [
            f"--model-repository={paths.MODELS}",
            "--model-control-mode=explicit",
            f"--http-port={names.HTTP_PORT}",
            f"--grpc-port={names.GRPC_PORT}",
            f"--metrics-port={names.METRICS_PORT}",
            "--exit-timeout-secs=20",
        ],
        "ports": [
            {"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": names.GRPC_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": names.METRICS_PORT, "protocol": "TCP"},
        ],
        "resources": triton_resources,
        "securityContext": pods.container_security(),
        "volumeMounts": [models_mount, tmp_mount, shm_mount],
        "startupProbe": _probe(
            "/v2/health/live", names.HTTP_PORT, periodSeconds=2, failureThreshold=60
        ),
        "livenessProbe": _probe(
            "/v2/health/live", names.HTTP_PORT, periodSeconds=10, failureThreshold=6
        ),
        # Endpoints are withdrawn before the server is told to stop.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    }
    agent = {
        "name": AGENT,
        "image": settings.images.worker,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["python", "-m", "modelyard.workloads.agent"],
        "env": [*pods.identity_env(), *pods.store_env(settings.store_reader_secret)],
        "ports": [{"name": "agent", "containerPort": names.AGENT_PORT, "protocol": "TCP"}],
        "resources": agent_resources,
        "securityContext": pods.container_security(),
        "volumeMounts": [models_mount, cache_mount, tmp_mount, run_mount, *store_mounts],
        "readinessProbe": _probe("/readyz", names.AGENT_PORT, periodSeconds=2, failureThreshold=2),
        "livenessProbe": _probe(
            "/healthz",
            names.AGENT_PORT,
            initialDelaySeconds=30,
            periodSeconds=20,
            failureThreshold=3,
        ),
    }
    return {
        "serviceAccountName": settings.agent_service_account,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 40,
        "securityContext": pods.pod_security(),
        "containers": [triton, agent],
        "volumes": [models, cache, tmp, shm, run, *store_volumes],
    } | pods.scheduling_fields(server.scheduling)


def _probe(path: str, port: int, **options: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 3, **options}
